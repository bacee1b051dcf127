"""One run at a time in a folder: a second would overwrite the checkpoints of the first.

The lock is a record lock of POSIX, which belongs to the process: the system lets go of it when that
one ends, be it by kill -9, and worker processes that outlive it for a moment do not hold it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from groove.errors import TrainingError
from groove.training.runlog import writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".run.lock"


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder; it is made where it is missing.

    On a system without such locks, and on a file system that has none, nobody is kept out.

    Raises:
        TrainingError: another run is in it, and which process; or it cannot be written to.
    """
    path = out / NAME
    with ExitStack() as stack:
        with writing(path, "the lock", "what is in the folder is as it was; start again"):
            out.mkdir(parents=True, exist_ok=True)
            lock = _locked(path, out, stack)
        with suppress(OSError):  # on a full disk the lock holds all the same
            lock.truncate(0)
            lock.write(b"process %d" % os.getpid())
        try:
            yield
        finally:
            with suppress(OSError):  # some systems keep a file that is open
                path.unlink()


def _locked(path: Path, out: Path, stack: ExitStack) -> BinaryIO:
    while True:
        lock = stack.enter_context(path.open("a+b", buffering=0))
        if fcntl is not None:
            _take(lock.fileno(), out)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        # Another run ended just now and took its file away: this lock is of nothing.


def _take(lock: int, out: Path) -> None:
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX leaves open which of the two
        owner = os.pread(lock, 80, 0).decode(errors="replace") or "another process"
        raise _refusal(out, owner) from None
    except OSError:
        return


def _refusal(out: Path, owner: str) -> TrainingError:
    return TrainingError(
        f"{out}: another run ({owner}) trains in this folder; wait for it to end, stop it, or give "
        "this one a train.out_dir of its own"
    )
