from __future__ import annotations

import io

import pytest

from groove.cli.progress import bar
from groove.progress import LOGGED_EVERY_S, ProgressLine, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def watch(stream: io.StringIO, every_s: float, total: int = 100) -> list[str]:
    """What is written while a stage goes on by one every so many seconds."""
    clock = Clock()
    line = ProgressLine(stream, clock)
    for done in range(total + 1):
        line.show("listening", done, total)
        clock.now += every_s
    return stream.getvalue().replace("\r\033[K", "\n").split("\n")


def test_a_log_gets_a_line_every_half_minute_with_the_time_left() -> None:
    lines = watch(io.StringIO(), every_s=10.0)
    assert lines[0] == "listening: 3 of 100 (3%), 0:16:10 left"
    assert lines[-2:] == ["listening: 99 of 100 (99%), 0:00:10 left", ""]
    assert len(lines) == 100 * 10.0 / LOGGED_EVERY_S // 1 + 1


def test_a_short_command_leaves_nothing_in_a_log() -> None:
    assert watch(io.StringIO(), every_s=0.2) == [""]


def test_a_terminal_has_one_line_that_ends_at_the_whole() -> None:
    lines = watch(Terminal(), every_s=0.03)
    assert lines[:2] == ["", "listening: 0 of 100 (0%)"]
    assert 20 < len(lines) < 40 and lines[-1] == "listening: 100 of 100 (100%)"


def test_the_time_left_is_told_from_this_run_and_this_stage() -> None:
    """What an earlier run did, or another stage, took none of this one's time."""
    stream, clock = io.StringIO(), Clock()
    line = ProgressLine(stream, clock)
    line.show("embedding", 900, 1_000)
    clock.now = 40.0
    line.show("embedding", 920, 1_000)
    line.show("resampling", 0, 10)
    clock.now = 90.0
    line.show("resampling", 5, 10)
    assert stream.getvalue() == (
        "embedding: 920 of 1,000 (92%), 0:02:40 left\nresampling: 5 of 10 (50%), 0:00:50 left\n"
    )


def test_work_of_unknown_length_is_named() -> None:
    stream = Terminal()
    line = ProgressLine(stream)
    line.show("writing", 1, 1)
    line.clear()
    assert stream.getvalue() == "\r\033[Kwriting ...\r\033[K"


def test_the_bar_of_a_command_reports_to_a_log_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr("groove.cli.progress.line", ProgressLine(clock=clock))
    with bar("embedding", 50) as advance:
        for _ in range(5):
            clock.now += 20.0
            advance(10)
    assert capsys.readouterr().err.splitlines() == [
        "embedding: 20 of 50 (40%), 0:01:00 left",
        "embedding: 40 of 50 (80%), 0:00:20 left",
    ]


def test_durations_have_hours() -> None:
    assert [duration(s) for s in (0.4, 59.6, 3_725.4)] == ["0:00:00", "0:01:00", "1:02:05"]
