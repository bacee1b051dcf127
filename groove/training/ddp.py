"""One process or many: where this one stands, and the few things that all must agree on.

`torchrun` starts the processes and says by environment variables who each is; without it there is
one. Rank r of w trains on items r::w of every batch, so the batches are the same in total whatever
w is. Gradients are averaged by PyTorch's own DistributedDataParallel: over NCCL where the device is
a GPU, over gloo otherwise.

Every process opens the lists, the pack, the checkpoint that a run goes on from and the teacher's
embeddings by the same paths, and the first one alone writes: several machines share a file system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from groove.errors import SettingsError, TrainingError

PATIENCE = timedelta(hours=2)  # one process may embed a corpus for a teacher while others wait


@dataclass(frozen=True)
class Place:
    """Who this process is and what it computes on."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """True for the one that writes files."""
        return self.rank == 0


@contextmanager
def joined(device: str) -> Iterator[Place]:
    """Join the group that `torchrun` started, or stand alone; leave it at the end.

    Args:
        device: "auto" takes a GPU where there is one; else what `torch.device` understands.

    Raises:
        SettingsError: the device is not there.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if world_size == 1:
        yield Place(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Place(rank, world_size, chosen)
    finally:
        dist.destroy_process_group()


def choose_device(device: str, local_rank: int = 0) -> torch.device:
    """The device that ``train.device`` means on this machine."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        if chosen.type == "cuda" and chosen.index is None:
            chosen = torch.device("cuda", local_rank)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        said = (str(error).splitlines() or [""])[0][:160]
        raise SettingsError(
            f"train.device={device}: not usable here ({said}); wanted auto, cpu or cuda"
        ) from None
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    return chosen


def wrapped(module: nn.Module, place: Place, *, sync_bn: bool = False) -> nn.Module:
    """The module whose backward averages gradients over all processes."""
    if place.world_size == 1:
        return module
    if sync_bn:
        if place.device.type != "cuda":
            raise SettingsError("train.sync_bn: PyTorch has it for GPUs only; leave it false")
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    devices = [place.device.index] if place.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=devices)


def without_sync(module: nn.Module, skip: bool) -> Any:
    """A context in which gradients are kept for later: all parts of a batch but the last."""
    if skip and isinstance(module, DistributedDataParallel):
        return module.no_sync()
    return nullcontext()


def total(number: float, place: Place) -> float:
    """The sum of everyone's number."""
    if place.world_size == 1:
        return number
    value = torch.tensor([number], dtype=torch.float64, device=place.device)
    dist.all_reduce(value)
    return float(value)


def mean(numbers: Tensor, place: Place) -> Tensor:
    """The mean of everyone's numbers."""
    if place.world_size > 1:
        numbers = numbers.clone()
        dist.all_reduce(numbers)
        numbers /= place.world_size
    return numbers


def first_word(word: str, place: Place) -> str:
    """The first that is not empty: what one process was told, all must act on."""
    return next((heard for heard in gathered(word, place) if heard), "")


def gathered(value: Any, place: Place) -> list[Any]:
    """Everyone's value, in the order of ranks."""
    if place.world_size == 1:
        return [value]
    values: list[Any] = [None] * place.world_size
    dist.all_gather_object(values, value)
    return values


def same_buffers(module: nn.Module, place: Place) -> None:
    """Give everyone the first one's running statistics: each has seen its own share only."""
    if place.world_size > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


def same_state(module: nn.Module, place: Place) -> None:
    """Give everyone the first one's weights and running statistics."""
    if place.world_size > 1:
        for value in module.state_dict().values():
            dist.broadcast(value, src=0)


def wait(place: Place) -> None:
    """Until everyone is here: the others for the first one, which packs or hears for all.

    Raises:
        TrainingError: somebody did not come within `PATIENCE`, or has ended.
    """
    if place.world_size == 1:
        return
    try:
        dist.barrier()
    except RuntimeError as error:  # torch's own, of several lines
        said = (str(error).splitlines() or [""])[0][:160]
        hours = PATIENCE.total_seconds() / 3600
        raise TrainingError(
            f"process {place.rank} of {place.world_size} waited in vain for the others ({said}); "
            f"none is waited for longer than {hours:g} hours. Where the first one packs sound or "
            "has a teacher hear a corpus, what is done is kept: start the same command without "
            "torchrun, stop it behind its first step (Ctrl-C saves it), then all with resume=true"
        ) from error
