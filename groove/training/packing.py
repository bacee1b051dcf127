"""Decode a corpus once into one file of 16-bit samples, which loaders read through a memory map.

    pack(utterances, "processed/train.i16", workers=16)       # about 115 MB an hour of audio
    source = PackedSource("processed/train.i16", utterances)

Beside ``train.i16`` (little-endian int16, one utterance after the other, no header) stands
``train.i16.jsonl``: a line for the format, then one for each utterance with its place, or the
reason why it could not be decoded. While packing goes on both carry ``.part``: samples are on the
disk before the line that names them, so after a kill at any moment the same call goes on where
the lines end. A finished pack of the same files (paths, sizes, times of change) is left as it is,
also where they are gone since: it is then all that is left of them.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE
from groove.errors import AudioError, CorpusError, ManifestError, UnreadableAudio
from groove.manifest import Utterance
from groove.preparation.journal import take_lock
from groove.preparation.processes import worker_pool
from groove.training.waveforms import (
    FileSource,
    files_now,
    joined,
    parts_of,
    samples,
    to_float,
    to_int16,
    version_of,
)

FORMAT = {"format": "groove.pack", "version": 1, "sample_rate": SAMPLE_RATE}
FLUSH_BYTES = 64 << 20  # what a kill may cost: half an hour of audio
LEAD = 8  # utterances that wait for each worker
Progress = Callable[[int, int], None]  # done, of how many


@dataclass(frozen=True)
class Entry:
    """Where an utterance lies; ``error`` says why it does not."""

    utterance_id: str
    files: str  # path, size and time of change of each file
    start: int  # in samples
    n_samples: int
    error: str = ""


def pack(
    utterances: Sequence[Utterance],
    path: str | Path,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> list[tuple[str, str]]:
    """Decode all utterances into one file; go on where an earlier call was stopped.

    Args:
        utterances: what to pack; ids are unique.
        path: the file of samples; its index gets ``.jsonl`` behind the name.
        workers: processes that decode; 0 and 1 decode here. Their number does not change a byte.
        progress: called with (done, all) after each utterance.

    Returns:
        ``(utterance_id, reason)`` of the utterances that could not be decoded.

    Raises:
        ManifestError: no utterances, or two with one id.
        CorpusError: another process packs it, or one of ours died; what is packed is kept.
        OSError: the disk is full or the folder cannot be written to; what is packed is kept.
    """
    target = Path(path)
    if len({utterance.utterance_id for utterance in utterances}) < len(utterances):
        raise ManifestError(f"{target}: two utterances have one id; ids must be unique")
    if not utterances:
        raise ManifestError(f"{target}: no utterance to pack")
    work = [(utterance, files_now(parts_of(utterance))) for utterance in utterances]
    entries = _finished(target, work)
    if entries is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            entries = _pack(work, target, workers, progress)
    elif progress is not None:
        progress(len(work), len(work))
    return [(entry.utterance_id, entry.error) for entry in entries if entry.error]


class PackedSource:
    """Reads from a pack.

    Args:
        path: what `pack` was given.
        utterances: in the order of their indices; the pack may hold more.

    Raises:
        ManifestError: no finished pack there, another format, a file that was cut, or an utterance
            that is not in it.
    """

    def __init__(self, path: str | Path, utterances: Sequence[Utterance]) -> None:
        self._path = Path(path)
        entries = {entry.utterance_id: entry for entry in _read_index(_index(self._path))}
        missing = [u.utterance_id for u in utterances if u.utterance_id not in entries]
        if missing:
            raise ManifestError(
                f'{path}: {len(missing)} utterances are not in it, "{missing[0]}" the first; '
                "pack this manifest again"
            )
        chosen = [entries[u.utterance_id] for u in utterances]
        # Columns, not objects: a million utterances in every worker.
        self._start = np.array([entry.start for entry in chosen], dtype=np.int64)
        self._n_samples = np.array([entry.n_samples for entry in chosen], dtype=np.int64)
        self._version = np.array([version_of(entry.files) for entry in chosen], dtype="S16")
        self._errors = {i: entry.error for i, entry in enumerate(chosen) if entry.error}
        self._map: NDArray[np.int16] | None = None
        size = self._path.stat().st_size if self._path.exists() else 0
        wanted = 2 * max((entry.start + entry.n_samples for entry in entries.values()), default=0)
        if size != wanted:
            raise ManifestError(
                f"{path}: {size} bytes but its index names {wanted}; copy it again or delete "
                "both files and pack again"
            )

    def seconds(self, i: int) -> float:
        """What was decoded, exactly."""
        return float(self._n_samples[i]) / SAMPLE_RATE

    def version(self, i: int) -> str:
        """Of the files as they were packed; they need not be there any more."""
        return bytes(self._version[i]).decode()

    def read(self, i: int, start_s: float, length_s: float) -> NDArray[np.float32]:
        """Samples [s] from ``start_s`` on; fewer where the utterance ends.

        Raises:
            AudioError: the utterance could not be decoded when it was packed.
        """
        if i in self._errors:
            raise UnreadableAudio(self._errors[i])
        if self._map is None:  # opened by the process that reads, so that workers share pages only
            self._map = np.memmap(self._path, dtype="<i2", mode="r")
        first, n_here = samples(start_s), int(self._n_samples[i])
        start = int(self._start[i])
        last = start + min(first + samples(length_s), n_here)
        return joined(
            [to_float(self._map[start + min(first, n_here) : last])],
            f"{self._path}: no sample from {start_s:.2f} s on",
        )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_map": None}


def _pack(
    work: list[tuple[Utterance, str]], target: Path, workers: int, progress: Progress | None
) -> list[Entry]:
    data_part, index_part = _part(target), _part(_index(target))
    with index_part.open("ab") as index, data_part.open("ab") as data:
        entries = _journal(index_part, work)
        end = entries[-1].start + entries[-1].n_samples if entries else 0
        if data_part.stat().st_size < 2 * end:
            entries, end = [], 0  # the index without its samples is worth nothing
        data.truncate(2 * end)
        if not entries:
            index.truncate(0)
            index.write(_line(FORMAT))
        new: list[Entry] = []
        todo = work[len(entries) :]
        for (utterance, files), decoded in zip(todo, _decode_all(todo, workers), strict=True):
            if isinstance(decoded, str):
                entry = Entry(utterance.utterance_id, files, end, 0, decoded)
            else:
                data.write(decoded.astype("<i2", copy=False).tobytes())
                entry = Entry(utterance.utterance_id, files, end, len(decoded))
            end += entry.n_samples
            new.append(entry)
            if 2 * (end - new[0].start) >= FLUSH_BYTES:
                entries += _write_lines(new, data, index)
                new = []
            if progress is not None:
                progress(len(entries) + len(new), len(work))
        entries += _write_lines(new, data, index)
    data_part.replace(target)  # then the index: a pack with an index is whole
    index_part.replace(_index(target))
    return entries


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep other processes from packing the same file: two would write into each other's.

    Raises:
        CorpusError: another one packs it.
    """
    refusal = f"{target}: another process packs it; start again when it has finished"
    path = target.with_name(f".{target.name}.lock")
    with path.open("ab") as lock:
        take_lock(lock, refusal)
        if not path.exists() or not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            raise CorpusError(refusal)  # it ended just now and took its lock file away
        try:
            yield
        finally:
            with suppress(OSError):  # some systems keep a file that is open
                path.unlink()


