"""Work on chunks in several processes, with few in flight whatever their number.

Decoding goes through Python for every few kilobytes, so threads would wait for each other. The
processes are started afresh (not forked: the parent may hold threads), leave Ctrl-C to the parent,
and end by themselves when it is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from groove.errors import CorpusError

CHUNK = 32  # some 100 ms of decoding: the bar moves, and the queue costs nothing
Item = TypeVar("Item")
Result = TypeVar("Result")


def run_in_processes(
    items: Iterable[Item],
    work: Callable[[list[Item]], list[Result]],
    *,
    workers: int,
    n_items: int,
    chunk: int = CHUNK,
) -> Iterator[list[Result]]:
    """The results of each chunk of items, in the order in which the chunks finish.

    Args:
        items: any number; read as the work goes on.
        work: a function of a module (processes look it up by name); takes and gives a list.
        workers: processes at most; where one is enough, it is this one.
        n_items: how many there are.
        chunk: items sent at a time.

    Raises:
        CorpusError: a process died; what `work` raises comes through as it is.
    """
    pending = iter(items)
    chunks = iter(lambda: list(islice(pending, chunk)), [])
    workers = min(workers, -(-n_items // chunk))
    if workers <= 1:
        yield from map(work, chunks)
        return
    waiting: set[Future[list[Result]]] = set()
    with worker_pool(workers, cure="with fewer --workers if memory is short") as pool:
        while True:
            waiting |= {pool.submit(work, c) for c in islice(chunks, 2 * workers - len(waiting))}
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


@contextmanager
def worker_pool(workers: int, *, cure: str) -> Iterator[ProcessPoolExecutor]:
    """Processes as the top of this module describes them, while the block runs.

    Args:
        workers: how many.
        cure: what to change where memory is short; it ends the message.

    Raises:
        CorpusError: one of them died.
    """
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
    )
    try:
        yield pool
    except BrokenProcessPool:
        raise CorpusError(
            "a worker process died (out of memory, or killed); what is finished is kept: run the "
            f"same command again, {cure}"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Without this, the workers of a parent that was killed wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
