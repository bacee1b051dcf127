"""Lengths at which Fourier transforms are fast."""

from __future__ import annotations

import math
from functools import lru_cache


@lru_cache(maxsize=4096)
def fast_length(n: int) -> int:
    """The smallest length >= n without a prime factor above 5; other transforms take far longer."""
    best = 1 << (n - 1).bit_length()
    for fives in range(int(math.log(n, 5)) + 2):
        for threes in range(int(math.log(n, 3)) + 2):
            rest = -(-n // (5**fives * 3**threes))
            best = min(best, 5**fives * 3**threes * (1 << (rest - 1).bit_length()))
    return best
