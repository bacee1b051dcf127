"""How fast a run is, what it waits for, and what share of the hardware it uses.

Model FLOP utilisation is the FLOPs that the network needs (counted by torch's FlopCounterMode on
one forward pass; a training step is three of them: forward, and backward to inputs and to weights)
over those that all devices of the run together can do by their data sheet (dense, bf16 or fp16, no
sparsity).
"""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

PEAK_FLOPS = {  # NVIDIA's data sheets: tensor cores, 16 bit, dense; the first that fits counts
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "A10": 125e12,
    "T4": 65e12,
}
Item = TypeVar("Item")


class Meter:
    """Counts between two readings."""

    def __init__(
        self, device: torch.device, flops_per_crop: float = 0.0, *, n_devices: int = 1
    ) -> None:
        """Start counting.

        Args:
            device: of this process.
            flops_per_crop: of a training step.
            n_devices: like it, which train together: `count` is told of the crops of all.
        """
        self._device, self._flops, self._n_devices = device, flops_per_crop, n_devices
        self.restart()

    def waiting(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The same items; the time until each is there counts as waiting for the loader."""
        iterator = iter(batches)
        while True:
            started = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._waited_s += time.perf_counter() - started
            yield item

    def count(self, n_crops: int, n_speakers: int) -> None:
        """One step's crops and different speakers, over all processes."""
        self._n_crops += n_crops
        self._n_speakers += n_speakers

    def read(self) -> dict[str, float]:
        """Rates since the last reading, and the peak of memory since the start."""
        elapsed = max(time.perf_counter() - self._started, 1e-9)
        found = {
            "crops_per_s": self._n_crops / elapsed,
            "speakers_per_s": self._n_speakers / elapsed,
            "loader_wait": self._waited_s / elapsed,
            "memory_gb": peak_memory_bytes(self._device) / 1e9,
        }
        flops = self._flops * found["crops_per_s"]
        if flops:
            found["tflops"] = flops / 1e12
            peak = peak_flops(self._device)
            if peak:
                found["mfu"] = flops / (peak * self._n_devices)
        self.restart()
        return found

    def restart(self) -> None:
        """Begin anew: what was done since the last reading is not training."""
        self._started, self._waited_s = time.perf_counter(), 0.0
        self._n_crops = self._n_speakers = 0


def peak_memory_bytes(device: torch.device) -> int:
    """The most that was held: on a GPU by torch's allocator, else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def peak_flops(device: torch.device) -> float:
    """By the data sheet; 0 where this table does not know the device."""
    if device.type != "cuda":
        return 0.0
    return peak_flops_of(torch.cuda.get_device_name(device))


def peak_flops_of(name: str) -> float:
    """By the name that the driver gives; 0 where the table does not know it.

    Whole words count: an A1000 is no A100, a T400 no T4.

    >>> peak_flops_of("NVIDIA A100-SXM4-80GB")
    312000000000000.0
    """
    for known, peak in PEAK_FLOPS.items():
        if re.search(rf"\b{known}\b", name):
            return peak
    return 0.0


def training_flops(backbone: nn.Module, frames: Tensor) -> float:
    """FLOPs of one training step on ``frames`` [1, T, M]: three forward passes."""
    was_training = backbone.training
    backbone.eval()  # normalisation keeps its statistics
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        backbone(frames)
    backbone.train(was_training)
    return 3.0 * counter.get_total_flops()
