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
from groove.training.config import RunConfig, TrainConfig
from groove.training.older import as_of_now
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
    values = _hydra(found, name, forced)
    last = _last_of(values)
    if values.get("resume") is not True or not last.is_file():
        return from_mapping(TrainConfig, values)
    # A run goes on with the settings that it was started with; what is given here changes them.
    given = _hydra(None, name, forced)
    return from_mapping(TrainConfig, _merged(as_of_now(load(last).config), given))


def _last_of(values: dict[str, Any]) -> Path:
    run = values.get("train")
    out = run.get("out_dir") if isinstance(run, dict) else None
    return Path(out if isinstance(out, str) else RunConfig().out_dir) / "last.pt"


def _quoted(override: str) -> str:
    """Text in quotes, where a setting is text: Hydra's grammar has no Chinese, ``#`` and ``(``.

    ``~`` is the home folder, which shells leave alone after ``=``. What is quoted already stays.
    """
    key, _, value = override.partition("=")
    hint = kinds(TrainConfig).get(key.lstrip("+"))
    if hint is str:
        return f"{key}={_in_quotes(value)}"
    if hint == tuple[str, ...] and value.startswith("[") and value.endswith("]"):
        items = [item.strip() for item in value[1:-1].split(",") if item.strip()]
        return f"{key}=[{','.join(map(_in_quotes, items))}]"
    return override


def _in_quotes(text: str) -> str:
    if text == "null" or (len(text) > 1 and text[0] in "'\"" and text[0] == text[-1]):
        return text
    # In Hydra's grammar backslashes stand for themselves, but before a quote.
    escaped = re.sub(r"(\\*)'", lambda found: 2 * found[1] + "\\'", os.path.expanduser(text))
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


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
