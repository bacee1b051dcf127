"""How long work reports: a label and a length open a stage, which is told what is done since."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
Progress: TypeAlias = Callable[[str, int], AbstractContextManager[Advance]]


@contextmanager
def silent(label: str, length: int) -> Iterator[Advance]:
    """The stage that nobody watches."""
    yield lambda n_done: None
