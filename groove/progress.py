"""What long work says of itself on standard error: how much is done, of how much, what is left.

On a terminal one line overwrites itself. Elsewhere (a log file, a service) a line is added every
half a minute, so that a night's work shows in its log and a short command leaves nothing behind.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

SHOWN_EVERY_S = 0.1
LOGGED_EVERY_S = 30.0


class ProgressLine:
    """The line of one stage after another; a stage is known by what it is called."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin.

        Args:
            stream: where it goes; None is standard error, looked up at each line.
            clock: seconds that only grow.
        """
        self._given, self._clock = stream, clock
        self._stage, self._first, self._began, self._said = "", 0, 0.0, float("-inf")

    def show(self, stage: str, done: int, total: int) -> None:
        """Say how far a stage is, unless something was said a moment ago.

        Args:
            stage: what is going on.
            done: how much of it is done.
            total: of how much; 1 or less: it is not known.
        """
        now = self._clock()
        stream, overwrites = self._stream()
        if stage != self._stage:
            self._stage, self._first, self._began = stage, done, now
            self._said = float("-inf") if overwrites else now
        is_last = total > 1 and done >= total and overwrites
        if now - self._said < (SHOWN_EVERY_S if overwrites else LOGGED_EVERY_S) and not is_last:
            return
        self._said = now
        start, end = ("\r\033[K", "") if overwrites else ("", "\n")
        stream.write(f"{start}{stage}{self._share(done, total, now)}{end}")
        stream.flush()

    def clear(self) -> None:
        """Take the line away; the next one is a stage's first."""
        self._stage = ""
        stream, overwrites = self._stream()
        if overwrites:
            stream.write("\r\033[K")
            stream.flush()

    def _share(self, done: int, total: int, now: float) -> str:
        if total <= 1:
            return " ..."
        share = f": {done:,} of {total:,} ({done / total:.0%})"
        if done >= total or done <= self._first or now <= self._began:
            return share
        left = (now - self._began) / (done - self._first) * (total - done)
        return f"{share}, {duration(left)} left"

    def _stream(self) -> tuple[TextIO, bool]:
        stream = self._given if self._given is not None else sys.stderr
        return stream, stream.isatty()


def duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> duration(3725.4)
    '1:02:05'
    """
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
