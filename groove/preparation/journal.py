"""A journal of finished work: one JSON array a line, appended; a killed run resumes from it.

A line is ``[key, ...]``; a later line of a key replaces an earlier one. A line that a kill or a
full disk cut in two is removed when the journal is opened again: only whole lines count, and each
is written after what it reports is done. One process at a time writes (a lock, where the system has
them, that a kill releases).
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from groove.errors import CorpusError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Journal:
    """An open journal; use it as a context manager.

    >>> with Journal(out / "probed.jsonl") as journal:
    ...     known = journal.read()          # {key: [the rest of its last line]}
    ...     journal.append([["a.flac", 1, 2.5], ["b.flac", 1, 3.0]])
    """

    def __init__(self, path: Path) -> None:
        """Open or make it.

        Raises:
            CorpusError: another process is writing to it.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)  # what was written has reached the system
        take_lock(
            self._file,
            f"{path}: another preparation is writing to this folder; wait for it to end, or choose "
            "another --out",
        )

    def read(self) -> dict[str, list[Any]]:
        """What is finished; cuts off a half-written last line.

        A line that is damaged, as after a power cut, counts for nothing: its file is done again.
        """
        known: dict[str, list[Any]] = {}
        n_whole = 0
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                n_whole += len(line)
                try:
                    key, *rest = json.loads(line)
                    known[key] = rest
                except (ValueError, TypeError):  # UnicodeDecodeError is a ValueError
                    continue
        self._file.truncate(n_whole)
        return known

    def append(self, lines: Iterable[list[Any]]) -> None:
        """Add lines and hand them to the system: a kill after this loses nothing."""
        left = memoryview(b"".join(_encode(line) for line in lines))
        while left:
            left = left[self._file.write(left) :]

    def close(self) -> None:
        """Let go of the file and its lock."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def take_lock(file: IO[bytes], otherwise: str) -> None:
    """Keep other processes out of a file until it is closed.

    Raises:
        CorpusError: another one has it; ``otherwise`` says so. The file is closed.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise CorpusError(otherwise) from None


@contextmanager
def full_disk_explained(out: Path) -> Iterator[None]:
    """Turn the system's "no space left" into what to do about it."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise CorpusError(
            f"{out}: the disk is full or a limit reached ({os.strerror(error.errno or 0)}); what "
            "is finished is kept and nothing is half-written: free some space and run the same "
            "command again"
        ) from error


def _encode(line: list[Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
