"""Synthetic voices: a pulse train at a speaker's pitch through a speaker's resonances, and noise.

Easy to tell apart, so that a small network learns it in seconds. A voice pauses between syllables:
a sound that never changes would vanish with the mean over frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from groove.manifest import Utterance, write_manifest

RATE = 16_000


def voice(speaker: int, utterance: int, seconds: float, noise: float = 0.02) -> NDArray[np.float32]:
    """One utterance [S] of a speaker; ``noise`` is its level against the voice's."""
    own = np.random.default_rng([7, speaker])
    rng = np.random.default_rng([8, speaker, utterance])
    pitch_hz, centres_hz = own.uniform(80, 260), own.uniform([300, 900, 2200], [900, 2200, 3800])
    n = round(seconds * RATE)
    t = np.arange(n) / RATE
    wobble = 1 + 0.05 * np.sin(2 * np.pi * rng.uniform(2, 5) * t + rng.uniform(0, 6))
    phase = np.cumsum(pitch_hz * wobble * rng.uniform(0.97, 1.03)) / RATE
    pulses = np.diff(np.floor(phase), prepend=0.0) + 0.05 * rng.standard_normal(n)
    spectrum, hz = np.fft.rfft(pulses), np.fft.rfftfreq(n, 1 / RATE)
    tilt = sum(1 / (1 + ((hz - c) / 90) ** 2) for c in centres_hz) + 0.02
    sound = np.fft.irfft(spectrum * tilt, n)
    sound *= np.sin(2 * np.pi * (rng.uniform(3, 5) * t + rng.uniform(0, 1))) > -0.3  # syllables
    level = rng.uniform(0.05, 0.2) / np.sqrt(np.mean(sound**2))
    return (sound * level + noise * 0.1 * rng.standard_normal(n)).clip(-1, 1).astype(np.float32)


def write_voices(
    folder: Path,
    name: str,
    speakers: range,
    per_speaker: int,
    *,
    seconds: float = 1.2,
    first: int = 0,
    prefix: str = "s",
    noise: float = 0.02,
) -> Path:
    """Recordings, from number ``first`` of each voice on, and their manifest ``name.jsonl``."""
    utterances = []
    for speaker in speakers:
        for i in range(first, first + per_speaker):
            length = seconds * (0.8 + 0.1 * (i % 5))
            speaker_id = f"{prefix}{speaker:03d}"
            path = folder / name / speaker_id / f"{i}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, voice(speaker, i, length, noise), RATE, subtype="PCM_16")
            utterances.append(Utterance(f"{speaker_id}-{i}", speaker_id, path, length))
    write_manifest(utterances, folder / f"{name}.jsonl")
    return folder / f"{name}.jsonl"
