"""Command-line overrides and YAML files -> a `TrainConfig`. The only door to Hydra.

Hydra reads the files, their ``defaults`` lists and the overrides (``train.lr=5e-4``); which keys
there are and what they may hold is the schema's business, so that a key which the YAML does not
mention works, and an unknown one is refused with the nearest name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groove.errors import MissingExtra, SettingsError
from groove.training.checkpoint import load
from groove.training.config import TrainConfig
from groove.training.typed import from_mapping, kinds

OVERRIDE = re.compile(r"^(\+\+|\+|~)?[A-Za-z_][\w.]*(=.*)?$", re.DOTALL)


def compose(
    name: str = "train",
    overrides: Sequence[str] = (),
    *,
    folder: str | os.PathLike[str] | None = None,
) -> TrainConfig:
    """Read ``<folder>/<name>.yaml`` and apply overrides.

    Args:
        name: "train", "finetune", "distill", or a file of one's own.
        overrides: ``key=value`` in Hydra's grammar, where text needs no quotes. With
            ``resume=true`` all other settings are those of the run that goes on.
        folder: where the files lie; None looks in ``configs`` here, then beside the package. With
            neither there "train" is the schema's own defaults.

    Raises:
        SettingsError: no such file, an override that cannot be parsed, or see `from_mapping`.
    """
    for text in overrides:
        if not OVERRIDE.match(text) or "=" not in text:
            raise SettingsError(f"{text!r}: not an override; wanted key=value, as train.lr=5e-4")
    found = _folder(name, folder)
    # "++" sets a key whether or not the file has it; `from_mapping` then knows whether it exists.
    quoted = [_quoted(text) for text in overrides]
    forced = [text if text[0] in "+~" else f"++{text}" for text in quoted]
    config = from_mapping(TrainConfig, _hydra(found, name, forced))
    last = Path(config.train.out_dir) / "last.pt"
    if not (config.resume and last.is_file()):
        return config
    # A run goes on with the settings that it was started with; what is given here changes them.
    given = _hydra(None, name, forced)
    return from_mapping(TrainConfig, _merged(load(last).config, given))


def _quoted(override: str) -> str:
    """Text in quotes, where a setting is text: Hydra's grammar has no Chinese, ``#`` and ``(``.

    ``~`` is the home folder, which shells leave alone after ``=``. What is quoted already stays,
    and so does what Hydra is to put together (``${...}``).
    """
    key, _, value = override.partition("=")
    hint = kinds(TrainConfig).get(key.lstrip("+"))
    if hint is str and not value.startswith(("'", '"', "${")):
        return f"{key}={_in_quotes(value)}"
    is_list = hint == tuple[str, ...] and value.startswith("[") and value.endswith("]")
    if is_list and not any(mark in value for mark in ("'", '"', "${")):
        items = [item.strip() for item in value[1:-1].split(",") if item.strip()]
        return f"{key}=[{','.join(map(_in_quotes, items))}]"
    return override


def _in_quotes(text: str) -> str:
    escaped = os.path.expanduser(text).replace("'", "\\'")
    ending = "\\" if escaped.endswith("\\") else ""  # a last backslash would escape the quote
    return f"'{escaped}{ending}'"


def _merged(values: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in given.items():
        inner = merged.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict)
        merged[key] = _merged(inner, value) if both else value  # type: ignore[arg-type]
    return merged


def _folder(name: str, folder: str | os.PathLike[str] | None) -> Path | None:
    places = [Path(folder)] if folder is not None else [Path("configs"), _beside_package()]
    for place in places:
        if (place / f"{name}.yaml").is_file():
            return place.absolute()
    if name == "train" and folder is None:
        return None
    raise SettingsError(
        f"{name}.yaml: not in {' or '.join(map(str, places))}; give --config-dir, or run in a "
        "checkout of Groove, whose configs/ holds train, finetune and distill"
    )


def _beside_package() -> Path:
    return Path(__file__).resolve().parents[2] / "configs"


def _hydra(folder: Path | None, name: str, overrides: list[str]) -> dict[str, Any]:
    try:
        from hydra import compose as hydra_compose
        from hydra import initialize_config_dir
        from hydra.core.global_hydra import GlobalHydra
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
    except ImportError as error:
        raise MissingExtra("training", "train", str(error)) from None
    GlobalHydra.instance().clear()
    place = folder if folder is not None else Path(__file__).resolve().parent
    try:
        with initialize_config_dir(str(place), version_base="1.3", job_name="train"):
            composed = hydra_compose(None if folder is None else name, overrides)
            values = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        said = " ".join(str(error).split())[:300]
        raise SettingsError(f"configuration {name}: {said}") from None
    return values if isinstance(values, dict) else {}  # type: ignore[return-value]
