"""Batches of a dataset by worker processes, in the sampler's order and the same to the byte.

    for batch in loader(dataset, sampler, epoch=3, workers=4, pin=True):
        ...

The workers live as long as the dataset: what they have decoded and cached serves the next epoch.
Rank r of w takes items r::w of every global batch. Torch's own random numbers are left alone.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader

from groove.errors import GrooveError, SettingsError, UnreadableAudio
from groove.training.batch import Batch, Item, collate
from groove.training.sampler import Draw, Sampler

MOST_CORRUPT = 0.01  # of the utterances; more are a damaged corpus, not an accident
AHEAD = 2  # batches that each worker prepares
OnCorrupt = Callable[[str, str], None]  # utterance_id, reason

_log = logging.getLogger(__name__)


class Crops(Protocol):
    """What a loader needs of a dataset."""

    utterance_ids: list[str]
    corrupt: dict[str, str]  # utterance_id (or name of a sound) -> reason, filled by the loader
    pools: dict[Any, Any]  # its worker processes, kept by the loader

    def __len__(self) -> int: ...

    def __getitem__(self, draw: Draw) -> Item: ...


def loader(
    dataset: Crops,
    sampler: Sampler,
    *,
    epoch: int,
    start_batch: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    pin: bool = False,
    on_corrupt: OnCorrupt | None = None,
) -> Iterator[Batch]:
    """The batches of one epoch, or the rest of them.

    Args:
        dataset: `groove.training.dataset.CropDataset` or its like.
        sampler: whose batches they are.
        epoch: which epoch, counted from 0.
        start_batch: how many batches are left out, when training goes on in the middle.
        rank: this process.
        world_size: of so many; it divides the batch.
        workers: processes that read and augment; 0 does it here. Their number changes no byte.
        pin: put batches into pinned memory, where there is a GPU.
        on_corrupt: is told of each corrupt utterance, once; None logs it as a warning.

    Raises:
        SettingsError: a batch that ``world_size`` does not divide, a rank or a start out of range.
        UnreadableAudio: more than one utterance, and more than 1 % of them, are corrupt.
    """
    batches = sampler.epoch(epoch)
    _refuse_impossible(len(batches[0]), len(batches), start_batch, rank, world_size, workers)
    plan = [batch[rank::world_size] for batch in batches[start_batch:]]
    return _flow(dataset, plan, workers, pin, on_corrupt or _warn)


def close(dataset: Crops) -> None:
    """End the worker processes of a dataset; a later `loader` starts new ones."""
    dataset.pools.clear()


class _Fetch(torch.utils.data.Dataset[Any]):
    """Whole batches, made where the crops are; a deliberate error comes back as a value.

    An exception would reach the main process as a trace of several lines under another class.
    """

    def __init__(self, dataset: Crops) -> None:
        self._dataset = dataset

    def __getitems__(self, draws: list[Draw]) -> Batch | GrooveError:
        try:
            return collate([self._dataset[draw] for draw in draws])
        except GrooveError as error:
            return error


class _Plan:
    """A batch sampler that the main process fills anew for every epoch."""

    def __init__(self) -> None:
        self.batches: list[list[Draw]] = []

    def __iter__(self) -> Iterator[list[Draw]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def _flow(
    dataset: Crops, plan: list[list[Draw]], workers: int, pin: bool, on_corrupt: OnCorrupt
) -> Iterator[Batch]:
    pool = _pool(dataset, workers, pin)
    pool.batch_sampler.batches = plan
    with warnings.catch_warnings():  # more workers than cores are the caller's choice
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        flow = iter(pool)
    for batch in flow:
        if isinstance(batch, GrooveError):
            raise batch
        _count_corrupt(batch, dataset, on_corrupt)
        yield batch


def _pool(dataset: Crops, workers: int, pin: bool) -> Any:
    pin = pin and torch.cuda.is_available()
    if (workers, pin) not in dataset.pools:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            dataset.pools[workers, pin] = DataLoader(
                _Fetch(dataset),
                batch_sampler=_Plan(),
                num_workers=workers,
                collate_fn=_as_it_is,
                pin_memory=pin,
                persistent_workers=workers > 0,
                prefetch_factor=AHEAD if workers > 0 else None,
                generator=torch.Generator(),  # else it draws from torch's own, and training with it
            )
    return dataset.pools[workers, pin]


def _as_it_is(batch: Any) -> Any:
    return batch


def _count_corrupt(batch: Batch, dataset: Crops, on_corrupt: OnCorrupt) -> None:
    for utterance_id, reason in batch.failures:
        if utterance_id not in dataset.corrupt:
            dataset.corrupt[utterance_id] = reason
            on_corrupt(utterance_id, reason)
    most = max(1, MOST_CORRUPT * len(dataset))
    if len(dataset.corrupt) <= most:
        return
    known = set(dataset.utterance_ids)  # sounds are named in `corrupt` as well, and do not count
    found = [(name, reason) for name, reason in dataset.corrupt.items() if name in known]
    if len(found) > most:
        utterance_id, reason = found[0]
        raise UnreadableAudio(
            f"{len(found)} of {len(dataset)} utterances are corrupt, more than "
            f"{100 * MOST_CORRUPT:g} %; the first was {utterance_id} ({reason}): "
            "repair them or prepare the corpus again"
        )


def _warn(utterance_id: str, reason: str) -> None:
    _log.warning("corrupt utterance %s is left out: %s", utterance_id, reason)


def _refuse_impossible(
    batch_size: int, n_batches: int, start_batch: int, rank: int, world_size: int, workers: int
) -> None:
    if not 0 <= rank < world_size:
        raise SettingsError(f"rank {rank} of {world_size}; wanted 0 to {world_size - 1}")
    if batch_size % world_size:
        raise SettingsError(
            f"a batch of {batch_size} cannot be shared by {world_size} processes; "
            f"wanted a multiple of {world_size}"
        )
    if not 0 <= start_batch <= n_batches:
        raise SettingsError(f"start at batch {start_batch} of {n_batches}; wanted 0 to {n_batches}")
    if workers < 0:
        raise SettingsError(f"{workers} workers; wanted 0 or more")
