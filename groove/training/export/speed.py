"""What exported files are timed against: eager PyTorch, torch.compile, and the processor's peak."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from groove.training.encoder import TorchEncoder
from groove.training.export.split import open_split

GEMM_SIZE, GEMM_REPEAT = 2048, 10


class TimedTorch:
    """A `TorchEncoder` whose calls run with a given number of threads."""

    def __init__(self, encoder: TorchEncoder, threads: int | None) -> None:
        """Take an encoder; torch's thread count belongs to the process, so each call sets it."""
        self.encoder, self.card, self.model_hash = encoder, encoder.card, encoder.model_hash
        self._threads = threads or os.cpu_count() or 1

    def __call__(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Waveforms [B, S] -> embeddings [B, D]."""
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        return self.encoder(waveforms)


def open_eager(path: str | os.PathLike[str], *, threads: int | None = None) -> TimedTorch:
    """``model.pt`` of a split export, run operator by operator."""
    return TimedTorch(open_split(Path(path)), threads)


def open_compiled(path: str | os.PathLike[str], *, threads: int | None = None) -> TimedTorch:
    """``model.pt`` of a split export through torch.compile; compiled at each new shape."""
    opened = open_eager(path, threads=threads)
    opened.encoder.module.backbone = torch.compile(opened.encoder.module.backbone)  # type: ignore[assignment]
    return opened


def gflop_per_audio_s(path: str | os.PathLike[str]) -> float:
    """Floating-point operations (2 per multiply-add) for one second of a 10 s utterance, in 1e9."""
    encoder = open_split(Path(path))
    seconds = 10
    waveform = torch.zeros(1, seconds * encoder.card.fbank.sample_rate)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        encoder.module(waveform)
    return float(counter.get_total_flops()) / seconds / 1e9


def gemm_gflops(threads: int) -> float:
    """The best of some products of 2048 by 2048 float32 matrices, in 1e9 operations a second."""
    torch.set_num_threads(threads)
    a, b = torch.randn(2, GEMM_SIZE, GEMM_SIZE)
    best = float("inf")
    for _ in range(GEMM_REPEAT):
        started = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - started)
    return 2 * GEMM_SIZE**3 / best / 1e9
