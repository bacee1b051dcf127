"""Embeddings of stored features, for evaluation where the recordings are not at hand.

The frames lack mean subtraction, which is done here per window, as the front end would. How much of
them is speech cannot be told from frames: all of it counts, so nothing is refused but what is too
short. Crops are as in `groove.crops`, counted in frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from groove.crops import crop_starts
from groove.embedder import Embedder
from groove.embedding_cache import Embedded
from groove.errors import GrooveError, ModelError
from groove.fbank import FbankConfig
from groove.training.stored import read_features


@runtime_checkable
class FrameEncoder(Protocol):
    """An encoder that takes frames as well."""

    def encode_frames(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Frames [B, T, M] -> embeddings [B, D]."""


class StoredEmbedder:
    """Embeds files of stored features by the settings of an `Embedder`.

    >>> StoredEmbedder(Embedder(encoder))(Path("fbank_pt/a.pt")).embedding    # [D], length 1
    """

    def __init__(self, embedder: Embedder) -> None:
        """Take an embedder's model and cutting.

        Raises:
            ModelError: the model cannot take frames.
        """
        encoder = embedder.encoder
        if not isinstance(encoder, FrameEncoder):
            raise ModelError(
                f"{encoder.card.name}: cannot take stored features; evaluate on the recordings"
            )
        self._encoder = encoder
        self._embedder = embedder

    def __call__(self, path: Path) -> Embedded:
        """The embedding of one file, or the reason why there is none."""
        card = self._embedder.encoder.card
        try:
            frames = read_features(path, card.fbank).numpy()  # [T, M]
            seconds = len(frames) * card.fbank.frame_shift_ms / 1000
            if seconds < card.min_speech_s:
                reason = f"{seconds:.1f} s are too little, wanted at least {card.min_speech_s:g} s"
                return Embedded(None, 0.0, seconds, seconds, reason)
            total, weight = np.zeros(card.embedding_size), 0.0
            for crops, share in self._crops(frames):
                found = self._encoder.encode_frames(_centred(crops, card.fbank)).astype(np.float64)
                total += share * (found / np.linalg.norm(found, axis=1, keepdims=True)).sum(axis=0)
                weight += share * len(found)
        except GrooveError as error:
            return Embedded(None, 0.0, 0.0, 0.0, str(error))
        length = float(np.linalg.norm(total))
        return Embedded((total / length).astype(np.float32), length / weight, seconds, seconds)

    def _crops(self, frames: NDArray[np.float32]) -> list[tuple[NDArray[np.float32], float]]:
        """Batches [B, T, M] of equally long crops, or windows with their lengths as weights."""
        shift_s = self._embedder.encoder.card.fbank.frame_shift_ms / 1000
        if self._embedder.num_crops:
            n = min(len(frames), round(self._embedder.crop_s / shift_s))
            starts = crop_starts(len(frames), n, self._embedder.num_crops)
            return [(np.stack([frames[start : start + n] for start in starts]), 1.0)]
        n = max(1, round(self._embedder.encoder.card.window_s / shift_s))
        windows = [frames[start : start + n] for start in range(0, len(frames), n)]
        return [(window[None], float(len(window))) for window in windows]


def _centred(crops: NDArray[np.float32], config: FbankConfig) -> NDArray[np.float32]:
    return crops - crops.mean(axis=1, keepdims=True) if config.subtract_mean else crops
