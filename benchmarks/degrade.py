"""What is done to speech in the conditions: noise, rooms, telephone, packet speech, short crops.

Every function is a function of the waveform and a generator, nothing else, so that a seed gives the
same sound. Waveforms [S] are float32 at 16 kHz in [-1, 1].
"""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Waveform = NDArray[np.float32]

RATE, PHONE_RATE = 16_000, 8_000
# libsndfile turns its level into 6 + (1 - level) * 250 kbit/s for one channel of Opus; the bit rate
# is variable, and `opus` measures about 16 kbit/s on speech with this.
OPUS_LEVEL = 0.96


def add_noise(
    speech: Waveform, noise: Waveform, snr_db: float, rng: np.random.Generator
) -> Waveform:
    """Noise from a random place, repeated where it is shorter, at a ratio of mean powers."""
    start = int(rng.integers(len(noise)))
    cut = np.resize(np.roll(noise, -start), len(speech)).astype(np.float64)
    power = float(np.mean(speech.astype(np.float64) ** 2))
    noise_power = max(float(np.mean(cut**2)), 1e-12)
    mixed = speech + cut * np.sqrt(power / noise_power / 10 ** (snr_db / 10))
    return _within(mixed)


def babble(voices: list[Waveform], length: int, rng: np.random.Generator) -> Waveform:
    """Several voices at once, equally loud, each repeated and begun anywhere."""
    mixed = np.zeros(length)
    for voice in voices:
        cut = np.resize(np.roll(voice, -int(rng.integers(len(voice)))), length).astype(np.float64)
        mixed += cut / np.sqrt(max(float(np.mean(cut**2)), 1e-12))
    return mixed.astype(np.float32)


def reverberate(speech: Waveform, response: Waveform) -> Waveform:
    """Convolved with a room's response from its strongest tap on; as long and as loud as before."""
    room = response[int(np.abs(response).argmax()) :].astype(np.float64)
    n = len(speech) + len(room) - 1
    wet = np.fft.irfft(np.fft.rfft(speech, n) * np.fft.rfft(room, n), n)[: len(speech)]
    level = np.sqrt(np.mean(speech.astype(np.float64) ** 2) / max(np.mean(wet**2), 1e-12))
    return _within(wet * level)


def telephone(speech: Waveform) -> Waveform:
    """8 kHz and G.711 A-law, back at 16 kHz: nothing above 4 kHz is left."""
    narrow = soxr.resample(speech, RATE, PHONE_RATE)
    wide = soxr.resample(alaw(narrow), PHONE_RATE, RATE)
    return np.resize(np.pad(wide, (0, max(0, len(speech) - len(wide)))), len(speech))


def alaw(samples: Waveform) -> Waveform:
    """Each sample as the nearest of the 256 values of ITU-T G.711, table 1a."""
    values = _alaw_values()
    at = np.searchsorted((values[1:] + values[:-1]) / 2, samples)
    return values[at].astype(np.float32)


def _alaw_values() -> NDArray[np.float64]:
    """The decoder's outputs in [-1, 1], rising: 8 segments of 16 steps, twice."""
    positive = []
    for segment in range(8):
        for step in range(16):
            value = (2 * step + 1) * 8 if segment == 0 else (2 * step + 33) * 2 ** (segment + 2)
            positive.append(value / 32768)
    return np.array([*(-v for v in reversed(positive)), *positive])


def opus(speech: Waveform) -> tuple[Waveform, float]:
    """Through an Opus coder at about 16 kbit/s; the sound and the measured kbit/s."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", RATE, 1, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL
    ) as file:
        file.write(speech)
    kbit_s = len(buffer.getvalue()) * 8 / 1000 / (len(speech) / RATE)
    buffer.seek(0)
    coded, _ = soundfile.read(buffer, dtype="float32")
    return np.resize(np.pad(coded, (0, max(0, len(speech) - len(coded)))), len(speech)), kbit_s


def _within(samples: NDArray[np.float64]) -> Waveform:
    """Scaled down where it would clip: a louder file is not another condition."""
    peak = float(np.abs(samples).max(initial=0.0))
    return (samples / max(1.0, peak / 0.99)).astype(np.float32)
