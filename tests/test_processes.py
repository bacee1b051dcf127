"""Work in several processes: everything once, errors come through, nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from groove.errors import AudioError, CorpusError
from groove.preparation.processes import run_in_processes
from tests.conftest import ROOT


def squares(items: list[int]) -> list[int]:
    return [i * i for i in items]


def fails(items: list[int]) -> list[int]:
    raise AudioError(f"item {items[0]}")


def dies(items: list[int]) -> list[int]:
    os._exit(3)


def waits(items: list[str]) -> list[str]:
    Path(items[0]).write_text(str(os.getpid()))
    time.sleep(60)
    return items


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_worked_on_once(workers: int) -> None:
    items = iter(range(100))
    found = run_in_processes(items, squares, workers=workers, n_items=100, chunk=7)
    assert sorted(i for chunk in found for i in chunk) == [i * i for i in range(100)]
    assert list(run_in_processes([], squares, workers=workers, n_items=0)) == []


def test_few_are_read_ahead() -> None:
    read = []

    def reading() -> object:
        for i in range(1000):
            read.append(i)
            yield i

    chunks = run_in_processes(reading(), squares, workers=2, n_items=1000, chunk=5)
    next(chunks)
    assert len(read) <= 2 * 2 * 5
    chunks.close()


def test_an_error_comes_through_and_a_dead_worker_is_explained() -> None:
    with pytest.raises(AudioError, match="item 0"):
        list(run_in_processes([0, 1], fails, workers=2, n_items=2, chunk=2))
    with pytest.raises(AudioError, match="item"):
        list(run_in_processes([0, 1], fails, workers=2, n_items=2, chunk=1))
    with pytest.raises(CorpusError, match="a worker process died .* fewer --workers"):
        list(run_in_processes([0, 1], dies, workers=2, n_items=2, chunk=1))


ORPHANS = """
import sys
from groove.preparation.processes import run_in_processes
from tests.test_processes import waits
if __name__ == "__main__":
    list(run_in_processes(sys.argv[1:], waits, workers=2, n_items=2, chunk=1))
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs kill -9 and /proc")
def test_the_workers_of_a_killed_parent_end(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(ORPHANS)
    notes = [tmp_path / "a", tmp_path / "b"]
    run = subprocess.Popen(
        [sys.executable, str(script), *map(str, notes)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    try:
        while not all(note.exists() and note.read_text() for note in notes):
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    workers = [int(note.read_text()) for note in notes]
    while any(_is_running(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    """Whether a process does anything: one that has ended may wait to be collected (Z)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
