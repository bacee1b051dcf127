"""Work on many things at once, with few in flight whatever the list's length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_parallel(
    items: Iterable[Item], work: Callable[[Item], Result], *, workers: int
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in the order in which they finish.

    At most twice as many items as workers are begun at a time. When the caller stops, or an item
    raises, what is running is waited for and the rest is not begun.

    Args:
        items: any number.
        work: called in threads.
        workers: threads.
    """
    waiting: dict[Future[Result], Item] = {}
    pending = iter(items)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            while True:
                while len(waiting) < 2 * workers:
                    try:
                        item = next(pending)
                    except StopIteration:
                        break
                    waiting[pool.submit(work, item)] = item
                if not waiting:
                    return
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                # What is finished first: an error ends this, and would lose it.
                for future in sorted(done, key=lambda future: future.exception() is not None):
                    yield waiting.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
