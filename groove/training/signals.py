"""Small measures of a waveform that several rooms of training share.

No BLAS in them: its dot products wake threads, which fight with the workers for the cores and add
up in an order that depends on their number.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def power(waveform: NDArray[np.float32]) -> float:
    """Mean square of a waveform [S]; the sum is pairwise, good to about 1e-6."""
    return float(np.square(waveform).mean())


def turned_down(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """The waveform with its peak at full scale, if it was beyond."""
    peak = max(float(waveform.max(initial=0.0)), -float(waveform.min(initial=0.0)))
    return np.clip(waveform / np.float32(peak), -1, 1) if peak > 1 else waveform


@lru_cache(maxsize=4096)
def fast_length(n: int) -> int:
    """The smallest length >= n without a prime factor above 5; other transforms take far longer."""
    best = 1 << (n - 1).bit_length()
    for fives in range(int(math.log(n, 5)) + 2):
        for threes in range(int(math.log(n, 3)) + 2):
            rest = -(-n // (5**fives * 3**threes))
            best = min(best, 5**fives * 3**threes * (1 << (rest - 1).bit_length()))
    return best
