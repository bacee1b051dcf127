"""What a run says: lines of JSON for programs, TensorBoard, and one line for whoever watches.

``log.jsonl`` holds one object a line. ``"kind"`` is "run" (once a start: what is trained on what),
"step" (means since the step line before), "epoch" (validation) or "event" (text). When a run goes
on from a checkpoint, lines of steps after it are cut off first: they are about to be written again.
A number that is not finite (the mean gradient over a step that fp16 skipped) is null.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from groove.errors import TrainingError
from groove.manifest import write_lines
from groove.progress import ProgressLine, duration

LOG = "log.jsonl"


class RunLog:
    """The log of one process; a silent one where ``is_first`` is false."""

    def __init__(
        self,
        folder: Path,
        *,
        is_first: bool = True,
        tensorboard: bool = False,
        from_step: int = 0,
        stream: TextIO | None = None,
    ) -> None:
        """Open the log.

        Args:
            folder: it is made.
            is_first: whether this process writes.
            tensorboard: also write events for it, into ``folder/tensorboard``.
            from_step: the run goes on from here; 0 starts a new log.
            stream: where the progress line goes; None is standard error.

        Raises:
            TrainingError: it cannot be written.
        """
        self._is_first, self.n_steps = is_first, 0  # the run sets it once it knows
        self._stream = stream if stream is not None else sys.stderr
        self._overwrites = self._stream.isatty()
        self._from_step = from_step
        self.begin()
        self._writer: Any = None
        self._path, self._events = folder / LOG, folder / "tensorboard"
        if not is_first:
            return
        kept = [line for line in read_log(self._path) if line["step"] <= from_step > 0]
        with writing(self._path, "the log", sound_after(from_step)):
            folder.mkdir(parents=True, exist_ok=True)
            write_lines(self._path, [json.dumps(line) for line in kept])
        if tensorboard:
            with writing(self._events, _NUMBERS, f"{sound_after(from_step)}, {_WITHOUT}"):
                self._writer = _summary_writer(self._events, from_step)

    def begin(self) -> None:
        """The first step comes now: the time that is left is told from what follows."""
        self._started = time.monotonic()

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Add a line, and its numbers to TensorBoard.

        Raises:
            TrainingError: it cannot be written.
        """
        if not self._is_first:
            return
        values = {name: None if _is_endless(value) else value for name, value in values.items()}
        text = json.dumps({"kind": kind, "step": step, **values}, allow_nan=False)
        with (
            writing(self._path, "the log", _GO_ON),
            self._path.open("a", encoding="utf-8") as file,
        ):
            file.write(f"{text}\n")
        if self._writer is not None:
            with writing(self._events, _NUMBERS, f"{LOG} has them; {_GO_ON}, {_WITHOUT}"):
                for name, value in values.items():
                    if isinstance(value, int | float) and not isinstance(value, bool):
                        self._writer.add_scalar(f"{kind}/{name}", value, step)
                self._writer.flush()

    def event(self, step: int, text: str) -> None:
        """What happened beside the plan: a line of the log, and one that stays on the screen.

        Raises:
            TrainingError: it cannot be written.
        """
        self.write("event", step, text=text)
        self.say(text)

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._is_first:
            start = "\r\033[K" if self._overwrites else ""
            self._stream.write(f"{start}{text}\n")
            self._stream.flush()

    def show(self, step: int, **values: Any) -> None:
        """The progress line; on a terminal it overwrites itself."""
        if not self._is_first:
            return
        words = [f"{step:,}/{self.n_steps:,}"]
        words += [f"{_NAMES.get(name, name)} {_short(value)}" for name, value in values.items()]
        words.append(f"ETA {self._left(step)}")
        start, end = ("\r\033[K", "") if self._overwrites else ("", "\n")
        self._stream.write(f"{start}{'  '.join(words)}{end}")
        self._stream.flush()

    def counting(self, what: str) -> Callable[[int, int], None] | None:
        """The progress line of work before the first step; None for all but the first process."""
        return partial(ProgressLine(self._stream).show, what) if self._is_first else None

    def close(self) -> None:
        """Leave the line and close TensorBoard's file."""
        if self._is_first and self._overwrites:
            self._stream.write("\n")
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:  # what failed once fails again, and the run has ended
                self.say(f"{self._events}: {_NUMBERS} end early ({error.strerror or error})")

    def _left(self, step: int) -> str:
        done = step - self._from_step
        if done < 1:
            return "?"
        return duration((time.monotonic() - self._started) / done * (self.n_steps - step))


_GO_ON = "go on from the last checkpoint with resume=true"
_NUMBERS, _WITHOUT = "TensorBoard's numbers", "with train.tensorboard=false where room is short"


@contextmanager
def writing(path: Path, what: str, how: str) -> Iterator[None]:
    """Turn the system's refusal of a file, as on a full disk, into one line.

    Args:
        path: the file.
        what: what it holds.
        how: what is sound, and how to go on.

    Raises:
        TrainingError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        said = error.strerror or error
        raise TrainingError(f"{path}: {what} cannot be written ({said}); {how}") from error


def sound_after(step: int) -> str:
    """What is sound, and how to go on, where a run that begins after a step cannot begin."""
    if step:
        return "the last checkpoint is as it was before: go on with resume=true"
    return "nothing was trained yet: start again"


_NAMES = {"margin_rad": "margin", "crops_per_s": "crops/s", "speakers_per_s": "speakers/s"}


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last line that a kill cut short is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _is_endless(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _summary_writer(folder: Path, from_step: int) -> Any:
    """TensorBoard's writer; it hides what was written after ``from_step``."""
    from torch.utils.tensorboard.writer import SummaryWriter

    return SummaryWriter(str(folder), purge_step=from_step + 1)
