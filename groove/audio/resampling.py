"""From one sample rate to another, and from one speaking rate to another (the only door to soxr).

Sources: soxr's HQ recipe (SoX Resampler library, 20 bits); its stream gives the same samples
however the input is cut, which tests/test_audio.py holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from groove.errors import SettingsError

SLOWEST, FASTEST = 0.5, 2.0  # beyond these a changed voice is no longer a possible one


class StreamResampler:
    """Mono samples at any rate -> another rate; at equal rates it hands them through."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream: Any = None
        if from_hz != to_hz:
            self._stream = soxr.ResampleStream(from_hz, to_hz, 1, "float32", "HQ")

    def push(self, mono: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        """What comes out after these samples [s] went in."""
        if self._stream is None:
            return mono
        out: NDArray[np.float32] = self._stream.resample_chunk(mono, last=last)
        return out

    def flush(self) -> NDArray[np.float32]:
        """What is still inside; nothing can be pushed afterwards."""
        return self.push(np.zeros(0, dtype=np.float32), last=True)


def change_speed(waveform: NDArray[np.float32], speed: float) -> NDArray[np.float32]:
    """Play a waveform faster or slower, as a tape does: pitch and formants move along.

    Args:
        waveform: [S].
        speed: 1.1 is ten per cent faster and higher.

    Returns:
        [round(S / speed)] float32; the waveform itself at speed 1.

    Raises:
        SettingsError: ``speed`` lies outside 0.5 to 2.
    """
    if not SLOWEST <= speed <= FASTEST:
        raise SettingsError(f"speed {speed!r}; wanted {SLOWEST:g} to {FASTEST:g}")
    if speed == 1:
        return waveform
    n_samples = round(len(waveform) / speed)
    # Heard at `speed` times its rate. Whole numbers of 1/10000: soxr then finds a short filter.
    faster: NDArray[np.float32] = soxr.resample(waveform, round(10_000 * speed), 10_000, "HQ")
    if len(faster) >= n_samples:
        return faster[:n_samples]
    return np.pad(faster, (0, n_samples - len(faster)))  # soxr rounds down by a sample
