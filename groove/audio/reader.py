"""What every decoder offers: blocks of original samples, and what full scale means in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FullScale:
    """Where a format clips.

    Attributes:
        level: samples at or beyond it are at full scale.
        flat: clipped samples repeat one value (PCM); a lossy decoder's tops waver instead.
    """

    level: float
    flat: bool


LOSSY = FullScale(0.98, flat=False)  # measured: mp3 and vorbis scatter clipped tops over 0.95..1.1
FLOAT = FullScale(1 - 2.0**-15, flat=True)  # floats are most often clipped as int16 before


def pcm(n_bits: int) -> FullScale:
    """Full scale of integers: the largest positive code."""
    return FullScale(1 - 2.0 ** (1 - n_bits), flat=True)


class Reader(Protocol):
    """An open recording at its own rate, with all its channels."""

    format: str
    sample_rate: int
    n_channels: int
    full_scale: FullScale

    def blocks(self, n_frames: int) -> Iterator[NDArray[np.float32]]:
        """Consecutive blocks [s, C] of about ``n_frames``, never empty."""
        ...

    def close(self) -> None:
        """Let go of files and processes; a second call does nothing."""
        ...


class ClipMeter:
    """The share of samples that are clipped: runs of at least three at full scale.

    One sample at full scale is a loud peak and two may be chance; a flat top is three or more. In
    lossless formats they must be equal as well, so that a float recording which merely goes beyond
    1.0 is not called clipped. Clipping that was attenuated afterwards is not seen.
    """

    def __init__(self, full_scale: FullScale) -> None:
        self._full_scale = full_scale
        self._carry: NDArray[Any] | None = None  # the last three samples [3, C]
        self._n_clipped = 0
        self._n_samples = 0

    @property
    def fraction(self) -> float:
        """Clipped samples / samples so far; 0.0 before the first."""
        return self._n_clipped / max(self._n_samples, 1)

    def push(self, block: NDArray[np.float32]) -> None:
        """Count in one more block [s, C]."""
        level = np.float32(self._full_scale.level)
        self._n_samples += block.size
        tops: NDArray[Any] = np.where(np.abs(block) >= level, block, np.float32(0))
        if not self._full_scale.flat:
            tops = np.sign(tops)
        if self._carry is None:
            self._carry = np.zeros((3, block.shape[1]), dtype=np.float32)
        tops = np.concatenate([self._carry, tops])
        self._carry = tops[-3:]
        if not tops.any():
            return
        # triple[i]: samples i, i+1, i+2 are one top. A run of L has L - 2 triples, so samples in
        # runs = triples + 2 per run; triple[0] was counted with the block before.
        triple = (tops[:-2] != 0) & (tops[:-2] == tops[1:-1]) & (tops[1:-1] == tops[2:])
        starts = triple[1:] & ~triple[:-1]
        self._n_clipped += int(triple[1:].sum()) + 2 * int(starts.sum())
