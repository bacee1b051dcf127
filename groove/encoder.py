"""Encoders: waveform [B, S] -> embedding [B, D], and the model file that holds one.

The seam is `Encoder`: one call and a card. All rows of a call are equally long; there are no
lengths and nothing is zero-padded, so a row's embedding does not depend on its batch mates.
`OnnxEncoder` opens a model file; training has a `TorchEncoder` of the same protocol; a test's fake
is ten lines.
"""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from groove.card import METADATA_KEY, ModelCard
from groove.errors import CardError, EmptyAudio, ModelError, UnknownModel
from groove.fbank import log_mel
from groove.runtime import open_session


class Encoder(Protocol):
    """What the rest of Groove needs of a model."""

    @property
    def card(self) -> ModelCard:
        """What the model is and how its scores were measured."""

    @property
    def model_hash(self) -> str:
        """SHA-256 of the weights' file: embeddings of different hashes are not comparable."""

    def __call__(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Waveforms [B, S] at the card's sample rate, in [-1, 1] -> embeddings [B, D]."""


class OnnxEncoder:
    """A model file on onnxruntime.

    >>> encoder = OnnxEncoder("model.onnx", threads=1)
    >>> encoder(waveforms).shape                       # [B, S] -> (B, 192)
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None) -> None:
        """Open a model file.

        Args:
            path: an ONNX file with a model card.
            threads: threads of one call; None lets onnxruntime take the machine's cores. The same
                number gives the same bits.

        Raises:
            UnknownModel: no such file.
            ModelError: not an ONNX file that onnxruntime can run.
            CardError: no card, or one that this version cannot read.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise UnknownModel(f"{self.path}: no such model file; see  groove models list")
        self._session = open_session(self.path, threads=threads)
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise CardError(
                f"{self.path}: an ONNX file without a Groove model card; its front end cannot be "
                "guessed. Import the original checkpoint:  groove import FILE --kind KIND"
            )
        try:
            self._card = ModelCard.from_json(text)
        except CardError as error:
            raise CardError(f"{self.path}: {error}") from None
        self._check_shapes()

    @property
    def card(self) -> ModelCard:
        """The card inside the file."""
        return self._card

    @cached_property
    def model_hash(self) -> str:
        """SHA-256 of the file."""
        return file_hash(self.path)

    def __call__(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode equally long waveforms.

        Args:
            waveforms: [B, S] float32.

        Returns:
            [B, D] float32, not length-normalised.

        Raises:
            EmptyAudio: fewer samples than one frame.
            ModelError: the graph failed, or gave values that are not finite.
        """
        return self._run(model_input(waveforms, self.card))

    def encode_frames(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Frames [B, T, M] as the card's front end gives them -> [B, D].

        Raises:
            ModelError: the file takes waveforms; or see `__call__`.
        """
        if self.card.input != "fbank":
            raise ModelError(
                f"{self.path}: takes waveforms, not frames; use the recordings, or the checkpoint"
            )
        return self._run(np.ascontiguousarray(frames, dtype=np.float32))

    def _run(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (embeddings,) = self._session.run(None, {self.card.input: value})
        except Exception as error:  # onnxruntime's errors share no base class
            raise ModelError(f"{self.path}: the model failed on {value.shape}: {error}") from error
        if not np.isfinite(embeddings).all():
            raise ModelError(f"{self.path}: the model gave values that are not finite")
        return np.asarray(embeddings, dtype=np.float32)

    def _check_shapes(self) -> None:
        inputs = [(node.name, len(node.shape)) for node in self._session.get_inputs()]
        wanted = [(self.card.input, 2 if self.card.input == "waveform" else 3)]
        sizes = [node.shape[-1] for node in self._session.get_outputs()]
        if inputs != wanted or sizes != [self.card.embedding_size]:
            raise CardError(
                f"{self.path}: the graph has inputs {inputs} and output sizes {sizes}, its card "
                f"says {wanted} and [{self.card.embedding_size}]; export the model again"
            )


def checked_batch(waveforms: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    """Waveforms [B, S] as every encoder takes them: float32, contiguous, one frame at least.

    Raises:
        EmptyAudio: fewer samples than one frame.
    """
    if waveforms.ndim != 2:
        raise ValueError(f"waveforms have shape {waveforms.shape}; wanted [B, S]")
    if waveforms.shape[1] < card.fbank.min_samples:
        raise EmptyAudio(
            f"{waveforms.shape[1]} samples are less than one frame of "
            f"{card.fbank.frame_length_ms:g} ms; use a longer recording"
        )
    return np.ascontiguousarray(waveforms, dtype=np.float32)


def model_input(waveforms: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    """What a model file takes, of waveforms [B, S]: these, or frames [B, T, M] if its card says so.

    Raises:
        EmptyAudio: fewer samples than one frame.
    """
    batch = checked_batch(waveforms, card)
    if card.input == "fbank":
        return np.stack([log_mel(row, card.fbank) for row in batch])  # [B, T, M]
    return batch


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
