"""Small corpora of noise for tests: every utterance a tone of its own, so that one sees which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE
from groove.manifest import Utterance


def write_tone(path: Path, hz: float, seconds: float, *, rate: int = SAMPLE_RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * t), rate)
    return path


def write_noise(path: Path, seconds: float, *, seed: int = 0, level: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = level * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))
    soundfile.write(path, noise.clip(-1, 1), SAMPLE_RATE)
    return path


def corpus(
    folder: Path, sizes: list[int], *, seconds: float = 1.5
) -> tuple[list[Utterance], list[int]]:
    """Utterances of len(sizes) speakers and their labels; each a tone, 200 Hz upwards."""
    utterances, labels = [], []
    for speaker, size in enumerate(sizes):
        for n in range(size):
            hz = 200.0 + 50 * len(utterances)
            name = f"s{speaker}-{n}"
            path = write_tone(folder / f"s{speaker}" / f"{n}.flac", hz, seconds)
            utterances.append(Utterance(name, f"s{speaker}", path, seconds, {"hz": hz}))
            labels.append(speaker)
    return utterances, labels


def peak_hz(waveform: NDArray[np.float32]) -> float:
    """Frequency of the highest peak, to about 0.1 Hz."""
    n_fft = 1 << 17
    level = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), n_fft))
    return float(np.argmax(level)) * SAMPLE_RATE / n_fft
