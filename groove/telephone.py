"""What a telephone does to a voice: [S] -> [S], aligned, nothing left above 4 kHz.

8 kHz, 300 to 3400 Hz, 8 bits of ITU-T G.711 (11/88). With 16-bit samples x:

    A-law (13 bits, tables 1a and 1b): a = x >> 3, or (-x - 1) >> 3 for x < 0. Steps are 2 wide
        below 64 and 2^(h - 4) from there on, h being the highest set bit of a.
    mu-law (14 bits, tables 2a and 2b): m = (|x| >> 2) + 33, at most 8191. Steps are 2^(h - 4) wide.
    Both are decoded to the middle of the step, mu-law less 33 again.

Both are tables of 65,536 values, so that a crop costs one look-up a sample. The band is the
zero-phase mask of `telephone_band`: nothing is delayed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE
from groove.fourier import fast_length

LOW_HZ, HIGH_HZ = 300.0, 3400.0  # where the telephone's band is 6 dB down
LOW_WIDTH_HZ, HIGH_WIDTH_HZ = 200.0, 400.0  # of the slopes: 200 to 400 and 3200 to 3600 Hz
_PAD = 800  # zeros of 50 ms, so that the end of a crop does not ring into its beginning


def telephone(
    waveform: NDArray[np.float32], law: str, *, whole_band: bool = False
) -> NDArray[np.float32]:
    """Narrow band and G.711: down to 8 kHz, quantised there, and up to 16 kHz again.

    Args:
        waveform: [S] in [-1, 1] at 16 kHz.
        law: "alaw" or "ulaw".
        whole_band: keep all below 4 kHz, as a recorder at 8 kHz does, not 300 to 3400 Hz alone.
    """
    n_fft = _even_fast_length(len(waveform) + _PAD)
    spectrum = np.fft.rfft(waveform, n_fft)[: n_fft // 4 + 1]
    if not whole_band:
        spectrum *= telephone_band(n_fft)
    narrow = np.fft.irfft(spectrum, n_fft // 2) * np.float32(0.5)  # [n_fft / 2] at 8 kHz
    rounded = np.clip(np.rint(narrow * np.float32(32768)), -32768, 32767).astype(np.int16)
    quantised = g711_table(law)[rounded.view(np.uint16)].astype(np.float32)
    quantised *= np.float32(2 / 32768)
    wide = np.fft.irfft(np.fft.rfft(quantised), n_fft)
    narrowed: NDArray[np.float32] = wide[: len(waveform)].astype(np.float32, copy=False)
    return narrowed


@lru_cache(maxsize=64)
def telephone_band(n_fft: int) -> NDArray[np.float32]:
    """What bins 0 to 4 kHz of an ``n_fft`` transform at 16 kHz are multiplied by."""
    hz = np.arange(n_fft // 4 + 1) * (SAMPLE_RATE / n_fft)
    up = np.clip((hz - LOW_HZ) / LOW_WIDTH_HZ + 0.5, 0, 1)
    down = np.clip((HIGH_HZ - hz) / HIGH_WIDTH_HZ + 0.5, 0, 1)
    slopes = np.sin(np.pi / 2 * np.stack([up, down])) ** 2  # a half, -6 dB, in their middle
    band: NDArray[np.float32] = slopes.prod(axis=0).astype(np.float32)
    return band


@lru_cache(maxsize=2)
def g711_table(law: str) -> NDArray[np.int16]:
    """[65536]: what each 16-bit sample, seen as unsigned, is decoded to."""
    x = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int64)
    decoded = _alaw(x) if law == "alaw" else _ulaw(x)
    return decoded.astype(np.int16)


def _alaw(x: NDArray[np.int64]) -> NDArray[np.int64]:
    magnitude = np.where(x >= 0, x, -x - 1) >> 3  # 12 bits: 13 with the sign
    shift = np.maximum(_highest_bit(magnitude) - 4, 1)
    middle = ((magnitude >> shift) << shift) + (1 << (shift - 1))
    decoded: NDArray[np.int64] = np.where(x >= 0, middle, -middle) * 8
    return decoded


def _ulaw(x: NDArray[np.int64]) -> NDArray[np.int64]:
    magnitude = np.minimum((np.abs(x) >> 2) + 33, 8191)
    shift = _highest_bit(magnitude) - 4
    middle = ((magnitude >> shift) << shift) + (1 << (shift - 1)) - 33
    decoded: NDArray[np.int64] = np.where(x >= 0, middle, -middle) * 4
    return decoded


def _highest_bit(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of the highest set bit; 0 for 0 and 1."""
    exponent: NDArray[np.int64] = np.frexp(np.maximum(values, 1).astype(float))[1].astype(np.int64)
    return exponent - 1


def _even_fast_length(n: int) -> int:
    """A fast length that four divides, so that half the rate has whole samples and bins."""
    return 4 * fast_length(-(-n // 4))
