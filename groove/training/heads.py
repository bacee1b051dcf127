"""The head: a classifier with an additive angular margin, used in training only.

Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition" (arXiv
1801.07698), equation 3. With theta the angle between embedding and the centre of its own class,

    logit = scale cos(theta + margin_rad)  for the own class,  scale cos(theta)  for all others

and the loss is cross-entropy over the logits. The margin is in radians. Beyond theta = pi - margin
the cosine would rise again, so that the worst embeddings were pushed the wrong way; there another
line is followed (``beyond``), or the margin is applied within 90 degrees only:

    continuous   cos(theta) - (1 - cos(margin))    meets the curve at pi - margin (WeSpeaker)
    arcface      cos(theta) - margin sin(margin)   the paper's released code; jumps there
    easy         cos(theta + margin) where cos(theta) > 0, else cos(theta)

Sub-centers (Deng et al. 2020, ECCV, "Sub-center ArcFace"): a class has several centres and the
nearest counts, so that mislabelled recordings gather around a centre of their own.

Everything is computed in float32 at least, whatever autocast or `half()` say: float16 has three
digits near cos = 1, where the angle matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BEYOND = ("continuous", "arcface", "easy")


@dataclass(frozen=True)
class Classified:
    """What the head says of a batch."""

    loss: Tensor  # [B], cross-entropy of each row, with the margin
    logits: Tensor  # [B, K], with the margin
    correct: Tensor  # [B] bool: the own class has the highest cosine, without the margin


class AamSoftmax(nn.Module):
    """Cosine classifier with an additive angular margin.

    >>> head = AamSoftmax(192, 2793, scale=32.0)
    >>> head(embedding, speaker_index, margin_rad=0.2).loss.mean()
    """

    def __init__(
        self,
        embedding_size: int,
        n_classes: int,
        *,
        scale: float = 32.0,
        sub_centers: int = 1,
        beyond: str = "continuous",
    ) -> None:
        """D = ``embedding_size``, K = ``n_classes``; the margin comes with every call."""
        super().__init__()
        if beyond not in BEYOND:
            raise ValueError(f"beyond {beyond!r}; wanted one of {BEYOND}")
        if n_classes < 1 or sub_centers < 1 or scale <= 0:
            raise ValueError(f"{n_classes} classes, {sub_centers} centres, scale {scale:g}")
        self.n_classes, self.sub_centers = n_classes, sub_centers
        self.scale, self.beyond = scale, beyond
        self.weight = nn.Parameter(torch.empty(n_classes * sub_centers, embedding_size))
        nn.init.xavier_uniform_(self.weight)

    def forward(
        self, embedding: Tensor, speaker_index: Tensor, margin_rad: float = 0.0
    ) -> Classified:
        """Classify a batch.

        Args:
            embedding: [B, D], of any length.
            speaker_index: [B] int64, 0 to K - 1.
            margin_rad: 0 to pi / 2; 0 is a plain cosine classifier.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            cosine = self.cosine(embedding)  # [B, K]
            own = speaker_index[:, None]
            own_cosine = cosine.gather(1, own)  # [B, 1]
            raised = add_margin(own_cosine, margin_rad, self.beyond)
            logits = self.scale * cosine.scatter(1, own, raised)
            loss = F.cross_entropy(logits, speaker_index, reduction="none")
            correct = cosine.detach().argmax(dim=1) == speaker_index
        return Classified(loss, logits, correct)

    def cosine(self, embedding: Tensor) -> Tensor:
        """Cosines [B, K] of embeddings [B, D] and each class's nearest centre."""
        dtype = torch.promote_types(embedding.dtype, torch.float32)
        centres = F.normalize(self.weight.to(dtype))
        cosine = F.linear(F.normalize(embedding.to(dtype)), centres)  # [B, K * sub_centers]
        return cosine.view(len(cosine), self.n_classes, self.sub_centers).amax(dim=2)


def add_margin(cosine: Tensor, margin_rad: float, beyond: str = "continuous") -> Tensor:
    """cos(theta) -> cos(theta + margin), and the line that ``beyond`` names behind pi - margin.

    The slope is finite everywhere: where 1 - cos^2 is below rounding the sine is held constant.
    """
    least = torch.finfo(cosine.dtype).eps  # 1 - cos^2 is not known better than that
    sine = (1 - cosine.square()).clamp(min=least).sqrt()
    raised = cosine * math.cos(margin_rad) - sine * math.sin(margin_rad)
    if beyond == "easy":
        return torch.where(cosine > 0, raised, cosine)
    drop = 1 - math.cos(margin_rad)
    if beyond == "arcface":
        drop = margin_rad * math.sin(margin_rad)
    return torch.where(cosine > -math.cos(margin_rad), raised, cosine - drop)
