"""What killed processes leave beside the files that they were writing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from groove.leftovers import is_running, remove_leftovers


@pytest.fixture
def ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_parts_of_processes_that_ended_go_and_those_of_others_stay(
    tmp_path: Path, ended: int
) -> None:
    other = os.getppid()
    gone = {f".last.pt.{ended}.part", f".{ended}.part", f".a b\n.{ended}.part"}
    gone.add(f".last.pt.{os.getpid()}.part")  # this process has written nothing yet
    live = {f".last.pt.{other}.part", f".{other}.part"}
    foreign = {"train.i16.part", f"last.pt.{ended}.part", ".lists.part", f".{ended}.part.txt"}
    for name in gone | live | foreign:
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / f".{ended}.part").touch()
    assert remove_leftovers(tmp_path) == len(gone)
    assert left(tmp_path) == live | foreign | {"below"}
    assert remove_leftovers(tmp_path, locked=True) == len(live)
    assert left(tmp_path) == foreign | {"below"}
    assert left(tmp_path / "below") == {f".{ended}.part"}


def test_a_folder_that_is_not_there_and_a_part_that_cannot_go_are_no_errors(
    tmp_path: Path, ended: int
) -> None:
    assert remove_leftovers(tmp_path / "absent") == 0
    (tmp_path / f".x.{ended}.part").mkdir()
    assert remove_leftovers(tmp_path) == 0


def test_a_process_runs_until_it_ends(ended: int) -> None:
    assert is_running(os.getpid()) and is_running(os.getppid())
    assert not is_running(ended) and not is_running(10**30)
