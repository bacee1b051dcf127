"""How much of a voice lies above the telephone's band, by the spectra of its frames.

A telephone, or any recording at 8 kHz, keeps nothing above 4 kHz, whatever the file's sampling rate
says. So the mean power of the speech frames from 4.4 to 7.5 kHz is compared with that from 1 to
3.4 kHz, each less the median power of the pauses, so that a hiss which was added later does not
pass for speech.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
FRAME = 512  # samples

_WINDOW = np.hanning(FRAME + 1)[:-1].astype(np.float32)  # its side lobes lie below the 16 bits
_HZ = np.arange(FRAME // 2 + 1) * (SAMPLE_RATE / FRAME)
_LOW_BAND = (_HZ >= 1_000) & (_HZ <= 3_400)
_HIGH_BAND = (_HZ >= 4_400) & (_HZ <= 7_500)
_FLOOR_DB = -120.0  # what is less than this


def band_powers(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean power of the low and of the high band in each frame, [T, 512] -> [T, 2]."""
    power = np.square(np.abs(np.fft.rfft(frames * _WINDOW, axis=1)))
    bands = [power[:, band].mean(axis=1) for band in (_LOW_BAND, _HIGH_BAND)]
    return np.stack(bands, axis=1).astype(np.float32)


def high_band_db(
    powers: NDArray[np.floating[Any]], speech: NDArray[np.bool_], pause: NDArray[np.bool_] | None
) -> float:
    """The high band against the low one, in dB between -120 and 120.

    Args:
        powers: of `band_powers`, [T, 2].
        speech: the frames in which somebody speaks [T]; one at least.
        pause: those in which nobody does [T]; None where they are too few to hear the noise in.
    """
    bands = powers.astype(np.float64)
    low, high = bands[speech].mean(axis=0)
    if pause is not None:
        noise_low, noise_high = np.median(bands[pause], axis=0)
        low, high = max(low - noise_low, low / 10), max(high - noise_high, 0.0)
    ratio_db = 10 * np.log10(max(high, 1e-20) / max(low, 1e-20))
    return round(float(np.clip(ratio_db, _FLOOR_DB, -_FLOOR_DB)), 1)
