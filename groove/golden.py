"""Golden numbers of a model: what a client on another platform must reproduce.

A fixture is two files with the same content, `golden.npz` for Python and `golden.json` for the
rest: for each case a waveform (16-bit integers; divide by 32768), its features [T, M] and its
embedding [D]; and the card. The cases cover what clients get wrong: the shortest input, a length
that leaves samples over, quiet sound, a constant offset, silence, frames on both sides of the
logarithm's floor, and speech where some is given.
The sounds are made by integer arithmetic, so every machine makes the same.

A client writes what it computed in the same form, and `check` says how far off it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, read_audio
from groove.encoder import Encoder
from groove.errors import ModelError, SettingsError
from groove.fbank import log_mel
from groove.scoring import cosine

VERSION = 1
FULL_SCALE = 32768
SPEECH_S = 2.0  # of each recording that is given
# Mean over a case; single bins near silence differ by more. The frames here are within 2e-6 of the
# same formula in float64; a pre-emphasis of 0.95 for 0.97 is off by 0.005 to 0.017.
MAX_FEATURE_DIFFERENCE = 0.002
MIN_COSINE = 0.9999


@dataclass(frozen=True)
class Case:
    """One waveform and what becomes of it."""

    name: str
    waveform: NDArray[np.int16]  # [S]
    features: NDArray[np.float32]  # [T, M]
    embedding: NDArray[np.float32]  # [D], not length-normalised


@dataclass(frozen=True)
class Checked:
    """How far a client is off in one case; None where it gave no such value."""

    name: str
    feature_difference: float | None  # mean absolute
    embedding_cosine: float | None
    holds: bool


def cases(encoder: Encoder, recordings: Sequence[Path] = ()) -> list[Case]:
    """The waveforms, with features by `log_mel` and embeddings by ``encoder``.

    Raises:
        AudioError: a recording cannot be read.
    """
    waveforms = synthetic(encoder.card.fbank.min_samples)
    n = round(SPEECH_S * SAMPLE_RATE)
    for recording in recordings:
        samples = np.round(read_audio(recording)[:n] * FULL_SCALE)
        waveforms[f"recording {recording.stem}"] = samples.clip(-32768, 32767).astype(np.int16)
    made = []
    for name, integers in waveforms.items():
        waveform = integers.astype(np.float32) / np.float32(FULL_SCALE)
        features = log_mel(waveform, encoder.card.fbank)
        made.append(Case(name, integers, features, encoder(waveform[None])[0]))
    return made


def synthetic(min_samples: int) -> dict[str, NDArray[np.int16]]:
    """Waveforms [S] by name; integers alone, so that no library's rounding is in them."""
    n = SAMPLE_RATE
    noise = _noise(n + 37)
    ramp = np.abs(np.arange(n + 37) % 4000 - 2000)  # 0 to 2000 and back, four times a second
    buzz = (np.arange(n) % 100 < 3) * 12000 - 180
    return {
        "noise": (noise[:n] // 4).astype(np.int16),
        "shortest": (noise[:min_samples] // 4).astype(np.int16),
        "samples left over": (noise * ramp // 8000).astype(np.int16),
        "buzz": buzz.astype(np.int16),
        "quiet": (noise[:n] // 1024).astype(np.int16),
        "offset": (noise[:n] // 16 + 9000).astype(np.int16),
        "silence": np.zeros(n // 2, np.int16),
        "silence, then noise": np.r_[np.zeros(n // 2, np.int64), noise[: n // 2] // 4].astype(
            np.int16
        ),
    }


def write(encoder: Encoder, folder: Path, recordings: Sequence[Path] = ()) -> list[Path]:
    """Write ``golden.npz`` and ``golden.json``, aside, then renamed.

    Raises:
        AudioError: a recording cannot be read.
        SettingsError: the folder cannot be written to.
    """
    made = cases(encoder, recordings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / "golden.npz", folder / "golden.json"]
        for path, put in zip(paths, (_put_npz, _put_json), strict=True):
            aside = path.with_name(f".{path.name}.{os.getpid()}.part")
            try:
                put(aside, encoder, made)
                os.replace(aside, path)
            finally:
                aside.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{folder}: cannot be written to ({error.strerror}); choose another folder"
        ) from None
    return paths


def check(fixture: Path, client: Path, *, partial: bool = False) -> list[Checked]:
    """Compare what a client computed with a fixture.

    Args:
        fixture: ``golden.json``.
        client: a JSON file of the same form; a case may lack ``features`` or ``embedding``. A
            case that is not there does not hold.
        partial: cases may be left out, but not all.

    Raises:
        ModelError: a file that cannot be read, or of another model.
    """
    wanted, found = _read(fixture), _read(client)
    ours, given = wanted.get("model_hash"), found.get("model_hash")
    if given is not None and given != ours:
        raise ModelError(
            f"{client}: numbers of the model {str(given)[:8]}, the fixture's are of "
            f"{str(ours)[:8]}; run the client with that model, or write the fixture anew"
        )
    theirs = {case.get("name"): case for case in found["cases"]}
    if not any(case["name"] in theirs for case in wanted["cases"]):
        raise ModelError(f"{client}: none of the fixture's cases is in it")
    return [
        _checked(case, theirs.get(case["name"], {}))
        for case in wanted["cases"]
        if case["name"] in theirs or not partial
    ]


def _checked(wanted: dict[str, Any], found: dict[str, Any]) -> Checked:
    difference = likeness = None
    holds = "features" in found or "embedding" in found
    if "features" in found:
        a, b = np.asarray(wanted["features"]), np.asarray(found["features"], dtype=np.float64)
        difference = float(np.abs(a - b).mean()) if a.shape == b.shape else float("inf")
        holds &= difference <= MAX_FEATURE_DIFFERENCE
    if "embedding" in found:
        a, b = np.asarray(wanted["embedding"]), np.asarray(found["embedding"], dtype=np.float64)
        likeness = float(cosine(a, b)) if a.shape == b.shape else -1.0
        holds &= likeness >= MIN_COSINE
    return Checked(wanted["name"], difference, likeness, bool(holds))


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not all("name" in case for case in values["cases"]):
            raise KeyError("name")
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: not golden numbers ({error!r}); see docs/model-file.md"
        ) from None
    if values.get("golden_version", VERSION) != VERSION:
        raise ModelError(f"{path}: golden version {values['golden_version']}, wanted {VERSION}")
    return dict(values)


def _head(encoder: Encoder) -> dict[str, Any]:
    return {
        "golden_version": VERSION,
        "model_hash": encoder.model_hash,
        "card": json.loads(encoder.card.to_json()),
    }


def _put_npz(path: Path, encoder: Encoder, made: list[Case]) -> None:
    arrays: dict[str, Any] = {"head": np.array(json.dumps(_head(encoder), ensure_ascii=False))}
    for case in made:
        for key in ("waveform", "features", "embedding"):
            arrays[f"{case.name}/{key}"] = getattr(case, key)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _put_json(path: Path, encoder: Encoder, made: list[Case]) -> None:
    listed = [
        {
            "name": case.name,
            "waveform": case.waveform.tolist(),
            "features": [[float(f"{x:.6g}") for x in row] for row in case.features.tolist()],
            "embedding": [float(f"{x:.7g}") for x in case.embedding.tolist()],
        }
        for case in made
    ]
    text = json.dumps({**_head(encoder), "cases": listed}, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _noise(n: int) -> NDArray[np.int64]:
    """-32768 to 32767 from a linear congruential generator (Numerical Recipes, 3rd ed., 7.1)."""
    state, drawn = 1, np.empty(n, np.int64)
    for i in range(n):
        state = (1664525 * state + 1013904223) % 2**32
        drawn[i] = (state >> 16) - FULL_SCALE
    return drawn


def to_json(checked: Sequence[Checked]) -> str:
    """One JSON object."""
    return json.dumps({"cases": [asdict(c) for c in checked]}, ensure_ascii=False)
