"""The bar, and the line, of long work at the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from groove.progress import ProgressLine

line = ProgressLine()  # standard error has one


@contextmanager
def bar(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """A bar with the time left on a terminal, a line now and then in a log.

    Yields:
        What is told how much was done since it was told last.
    """
    if sys.stderr.isatty():
        with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=True) as shown:
            yield shown.update
        return
    done = 0
    line.show(label, 0, length)

    def advance(n_done: int) -> None:
        nonlocal done
        done += n_done
        line.show(label, done, length)

    yield advance
