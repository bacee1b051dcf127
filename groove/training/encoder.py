"""Encoders in torch: what is trained and exported, and what the rest of Groove can call.

`EncoderModule` is front end and backbone as one module; gradients pass through it. `TorchEncoder`
wraps it in the protocol of `groove.encoder.Encoder`, so that `Embedder`, `Verifier` and evaluation
take a network that was never exported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groove.card import ModelCard
from groove.encoder import checked_batch
from groove.errors import ModelError
from groove.fbank import FbankConfig
from groove.training.frontend import FbankFrontEnd


class EncoderModule(nn.Module):
    """Waveform [B, S] -> embedding [B, D], not length-normalised.

    The state dict is the backbone's under ``backbone.``; the front end is rebuilt from its
    settings.
    """

    def __init__(self, fbank: FbankConfig, backbone: nn.Module) -> None:
        """Put a front end before a backbone that takes frames [B, T, M]."""
        super().__init__()
        self.front_end = FbankFrontEnd(fbank)
        self.backbone = backbone

    def forward(self, waveform: Tensor) -> Tensor:
        """Embed equally long waveforms [B, S], S >= ``fbank.min_samples``; returns [B, D]."""
        frames = self.front_end(waveform)  # [B, T, M] float32
        embedding: Tensor = self.backbone(frames.to(next(self.backbone.parameters()).dtype))
        return embedding


class TorchEncoder:
    """An `EncoderModule` as the rest of Groove knows encoders: numpy in, numpy out, with a card."""

    def __init__(
        self,
        module: EncoderModule,
        card: ModelCard,
        *,
        training_speakers: Iterable[str] = (),
        validated_on: str = "",
    ) -> None:
        """Take a module, which is put into evaluation mode, and its card.

        Args:
            module: front end and backbone.
            card: of the module's front end.
            training_speakers: who it was trained on, where a checkpoint says so.
            validated_on: the list by which the training chose its best epoch, likewise.

        Raises:
            ModelError: the card's front end is not the module's.
        """
        if module.front_end.config != card.fbank:
            raise ModelError(
                f"{card.name}: the card's front end ({card.fbank.hash}) is not the module's "
                f"({module.front_end.config.hash}); build both from the same FbankConfig"
            )
        self.module = module.eval()
        self.card = card
        self.training_speakers = frozenset(training_speakers)
        self.validated_on = validated_on

    @property
    def model_hash(self) -> str:
        """SHA-256 of the weights, by name, in the state dict's order."""
        digest = hashlib.sha256()
        for name, tensor in self.module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def __call__(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode equally long waveforms.

        Args:
            waveforms: [B, S] float32, in [-1, 1] at the card's sample rate.

        Returns:
            [B, D] float32, not length-normalised.

        Raises:
            EmptyAudio: fewer samples than one frame.
        """
        return self._run(self.module, checked_batch(waveforms, self.card))

    def encode_frames(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Frames [B, T, M] as the card's front end gives them -> [B, D]: the backbone alone."""
        return self._run(self.module.backbone, frames)

    def _run(self, module: nn.Module, values: NDArray[np.float32]) -> NDArray[np.float32]:
        parameter = next(self.module.parameters())
        value = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        with torch.inference_mode():
            # the front end computes in float32 whatever the backbone has
            value = value.to(parameter.device)
            if module is not self.module:
                value = value.to(parameter.dtype)
            embeddings: NDArray[np.float32] = module(value).float().cpu().numpy()
        return embeddings
