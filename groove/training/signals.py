"""Small measures of a waveform that several rooms of training share.

No BLAS in them: its dot products wake threads, which fight with the workers for the cores and add
up in an order that depends on their number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def power(waveform: NDArray[np.float32]) -> float:
    """Mean square of a waveform [S]; the sum is pairwise, good to about 1e-6."""
    return float(np.square(waveform).mean())


def turned_down(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """The waveform with its peak at full scale, if it was beyond."""
    peak = max(float(waveform.max(initial=0.0)), -float(waveform.min(initial=0.0)))
    return np.clip(waveform / np.float32(peak), -1, 1) if peak > 1 else waveform
