"""Samples that are already in memory: ``(array, sample_rate)``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.audio.reader import FLOAT, FullScale, pcm
from groove.errors import EmptyAudio, InvalidSamples

MAX_CHANNELS = 64  # more columns than this are a transposed array, not a microphone array


class ArrayReader:
    """A `Reader` over an array [S] or [S, channels].

    Integers of 8, 16 or 32 bits are scaled by the range of their type (unsigned ones are centred
    first); float arrays are taken as they are.

    Raises:
        InvalidSamples: shape, type or sample rate that cannot be a recording.
        EmptyAudio: no samples.
    """

    def __init__(self, samples: Any, sample_rate: Any) -> None:
        if np.ndim(samples) == 0 and np.ndim(sample_rate) > 0:
            raise InvalidSamples("the tuple is (sample_rate, array); wanted (array, sample_rate)")
        self.format = "array"
        self.sample_rate = _whole_rate(sample_rate)
        self._samples = _two_dimensional(np.asarray(samples))  # [S, C]
        self.n_channels = self._samples.shape[1]
        self._offset, self._divisor, self.full_scale = _scaling(self._samples.dtype)

    def blocks(self, n_frames: int) -> Iterator[NDArray[np.float32]]:
        """Consecutive blocks [s, C], scaled; always copies."""
        for start in range(0, len(self._samples), n_frames):
            block = self._samples[start : start + n_frames]
            if self._divisor == 1:
                with np.errstate(over="ignore"):  # float64 beyond float32 is refused as infinite
                    yield block.astype(np.float32)
            else:
                yield ((block.astype(np.float64) - self._offset) / self._divisor).astype(np.float32)

    def close(self) -> None:
        """Nothing to let go of."""


def _whole_rate(sample_rate: Any) -> int:
    if isinstance(sample_rate, bool | str | bytes) or np.ndim(sample_rate) != 0:
        raise InvalidSamples(f"sample rate {sample_rate!r:.40}; wanted a whole number of Hz")
    try:
        rate = float(sample_rate)
    except (TypeError, ValueError):
        rate = 0.5
    if not rate.is_integer():
        raise InvalidSamples(f"sample rate {sample_rate!r:.40}; wanted a whole number of Hz")
    return int(rate)


def _two_dimensional(samples: NDArray[Any]) -> NDArray[Any]:
    """The array as [S, C]."""
    if samples.ndim not in (1, 2):
        raise InvalidSamples(f"array has shape {samples.shape}; wanted [S] or [S, channels]")
    if samples.size == 0:
        raise EmptyAudio("the array holds no samples")
    if samples.ndim == 1:
        return samples[:, None]
    if samples.shape[1] > MAX_CHANNELS:
        raise InvalidSamples(
            f"array has shape {samples.shape}, which is {samples.shape[1]} channels; "
            "wanted [S, channels]: pass array.T"
        )
    return samples


def _scaling(dtype: np.dtype[Any]) -> tuple[int, int, FullScale]:
    """What to subtract, what to divide by, and where the type clips."""
    if dtype.kind == "f":
        return 0, 1, FLOAT
    if dtype.kind in "iu" and (dtype.itemsize <= 2 or dtype == np.int32):
        n_bits, half = 8 * dtype.itemsize, 2 ** (8 * dtype.itemsize - 1)
        return (half if dtype.kind == "u" else 0), half, pcm(n_bits)
    raise InvalidSamples(
        f"array has type {dtype}, whose scale is not known; "
        "wanted floats in [-1, 1], or 8-, 16- or 32-bit integers (int16 for 16-bit audio)"
    )
