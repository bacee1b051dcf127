"""SIGTERM and Ctrl-C during a run: noticed at the end of a step, so that the run can be saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """While it is entered the first signal is remembered; a second one acts as it always does.

    >>> with Interruption() as stop:
    ...     if stop.requested: ...
    """

    def __init__(self) -> None:
        self.requested = ""  # the signal's name
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        """Take the signals over; outside the main thread Python allows none to."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._notice)
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def _notice(self, number: int, _: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        self.__exit__()
