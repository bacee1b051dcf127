"""Do two encoders compute the same? The gate that every export passes.

The reference (PyTorch) and the exported model embed the same utterances: several lengths (the long
ones made by joining one speaker's recordings), batches of 1 and 7, loud and very quiet. The
smallest cosine decides. The lengths are odd on purpose: a graph whose time or batch was frozen, or
whose rows depend on their batch mates, fails here and not at a user's.

The speech is the caller's (`read_voices`), the examples of the source tree, or, where neither is
at hand, noise with the level and colour of speech; `Voices.name` says which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, read_audio
from groove.bulk import find_recordings
from groove.encoder import Encoder
from groove.errors import ManifestError
from groove.manifest import Utterance, read_manifest
from groove.scoring import cosine

LENGTHS_S = (0.1, 1.0, 2.0, 2.345, 5.0, 20.0)
BATCHES = (1, 7)
LOUD_PEAK = 10 ** (-1 / 20)  # -1 dBFS
QUIET_RMS = 10 ** (-60 / 20)  # -60 dBFS
MIN_COSINE = {"fp32": 0.9999, "fp16": 0.999}

_EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
_EXAMPLE_SPEAKERS = {"voice_a": ("voice_a_1", "voice_a_2"), "voice_b": ("voice_b_1",)}
_ROW_SHIFT_S = 1.37  # rows of one speaker start so far apart
_MAX_SPEAKER_S = 30.0  # more of one speaker is not needed


@dataclass(frozen=True)
class Gate:
    """One comparison of an exported model with its reference, and whether it held."""

    measure: str  # "cosine", or "EER loss"
    found: float
    wanted: float  # the limit
    where: str  # the worst place
    measured_on: str
    holds: bool

    def __str__(self) -> str:
        """One line: what was found, what was wanted."""
        relation = "at least" if self.measure == "cosine" else "at most"
        return (
            f"{self.measure} {self.found:.6f}, wanted {relation} {self.wanted:g} "
            f"({self.where}; {self.measured_on})"
        )


@dataclass(frozen=True)
class Voices:
    """Speech to compare on: one joined waveform per speaker."""

    name: str
    waveforms: tuple[NDArray[np.float32], ...]

    def rows(self, seconds: float, batch: int) -> NDArray[np.float32]:
        """Utterances [B, S]: speakers in turn, each row at another place of its speaker."""
        n = round(seconds * SAMPLE_RATE)
        rows = np.empty((batch, n), np.float32)
        for i in range(batch):
            voice = self.waveforms[i % len(self.waveforms)]
            start = round(i // len(self.waveforms) * _ROW_SHIFT_S * SAMPLE_RATE)
            rows[i] = np.resize(np.roll(voice, -start), n)
        return rows


@dataclass(frozen=True)
class ParityGate:
    """The reference's embeddings of everything that is compared, computed once for all targets.

    >>> gate = ParityGate(TorchEncoder(module, card), bundled_voices())
    >>> gate.check(OnnxEncoder("model.onnx"), MIN_COSINE["fp32"]).holds
    """

    reference: Encoder
    voices: Voices
    lengths_s: Sequence[float] = LENGTHS_S
    batches: Sequence[int] = BATCHES
    _known: dict[tuple[float, str], NDArray[np.float32]] = field(default_factory=dict)

    def check(self, exported: Encoder, min_cosine: float) -> Gate:
        """Compare; the worst cosine over all lengths, batches and levels decides."""
        worst, where = 1.0, "everywhere"
        for seconds in self.lengths_s:
            rows = self.voices.rows(seconds, max(self.batches))
            for level, waveforms in (("loud", _loud(rows)), ("-60 dBFS", _quiet(rows))):
                if (seconds, level) not in self._known:
                    self._known[seconds, level] = self.reference(waveforms)
                wanted = self._known[seconds, level]
                for batch in self.batches:
                    found = exported(waveforms[:batch])
                    least = _least_cosine(wanted[:batch], found)
                    if not least >= worst:
                        worst, where = least, f"{seconds:g} s, batch {batch}, {level}"
        return Gate("cosine", worst, min_cosine, where, self.voices.name, worst >= min_cosine)


def bundled_voices() -> Voices:
    """The examples of the source tree, or voice-like noise where only the package is installed."""
    if not all((_EXAMPLES / f"{n}.wav").is_file() for s in _EXAMPLE_SPEAKERS.values() for n in s):
        rng = np.random.default_rng(0)
        n = round(_MAX_SPEAKER_S * SAMPLE_RATE)
        return Voices("voice-like noise", tuple(_voice_like(rng, n) for _ in range(3)))
    joined = [
        np.concatenate([read_audio(_EXAMPLES / f"{name}.wav") for name in names])
        for names in _EXAMPLE_SPEAKERS.values()
    ]
    return Voices("the example recordings of 2 speakers", tuple(joined))


def read_utterances(source: Path) -> list[Utterance]:
    """Labelled recordings: a .jsonl manifest, or a folder with one subfolder per speaker.

    A recording that lies in the folder itself counts as a speaker of its own. ``seconds`` of a
    folder's utterances is 0: they were not opened.

    Raises:
        ManifestError: neither, or nothing in it.
    """
    if source.is_dir():
        return [
            Utterance(
                r.utterance_id,
                r.utterance_id.split("/")[0] if "/" in r.utterance_id else r.path.stem,
                r.path,
                0.0,
            )
            for r in find_recordings(source)
        ]
    if source.suffix == ".jsonl":
        return read_manifest(source)
    raise ManifestError(f"{source}: wanted a folder of recordings or a .jsonl manifest")


def read_voices(source: Path | None) -> Voices:
    """Speech of up to seven speakers from `read_utterances`; None gives `bundled_voices`.

    Raises:
        ManifestError: see `read_utterances`; or less than half a second in all.
        AudioError: a recording cannot be read.
    """
    if source is None:
        return bundled_voices()
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in read_utterances(source):
        by_speaker[utterance.speaker_id].append(utterance)
    chosen = sorted(by_speaker, key=lambda s: (-len(by_speaker[s]), s))[: max(BATCHES)]
    joined = [_joined(by_speaker[speaker]) for speaker in chosen]
    joined = [waveform for waveform in joined if len(waveform) >= SAMPLE_RATE // 2]
    if not joined:
        raise ManifestError(f"{source}: no speaker with half a second of sound")
    return Voices(f"{len(joined)} speakers of {source}", tuple(joined))


def _joined(utterances: Sequence[Utterance]) -> NDArray[np.float32]:
    parts: list[NDArray[np.float32]] = []
    for utterance in utterances:
        parts.append(read_audio(utterance.path))
        if sum(map(len, parts)) >= _MAX_SPEAKER_S * SAMPLE_RATE:
            break
    return np.concatenate(parts)[: round(_MAX_SPEAKER_S * SAMPLE_RATE)]


def _loud(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    peaks = np.abs(rows).max(axis=1, keepdims=True)
    raised: NDArray[np.float32] = (rows * (LOUD_PEAK / np.maximum(peaks, 1e-9))).astype(np.float32)
    return raised


def _quiet(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    rms = np.sqrt(np.square(rows, dtype=np.float64).mean(axis=1, keepdims=True))
    lowered: NDArray[np.float32] = (rows * (QUIET_RMS / np.maximum(rms, 1e-9))).astype(np.float32)
    return lowered


def _least_cosine(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """NaN counts as the worst; rounding may not lift it above 1."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return -1.0
    cosines = [min(1.0, float(cosine(a, b))) for a, b in zip(wanted, found, strict=True)]
    return min(cosines)


def _voice_like(rng: np.random.Generator, n_samples: int) -> NDArray[np.float32]:
    """Noise whose level and colour change: every draw is another embedding."""
    noise = rng.standard_normal(n_samples)
    level = 0.02 + 0.1 * np.abs(np.sin(np.arange(n_samples) / 1500 + rng.uniform(0, 6)))
    coloured = np.convolve(noise, 0.9 ** np.arange(40) * rng.uniform(0.2, 1))[:n_samples] + noise
    scaled: NDArray[np.float32] = (level * coloured / coloured.std()).astype(np.float32)
    return scaled
