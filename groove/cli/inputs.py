"""What the scripts in the root need to be there, and the command that makes it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

MADE_BY = {
    "val_meta": "python processed/preprocess_cnceleb2_train.py",
    "ckpt": "python train.py",
}


def require(path: str, made_by: str) -> None:
    """End the program with status 2 where a file is missing, naming the command that makes it.

    A name from the model catalogue is no file, and is there.
    """
    from groove.models import catalogue

    if not Path(path).is_file() and path not in catalogue():
        fail(f"{path}: no such file" + (f"; make it with  {made_by}" if made_by else ""))


def fail(message: object) -> NoReturn:
    """One line on standard error, and exit status 2."""
    click.echo(f"groove: {message}", err=True)
    sys.exit(2)
