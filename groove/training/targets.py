"""A teacher's embeddings of whole clean utterances, computed once and kept on disk.

``teacher-<hash>.f32`` holds rows of D float32, ``teacher-<hash>.keys`` the key of each row, one a
line: speed, seconds, version of the audio and utterance. The version comes of the files' sizes and
times of change, so that a file that was cut anew is heard anew. The hash is the teacher's, so that
another teacher has other files. Rows are on the disk before their keys; after a kill the same call
goes on where the keys end. An utterance that the teacher cannot hear (unreadable) gets a row of
NaN, which trains nothing; `unheard` finds those rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.encoder import Encoder
from groove.errors import AudioError, TrainingError

Progress = Callable[[int, int], None]
Read = Callable[[int, int], NDArray[np.float32]]  # utterance, speed -> the whole waveform [S]
FLUSH = 64  # rows that a kill may cost


def utterance_targets(
    encoder: Encoder,
    keys: Sequence[Sequence[str]],
    read: Read,
    folder: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """The embeddings, from the cache where they are in it.

    Args:
        encoder: the teacher.
        keys: of each speed the key of each utterance, as `target_key` makes them.
        read: gives the waveform of ``keys[speed][utterance]``.
        folder: of the cache; it is made.
        progress: called with (done, all).

    Returns:
        [speeds, utterances, D] float32 of length 1.

    Raises:
        TrainingError: the cache cannot be written; what is in it is kept.
    """
    size = encoder.card.embedding_size
    stem = Path(folder) / f"teacher-{encoder.model_hash[:16]}"
    wanted = [(key, i, s) for s, row in enumerate(keys) for i, key in enumerate(row)]
    try:
        known = _known(stem, size)
        missing = [item for item in wanted if item[0] not in known]
        if missing:
            _append(encoder, missing, read, stem, len(wanted), progress)
            known = _known(stem, size)
    except OSError as error:
        raise TrainingError(
            f"{stem}: the teacher's embeddings cannot be kept ({error.strerror or error}); what is "
            "there is sound: free space, or give another distill.cache, and start again"
        ) from error
    rows = np.fromfile(stem.with_suffix(".f32"), dtype=np.float32).reshape(-1, size)
    found = [[rows[known[key]] for key in row] for row in keys]
    return np.array(found, dtype=np.float32).reshape(len(keys), -1, size)


def unheard(targets: NDArray[np.float32]) -> list[int]:
    """Indices of the utterances that have no target at one speed or more.

    Args:
        targets: [speeds, utterances, D], as `utterance_targets` gives them.
    """
    heard = np.isfinite(targets).all(axis=(0, 2))  # [utterances]
    return [int(i) for i in np.flatnonzero(~heard)]


def target_key(utterance_id: str, seconds: float, speed: float, version: str) -> str:
    """What a row is kept under; ``version`` as `WaveformSource.version` says."""
    return f"{speed:g}\t{seconds:.3f}\t{version}\t{' '.join(utterance_id.split())}"


def _known(stem: Path, size: int) -> dict[str, int]:
    """Row number of each key; whole rows with whole keys only, the rest is cut away."""
    names, values = stem.with_suffix(".keys"), stem.with_suffix(".f32")
    if not names.is_file() or not values.is_file():
        return {}
    whole = names.read_bytes().rpartition(b"\n")[0]
    lines = whole.decode("utf-8").split("\n") if whole else []
    n = min(len(lines), values.stat().st_size // (4 * size))
    kept = "".join(f"{line}\n" for line in lines[:n]).encode()
    if kept != names.read_bytes():
        names.write_bytes(kept)
    with values.open("r+b") as file:
        file.truncate(4 * size * n)
    return {line: i for i, line in enumerate(lines[:n])}


def _append(
    encoder: Encoder,
    missing: Sequence[tuple[str, int, int]],
    read: Read,
    stem: Path,
    n_all: int,
    progress: Progress | None,
) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    done = n_all - len(missing)
    with (
        stem.with_suffix(".f32").open("ab") as values,
        stem.with_suffix(".keys").open("ab") as names,
    ):
        for start in range(0, len(missing), FLUSH):
            block = missing[start : start + FLUSH]
            for _, utterance, speed in block:
                values.write(_embed(encoder, read, utterance, speed).tobytes())
                done += 1
                if progress:
                    progress(done, n_all)
            values.flush()
            os.fsync(values.fileno())
            names.write("".join(f"{key}\n" for key, _, _ in block).encode())
            names.flush()


def _embed(encoder: Encoder, read: Read, utterance: int, speed: int) -> NDArray[np.float32]:
    card = encoder.card
    try:
        waveform = read(utterance, speed)[: round(card.window_s * card.fbank.sample_rate)]
    except AudioError:
        return np.full(card.embedding_size, np.nan, np.float32)
    if len(waveform) < card.fbank.min_samples:
        waveform = np.resize(waveform, card.fbank.min_samples)
    embedding = encoder(waveform[None])[0].astype(np.float64)
    unit: NDArray[np.float32] = (embedding / max(float(np.linalg.norm(embedding)), 1e-12)).astype(
        np.float32
    )
    return unit
