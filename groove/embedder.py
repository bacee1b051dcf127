"""THE flow: a recording -> waveform -> windows or crops -> encoder -> mean -> embedding [D].

Whoever asks (compare, bulk, evaluation, the store, the demo) comes through `Embedder.examine`.

One pass over the whole utterance is the rule. Longer recordings than the card's window are
streamed as consecutive windows, whose unit-length embeddings are averaged by their seconds of
speech; windows in which nobody talks count for nothing. With crops (the seed's way) equally long
windows, evenly spaced, are averaged with equal weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, AudioSource, AudioStream, open_audio
from groove.crops import crop_starts, cut_crops, windows
from groove.encoder import Encoder
from groove.errors import CardError, NoSpeech, SettingsError
from groove.speech import SpeechDetector, SpeechReport

DEFAULT_CROP_S = 3.0  # the seed's; each is used when only the other is asked for
DEFAULT_NUM_CROPS = 6
LEAST_WEIGHT = 1e-3  # of a window without speech, where recordings without any are embedded


@dataclass(frozen=True)
class Examined:
    """What one recording holds.

    ``embedding`` [D] has length 1; it is None where there is too little speech, and ``speech`` says
    why. ``mean_length`` is how long the mean of the unit-length crops (or windows) was, 1 where all
    agree: the mean score of all pairs of crops is the cosine times both lengths.
    """

    embedding: NDArray[np.float32] | None
    speech: SpeechReport
    mean_length: float = 1.0


class Embedder:
    """Turns recordings into embeddings with one encoder.

    >>> embedder = Embedder(encoder)
    >>> embedder.embed("a.wav").shape                  # [D], length 1
    >>> embedder.examine("a.wav").speech.speech_s      # and what was found on the way
    >>> Embedder(encoder, num_crops=6, crop_sec=3.0)   # the mean of six crops
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        num_crops: int | None = None,
        crop_sec: float | None = None,
        channel: int | None = None,
        every_recording: bool = False,
    ) -> None:
        """Fix how recordings are read and cut.

        Args:
            encoder: the model.
            num_crops: crops that are averaged; None takes the card's setting, as does...
            crop_sec: ...the length of a crop in seconds. With only one given the other is 6 or 3.0.
            channel: which channel to use, counted from 1; None mixes all down.
            every_recording: embed also what holds little or no speech, to compare with systems that
                refuse nothing. Never for a decision: two silences are alike.

        Raises:
            SettingsError: a value that cannot be honoured.
            CardError: the model wants another sample rate than 16 kHz.
        """
        card = encoder.card
        if card.fbank.sample_rate != SAMPLE_RATE:
            raise CardError(
                f"{card.name} wants {card.fbank.sample_rate} Hz; Groove reads {SAMPLE_RATE} Hz"
            )
        self.encoder = encoder
        self.channel, self.every_recording = channel, every_recording
        self.num_crops, self.crop_s = _crop_settings(
            card.num_crops, card.crop_s, num_crops, crop_sec
        )
        self.is_card_setting = (self.num_crops, self.crop_s) == (card.num_crops, card.crop_s)
        self._detector = SpeechDetector()

    def embed(self, source: AudioSource) -> NDArray[np.float32]:
        """The embedding [D] of a recording, length 1.

        Args:
            source: a path, bytes, a binary file object, or ``(array, sample_rate)``.

        Raises:
            NoSpeech: too little speech for an embedding.
            AudioError: the recording cannot be read.
        """
        examined = self.examine(source)
        if examined.embedding is None:
            raise NoSpeech(examined.speech.refusal(self.encoder.card.min_speech_s))
        return examined.embedding

    def examine(
        self, source: AudioSource, progress: Callable[[float], None] | None = None
    ) -> Examined:
        """The embedding of a recording, if it holds enough speech, and what is wrong with it.

        Args:
            source: a path, bytes, a binary file object, or ``(array, sample_rate)``.
            progress: called with the seconds read so far, once a window.

        Raises:
            AudioError: the recording cannot be read.
        """
        mean = _Mean(self.encoder)
        least_weight = LEAST_WEIGHT if self.every_recording else 0.0
        whole = self.num_crops == 0
        window_samples = round(self.encoder.card.window_s * SAMPLE_RATE)
        speech = self._detector.stream()
        first: NDArray[np.float32] | None = None
        with self._open(source) as audio:
            for window in windows(audio, window_samples):
                speech_s = speech.push(window)
                if whole:
                    mean.add(window[None], max(speech_s, least_weight))
                first = window if speech.seconds == len(window) / SAMPLE_RATE else None
                if progress:
                    progress(speech.seconds)
            report = speech.report(
                clipped_fraction=audio.clipped_fraction, mp3_kbit_s=audio.mp3_kbit_s
            )
        if not self.every_recording and report.speech_s < self.encoder.card.min_speech_s:
            return Examined(None, report)
        if not whole:
            mean.add(self._crops(source, first, round(report.seconds * SAMPLE_RATE)), 1.0)
        if mean.is_empty:  # too short for a single frame
            return Examined(None, report)
        return Examined(mean.embedding(), report, mean.length())

    def _open(self, source: AudioSource) -> AudioStream:
        return open_audio(source, channel=self.channel)

    def _crops(
        self, source: AudioSource, only_window: NDArray[np.float32] | None, n_samples: int
    ) -> NDArray[np.float32]:
        """Crops [B, S]: from the window in hand, or by reading a long recording once more."""
        crop_samples = min(round(self.crop_s * SAMPLE_RATE), n_samples)
        starts = crop_starts(n_samples, crop_samples, self.num_crops)
        if only_window is not None:
            return cut_crops([only_window], starts, crop_samples)
        with self._open(source) as audio:
            return cut_crops(audio, starts, crop_samples)


class _Mean:
    """Weighted mean of unit-length embeddings, in float64, without keeping the crops."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._total = np.zeros(encoder.card.embedding_size)
        self._weight = 0.0

    def add(self, waveforms: NDArray[np.float32], weight: float) -> None:
        """Encode equally long waveforms [B, S] and add each with ``weight``."""
        if weight <= 0 or waveforms.shape[1] < self._encoder.card.fbank.min_samples:
            return
        embeddings = self._encoder(waveforms).astype(np.float64)  # [B, D]
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        self._total += weight * (embeddings / np.maximum(norms, 1e-12)).sum(axis=0)
        self._weight += weight * len(embeddings)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return self._weight == 0.0

    def length(self) -> float:
        """The mean's length before scaling, 0 to 1."""
        return float(np.linalg.norm(self._total)) / max(self._weight, 1e-12)

    def embedding(self) -> NDArray[np.float32]:
        """The mean, scaled to length 1 [D]."""
        unit: NDArray[np.float64] = self._total / max(float(np.linalg.norm(self._total)), 1e-12)
        return unit.astype(np.float32)


def _crop_settings(
    card_crops: int, card_crop_s: float, num_crops: int | None, crop_sec: float | None
) -> tuple[int, float]:
    if num_crops is None and crop_sec is None:
        return card_crops, card_crop_s
    number = num_crops if num_crops is not None else (card_crops or DEFAULT_NUM_CROPS)
    seconds = crop_sec if crop_sec is not None else (card_crop_s or DEFAULT_CROP_S)
    if not 1 <= number <= 1000:
        raise SettingsError(f"num_crops is {number}; wanted 1 to 1000")
    if not 0.1 <= seconds <= 60:
        raise SettingsError(f"crop_sec is {seconds:g}; wanted 0.1 to 60 seconds")
    return number, float(seconds)
