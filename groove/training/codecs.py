"""What a telephone or an internet call does to a voice: [S] -> [S], aligned.

alaw, ulaw   the telephone: 8 kHz, 300 to 3400 Hz, 8 bits of ITU-T G.711 (groove/telephone.py)
opus         Opus at a low bit rate, through libsndfile
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, through_opus
from groove.telephone import telephone

CODECS = ("alaw", "ulaw", "opus")


def apply_codec(waveform: NDArray[np.float32], name: str, bits_per_s: int) -> NDArray[np.float32]:
    """Send a waveform [S] in [-1, 1] through a codec of `CODECS`; ``bits_per_s`` is for Opus."""
    if name == "opus":
        return through_opus(waveform, SAMPLE_RATE, bits_per_s)
    return telephone(waveform, name)
