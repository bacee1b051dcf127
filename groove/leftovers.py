"""Files written aside that a killed process has left: ``.NAME.PID.part``, or ``.PID.part``.

Whatever Groove writes at once it writes aside, under a name that holds the process's number, and
renames. A process that ends by itself takes that file away; one that is killed cannot, so the next
one that works in the folder does.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path

_PART = re.compile(r"\.(?:.+\.)?(\d+)\.part", re.DOTALL)


def remove_leftovers(folder: Path, *, locked: bool = False) -> int:
    """Remove what killed processes have left in a folder, not below it; how many files.

    Call it before this process writes there: what bears its own number was another's.

    Args:
        folder: need not be there.
        locked: nobody else can be writing there, so every part goes; else those of processes that
            still run are left alone.
    """
    try:
        with os.scandir(folder) as entries:
            found = [(entry.path, _PART.fullmatch(entry.name)) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return 0
    n_removed = 0
    for path, part in found:
        if part and (locked or int(part[1]) == os.getpid() or not is_running(int(part[1]))):
            with suppress(OSError):  # one that stays harms nobody
                os.unlink(path)
                n_removed += 1
    return n_removed


def is_running(pid: int) -> bool:
    """Whether there is a process of that number on this machine."""
    if sys.platform == "win32":  # there, signal 0 is not a question
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
