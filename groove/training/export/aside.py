"""Write a file aside and rename it when it is whole; nothing half-written is ever seen."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from groove.errors import ModelError
from groove.mnn_encoder import card_path


@contextlib.contextmanager
def aside(target: Path) -> Iterator[Path]:
    """A path beside ``target`` to write to; it replaces ``target`` if the block ends well.

    Files that the block wrote next to that path (``PATH.json``) follow it to ``target.json``.

    Raises:
        ModelError: the folder does not exist or cannot be written to.
    """
    if not target.parent.is_dir():
        raise ModelError(f"{target}: no such folder {target.parent}; make it first")
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise ModelError(
            f"{target.parent}: cannot be written to ({error.strerror}); choose another folder"
        ) from None
    try:
        path = scratch / target.name
        yield path
        made = sorted(scratch.iterdir(), key=lambda p: p == path)  # the file itself comes last
        for part in made:
            part.chmod(0o644)
            os.replace(part, target.parent / part.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def set_aside(path: Path) -> str:
    """Rename a file of an earlier run, and a card beside it, to ``NAME.old``.

    Returns:
        What was done, for people; empty where there was no such file.
    """
    if not path.exists():
        return ""
    for part in (path, card_path(path)):
        if part.exists():
            os.replace(part, part.with_name(f"{part.name}.old"))
    return f"an older one is now {path.name}.old"
