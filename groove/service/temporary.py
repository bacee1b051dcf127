"""A folder for uploads that goes when the program does, however it ends.

It is readable by the user only and named after the process. It is deleted at the end, also of a
SIGTERM; what a killed process left behind is deleted by the next one.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from groove.leftovers import is_running

PREFIX = "groove-demo-"


@contextmanager
def upload_folder() -> Iterator[Path]:
    """The folder, while the block runs. Call it from the main thread: it listens for SIGTERM."""
    delete_orphans(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))  # 0700
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield folder
    finally:
        signal.signal(signal.SIGTERM, before)
        shutil.rmtree(folder, ignore_errors=True)


def delete_orphans(parent: Path) -> int:
    """Delete the folders of processes that are no more; how many there were."""
    n_deleted = 0
    for folder in parent.glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not is_running(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
            n_deleted += 1
    return n_deleted


def _leave(number: int, frame: Any) -> None:
    sys.exit(128 + number)  # unwinds, so that the folder is deleted
