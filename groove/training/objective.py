"""What is minimised: frames and labels -> one number, by encoder, head and teacher's target.

The sum over a batch does not depend on how it is dealt out: a batch may go through in parts, one
after the other or on several processes, and the gradients add up to those of the whole (but for
batch normalisation, which sees one part at a time, and the similarity loss, whose pairs lie within
a part).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from groove.training.distill import (
    cosine_distance,
    neighbour_divergence,
    similarity_difference,
    squared_difference,
)
from groove.training.encoder import EncoderModule
from groove.training.heads import AamSoftmax

PARTS = ("loss", "aam", "cosine", "mse", "similarity", "neighbours", "correct")


@dataclass(frozen=True)
class Weights:
    """Of the losses in the sum; 0 leaves one out."""

    aam: float = 1.0
    cosine: float = 0.0
    mse: float = 0.0
    similarity: float = 0.0
    neighbours: float = 0.0


class Objective(nn.Module):
    """Backbone, head and projection as one module, so that one backward serves them all."""

    def __init__(
        self,
        encoder: EncoderModule,
        head: AamSoftmax | None,
        *,
        weights: Weights,
        target_size: int = 0,
        bank: Tensor | None = None,
        temperature: float = 0.05,
    ) -> None:
        """Put them together.

        Args:
            encoder: what is trained.
            head: the classifier; None where no speaker is known, or none is asked about.
            weights: of the losses.
            target_size: the teacher's D; 0 without a teacher.
            bank: [N, D'] of the teacher's embeddings, among which `neighbours` looks; on the device
                where forward computes.
            temperature: of `neighbours`.
        """
        super().__init__()
        self.backbone = encoder.backbone
        self.head = head
        self.weights = weights
        size = int(encoder.backbone.embedding_size)  # type: ignore[arg-type]
        by_coordinate = target_size and weights.cosine + weights.mse + weights.neighbours > 0
        self.projection = (
            nn.Linear(size, target_size, bias=False)
            if by_coordinate and target_size != size
            else None
        )
        self.temperature = temperature
        # No buffer: it is the teacher's, the same in every process, and processes send each other
        # their buffers.
        self.bank = bank

    def forward(
        self,
        frames: Tensor,
        speaker_index: Tensor,
        target: Tensor | None,
        margin_rad: float,
        n_rows: float,
        n_labelled: float,
    ) -> Tensor:
        """One part of a batch.

        Args:
            frames: [B, T, M].
            speaker_index: [B] int64; -1 where the speaker is not known: no AAM loss.
            target: the teacher's embeddings [B, D'] of length 1, or None. A row that is not finite
                (of a whole utterance that the teacher could not hear) takes no part.
            margin_rad: of this step.
            n_rows: rows of the whole batch in this process: what the sums are divided by.
            n_labelled: likewise, those with a speaker; the mean over processes.

        Returns:
            `PARTS`, a vector; the first is what backward starts from, the others are detached.
        """
        embedding = self.backbone(frames)
        zero = embedding.new_zeros((), dtype=torch.float32)
        parts = dict.fromkeys(PARTS, zero)
        if self.head is not None:
            known = speaker_index >= 0
            found = self.head(embedding, speaker_index.clamp(min=0), margin_rad)
            parts["aam"] = (found.loss * known).sum() / max(1.0, n_labelled)
            parts["correct"] = (found.correct & known).sum() / max(1.0, n_labelled)
        if target is not None:
            heard = target.isfinite().all(dim=1)
            sound = target.nan_to_num(0.0)
            near = embedding if self.projection is None else self.projection(embedding)
            if self.weights.cosine:
                parts["cosine"] = (cosine_distance(near, sound) * heard).sum() / n_rows
            if self.weights.mse:
                parts["mse"] = (squared_difference(near, sound) * heard).sum() / n_rows
            if self.weights.similarity:
                pairs = similarity_difference(embedding[heard], sound[heard])
                parts["similarity"] = pairs * (len(frames) / n_rows)
            if self.weights.neighbours:
                assert self.bank is not None
                apart = neighbour_divergence(near, sound, self.bank, self.temperature)
                parts["neighbours"] = (apart * heard).sum() / n_rows
        weights = self.weights
        loss = weights.aam * parts["aam"] if self.head is not None else zero
        if target is not None:
            loss = loss + weights.cosine * parts["cosine"] + weights.mse * parts["mse"]
            loss = loss + weights.similarity * parts["similarity"]
            loss = loss + weights.neighbours * parts["neighbours"]
        shown = [parts[name].detach().float() for name in PARTS[1:]]
        return torch.stack([loss.float(), *shown])
