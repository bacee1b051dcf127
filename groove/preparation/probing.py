"""The length of every file of a corpus, in parallel, once: the journal remembers it.

A file whose path, size and time of change stand in the journal with its length is not opened again.
Files that could not be used are tried again in the next run, for their trouble may be cured.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.audio import probe_audio
from groove.corpora.files import Dropped, SourceFile
from groove.errors import (
    AudioError,
    EmptyAudio,
    InvalidSamples,
    NoSpeech,
    UnreadableAudio,
    UnsupportedFormat,
)
from groove.preparation.journal import Journal, full_disk_explained
from groove.preparation.processes import run_in_processes
from groove.preparation.progress import Progress, silent

JOURNAL = "probed.jsonl"
KINDS: dict[type[AudioError], str] = {
    UnreadableAudio: "damaged or not audio",
    UnsupportedFormat: "needs a decoder",
    EmptyAudio: "empty",
    InvalidSamples: "impossible samples",
    NoSpeech: "digital silence",
}


@dataclass(frozen=True)
class Probed:
    """What probing found.

    Attributes:
        seconds: [N] float64, in the order of the files; NaN where a file cannot be used.
        dropped: the files that cannot, with the reason.
        n_known: files that an earlier run had listened to.
    """

    seconds: NDArray[np.float64]
    dropped: list[Dropped]
    n_known: int


@dataclass(frozen=True, slots=True)
class _Answer:
    index: int
    size: int
    mtime_ns: int
    seconds: float | None
    kind: str = ""
    reason: str = ""


def probe_files(
    files: Sequence[SourceFile],
    out: Path,
    *,
    verify: bool = True,
    workers: int = 1,
    progress: Progress = silent,
) -> Probed:
    """Listen to every file that no earlier run has listened to.

    Args:
        files: with different paths.
        out: the folder of the journal; it is made.
        verify: decode each file to its end; see `groove.audio.probe_audio`.
        workers: processes.
        progress: see `groove.preparation.progress`.

    Raises:
        CorpusError: another preparation is writing to ``out``, or a worker died.
    """
    seconds = np.full(len(files), np.nan)
    dropped: list[tuple[int, Dropped]] = []
    with full_disk_explained(out), Journal(out / JOURNAL) as journal:
        todo = _unknown(files, journal.read(), seconds, verify)
        work = partial(_probe_chunk, verify=verify)
        items = ((i, files[i].path) for i in todo)
        with progress("listening", len(todo)) as advance:
            for answers in run_in_processes(items, work, workers=workers, n_items=len(todo)):
                journal.append(
                    _line(files[answer.index].path, answer, verify) for answer in answers
                )
                for answer in answers:
                    if answer.seconds is not None:
                        seconds[answer.index] = answer.seconds
                    else:
                        file = files[answer.index]
                        dropped.append((answer.index, _refused(file, answer)))
                advance(len(answers))
    dropped.sort(key=lambda pair: pair[0])
    return Probed(seconds, [one for _, one in dropped], len(files) - len(todo))


def _unknown(
    files: Sequence[SourceFile],
    known: dict[str, list[Any]],
    seconds: NDArray[np.float64],
    verify: bool,
) -> list[int]:
    """Indices of the files to listen to; fills ``seconds`` of the others."""
    todo = []
    for i, file in enumerate(files):
        line = known.get(file.path)
        if line and line[2] is not None and line[3] >= verify and line[:2] == _stat(file.path):
            seconds[i] = line[2]
        else:
            todo.append(i)
    return todo


def _line(path: str, answer: _Answer, verify: bool) -> list[Any]:
    line = [path, answer.size, answer.mtime_ns, answer.seconds, int(verify)]
    return line if answer.seconds is not None else [*line, answer.reason]


def _refused(file: SourceFile, answer: _Answer) -> Dropped:
    return Dropped(file.path, file.speaker_id, answer.kind, answer.reason)


def _stat(path: str) -> list[int]:
    """Size and time of change; of a file that is gone, what no file has."""
    try:
        stat = os.stat(path)
    except OSError:
        return [-1, -1]
    return [stat.st_size, stat.st_mtime_ns]


def _probe_chunk(items: list[tuple[int, str]], verify: bool) -> list[_Answer]:
    return [_probe(i, path, verify) for i, path in items]


def _probe(index: int, path: str, verify: bool) -> _Answer:
    size, mtime_ns = _stat(path)
    try:
        return _Answer(index, size, mtime_ns, probe_audio(path, verify=verify))
    except AudioError as error:
        return _Answer(index, size, mtime_ns, None, kind_of(error), reason_of(error, path))
    except OSError as error:  # an unreadable sector, a share that went away
        reason = f"cannot be read ({error.strerror})"
        return _Answer(index, size, mtime_ns, None, "cannot be read", reason)


def kind_of(error: AudioError) -> str:
    """A few words for counting."""
    return KINDS.get(type(error), "unusable")


def reason_of(error: Exception, path: str) -> str:
    """The message without the path, which stands beside it."""
    return str(error).removeprefix(f"{path}: ")


def indices_by_speaker(
    files: Sequence[SourceFile], usable: NDArray[np.bool_]
) -> Iterator[tuple[str, list[int]]]:
    """Each speaker with the indices of the usable files; files are sorted by speaker."""
    speaker, indices = "", list[int]()
    for i, file in enumerate(files):
        if file.speaker_id != speaker:
            if indices:
                yield speaker, indices
            speaker, indices = file.speaker_id, []
        if usable[i]:
            indices.append(i)
    if indices:
        yield speaker, indices
