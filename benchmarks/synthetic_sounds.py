"""Seeded sounds in which nobody talks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
COLOURS = {"blue": -1.0, "white": 0.0, "pink": 1.0, "brown": 2.0}  # power falls as 1 / f^x

_Wave = NDArray[np.float32]


def at_level(waveform: NDArray[np.floating], level_dbfs: float) -> _Wave:
    """Scaled to an RMS level."""
    rms = np.sqrt(np.mean(waveform.astype(np.float64) ** 2))
    return (waveform * (10 ** (level_dbfs / 20) / max(rms, 1e-12))).astype(np.float32)


def noise(exponent: float, seconds: float, seed: int) -> _Wave:
    """Gaussian noise with a power of 1 / f^exponent above 20 Hz."""
    n = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    hz = np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 20.0)
    return np.fft.irfft(spectrum / hz ** (exponent / 2), n).astype(np.float32)


def hum(hz: float, n_harmonics: int, seconds: float) -> _Wave:
    """Harmonics that fall as 1 / k, with scattered phases."""
    t = _time(seconds)
    orders = [k for k in range(1, n_harmonics + 1) if k * hz < SAMPLE_RATE / 2]
    return sum(np.sin(2 * np.pi * k * hz * t + k * k) / k for k in orders).astype(np.float32)  # type: ignore[union-attr]


def tone(hz: float, seconds: float) -> _Wave:
    return np.sin(2 * np.pi * hz * _time(seconds)).astype(np.float32)


def swelling(waveform: _Wave, rate_hz: float) -> _Wave:
    """Amplitude-modulated to the ground."""
    swell = 0.5 * (1 + np.sin(2 * np.pi * rate_hz * _time(len(waveform) / SAMPLE_RATE)))
    return (waveform * swell).astype(np.float32)


def beeping(waveform: _Wave, rate_hz: float) -> _Wave:
    """On for half of each period."""
    on = (_time(len(waveform) / SAMPLE_RATE) * rate_hz % 1) < 0.5
    return (waveform * on).astype(np.float32)


def clicks(rate_hz: float, seconds: float, seed: int) -> _Wave:
    """Single samples of random size at random times, and regular ones between them."""
    n, rng = round(seconds * SAMPLE_RATE), np.random.default_rng(seed)
    waveform = (rng.random(n) < rate_hz / SAMPLE_RATE) * rng.uniform(-1, 1, n)
    waveform[:: round(SAMPLE_RATE / rate_hz)] += 1.0
    return waveform.astype(np.float32)


def wordless(seconds: float, n_seeds: int) -> Iterator[tuple[str, str, _Wave]]:
    """Kind, name and waveform of many sounds in which nobody talks."""
    pitches = [60 * 2 ** (i / 3) for i in range(20)]
    for colour, exponent in COLOURS.items():
        for seed in range(n_seeds):
            yield "noise", f"{colour} {seed}", noise(exponent, seconds, seed)
            yield "noise, swelling", f"{colour} {seed}", swelling(noise(exponent, seconds, seed), 4)
    for hz in pitches:
        yield "tone", f"{hz:.0f} Hz", tone(hz, seconds)
        for rate in (1, 2, 4, 8):
            yield "tone, swelling", f"{hz:.0f} Hz at {rate} Hz", swelling(tone(hz, seconds), rate)
            yield "tone, beeping", f"{hz:.0f} Hz at {rate} Hz", beeping(tone(hz, seconds), rate)
    for hz in (50, 60, 100, 120, 150, 200):
        for n_harmonics in (3, 8, 20):
            name, wave = f"{hz} Hz, {n_harmonics} harmonics", hum(hz, n_harmonics, seconds)
            yield "hum", name, wave
            grain = at_level(noise(0.0, seconds, hz), -40)
            yield "hum with noise", name, at_level(wave, -20) + grain
            for rate in (2, 4):
                yield "hum, swelling", f"{name} at {rate} Hz", swelling(wave, rate)
                swell = at_level(swelling(wave, rate), -20) + grain
                yield "hum with noise, swelling", f"{name} at {rate} Hz", swell
    for rate in (1, 3, 10, 50):
        for seed in range(n_seeds):
            yield "clicks", f"{rate} Hz {seed}", clicks(rate, seconds, seed)


def _time(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