def _write_lines(new: list[Entry], data: BinaryIO, index: BinaryIO) -> list[Entry]:
    """Samples to the disk first, then the lines that name them."""
    data.flush()
    os.fsync(data.fileno())
    index.writelines(_line(asdict(entry)) for entry in new)
    index.flush()
    os.fsync(index.fileno())
    return new


def _decode_all(
    work: list[tuple[Utterance, str]], workers: int
) -> Iterator[NDArray[np.int16] | str]:
    """The samples of each utterance in order, or why there are none."""
    if workers < 2:
        yield from (_decode(utterance) for utterance, _ in work)
        return
    waiting: deque[Future[NDArray[np.int16] | str]] = deque()
    with worker_pool(workers, cure="or with data.source=files if memory is short") as pool:
        for utterance, _ in work:
            waiting.append(pool.submit(_decode, utterance))
            if len(waiting) > LEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode(utterance: Utterance) -> NDArray[np.int16] | str:
    try:
        return to_int16(FileSource([utterance]).read(0, 0.0, 2 * utterance.seconds + 60))
    except (AudioError, OSError) as error:
        return str(error)


def _finished(target: Path, work: list[tuple[Utterance, str]]) -> list[Entry] | None:
    """The entries of a finished pack of exactly this work; of files that are gone, as they were."""
    if not target.exists() or not _index(target).exists():
        return None
    entries = _read_index(_index(target))
    same = len(entries) == len(work) and all(
        entry.utterance_id == utterance.utterance_id
        and (entry.files == files or " absent;" in f"{files};")
        for entry, (utterance, files) in zip(entries, work, strict=True)
    )
    return entries if same else None


def _journal(index_part: Path, work: list[tuple[Utterance, str]]) -> list[Entry]:
    """What an earlier call has done of this work, from its beginning; other lines are cut off."""
    if not index_part.exists():
        return []
    raw = index_part.read_bytes()
    lines = raw[: raw.rfind(b"\n") + 1].splitlines(keepends=True)
    if not lines or lines[0] != _line(FORMAT):
        return []
    entries, size = [], len(lines[0])
    for line, (utterance, files) in zip(lines[1:], work, strict=False):
        entry = Entry(**json.loads(line))
        if (entry.utterance_id, entry.files) != (utterance.utterance_id, files):
            break
        entries.append(entry)
        size += len(line)
    os.truncate(index_part, size)
    return entries


def _read_index(path: Path) -> list[Entry]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}; pack the manifest first") from None
    if not lines or lines[0] + b"\n" != _line(FORMAT):
        raise ManifestError(f"{path}: not the index of a pack of version 1; pack again")
    try:
        entries = [Entry(**json.loads(line)) for line in lines[1:]]
    except (ValueError, TypeError) as error:
        raise ManifestError(f"{path}: damaged ({error}); delete it and pack again") from None
    end = 0
    for entry in entries:
        if entry.start != end:
            raise ManifestError(
                f'{path}: damaged ("{entry.utterance_id}" does not begin where the one before it '
                "ends); delete it and pack again"
            )
        end += entry.n_samples
    return entries


def _line(values: Mapping[str, object]) -> bytes:
    return (json.dumps(values, ensure_ascii=False) + "\n").encode()


def _index(path: Path) -> Path:
    return path.with_name(f"{path.name}.jsonl")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
