"""Embedded utterances under one condition, and every pair of them: what a card is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDE_BAND = "wide band"
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class EmbeddedSet:
    """Utterances under one condition, a row each."""

    embedding: NDArray[np.float32]  # [N, D], unit length
    speaker: NDArray[np.str_]  # [N]
    utterance: NDArray[np.str_]  # [N]; the same under every condition
    speech_s: NDArray[np.float64]  # [N]
    channel: NDArray[np.str_]  # [N]; what it was heard through

    def at_least(self, speech_s: float) -> EmbeddedSet:
        """The rows with at least so much speech."""
        return self._rows(self.speech_s >= speech_s)

    def heard_through(self, channel: str) -> EmbeddedSet:
        """The rows of one channel."""
        return self._rows(self.channel == channel)

    def _rows(self, kept: NDArray[np.bool_]) -> EmbeddedSet:
        return EmbeddedSet(
            self.embedding[kept],
            self.speaker[kept],
            self.utterance[kept],
            self.speech_s[kept],
            self.channel[kept],
        )


@dataclass(frozen=True)
class LengthTrials:
    """Scores and the shorter side's speech, target and non-target."""

    target: NDArray[np.float32]
    nontarget: NDArray[np.float32]
    target_speech_s: NDArray[np.float32]
    nontarget_speech_s: NDArray[np.float32]
    n_speakers: int

    @property
    def has_both(self) -> bool:
        """Whether there are target and non-target trials."""
        return len(self.target) > 0 and len(self.nontarget) > 0


def channel_trials(a: EmbeddedSet, b: EmbeddedSet) -> list[LengthTrials]:
    """Every pair of different utterances of a channel; within one set each pair once."""
    found = []
    for channel in sorted(set(a.channel.tolist()) | set(b.channel.tolist())):
        one = a.heard_through(channel)
        found.append(_every_pair(one, one if a is b else b.heard_through(channel)))
    return found


def length_trials(a: EmbeddedSet, b: EmbeddedSet) -> LengthTrials:
    """Those of all channels."""
    return pooled(channel_trials(a, b))


def _every_pair(a: EmbeddedSet, b: EmbeddedSet) -> LengthTrials:
    parts = []
    for i in range(0, len(a.speaker), ROWS_AT_ONCE):
        rows = slice(i, i + ROWS_AT_ONCE)
        scores = a.embedding[rows] @ b.embedding.T
        target = a.speaker[rows, None] == b.speaker[None]
        valid = a.utterance[rows, None] != b.utterance[None]
        if a is b:
            valid &= np.arange(i, i + len(scores))[:, None] < np.arange(len(b.speaker))[None]
        speech = np.minimum(a.speech_s[rows, None], b.speech_s[None]).astype(np.float32)
        masks = (target & valid, ~target & valid)
        parts.append([values[mask] for values in (scores, speech) for mask in masks])
    none = [np.zeros(0, np.float32)] * 4
    joined = [np.concatenate(column) for column in zip(none, *parts, strict=True)]
    speakers = len(set(a.speaker.tolist()) | set(b.speaker.tolist()))
    return LengthTrials(joined[0], joined[1], joined[2], joined[3], speakers)


def pooled(trials: Sequence[LengthTrials]) -> LengthTrials:
    """Trials of several kinds as one."""
    if len(trials) == 1:
        return trials[0]
    return LengthTrials(
        np.concatenate([of.target for of in trials]),
        np.concatenate([of.nontarget for of in trials]),
        np.concatenate([of.target_speech_s for of in trials]),
        np.concatenate([of.nontarget_speech_s for of in trials]),
        max(of.n_speakers for of in trials),
    )
