"""Losses that pull a student's embeddings towards a teacher's.

With s and t the embeddings of student and teacher, t of length 1:

    cosine       1 - cos(s, t)
    mse          mean over D of (s - sqrt(D) t)^2: length and direction; an embedding whose values
                 are about 1 is what the target asks for
    similarity   mean over pairs of the batch of (cos(s_i, s_j) - cos(t_i, t_j))^2: who is like
                 whom, whatever the coordinates (Tung & Mori 2019, similarity-preserving; Park et
                 al. 2019, relational distillation)
    neighbours   KL(p || q), p and q the softmax over a bank of the teacher's embeddings b_n of
                 cos(t, b_n) / T and cos(s, b_n) / T: who is near, of all that the teacher has
                 heard; the nearest count most (Fang et al. 2021, SEED, there with a queue as bank)

`cosine`, `mse` and `neighbours` compare coordinates: where the sizes differ a linear map, which
training throws away afterwards, takes s to t's size first. `similarity` needs no map. All compute
in float32.

A teacher is any `groove.encoder.Encoder`. One in torch computes on the training device, any other
(a model file on onnxruntime) by numpy.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from groove.encoder import Encoder
from groove.training.encoder import TorchEncoder


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of each row of [B, D], 0 to 2; returns [B]."""
    return 1 - F.cosine_similarity(student.float(), teacher.float(), dim=1)


def squared_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over D of (s - sqrt(D) t)^2 for each row of [B, D], ``teacher`` of length 1; [B]."""
    target = teacher.float() * teacher.shape[1] ** 0.5
    difference: Tensor = student.float() - target
    return difference.square().mean(dim=1)


def similarity_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the two cosine matrices off their diagonals; a scalar.

    Args:
        student: [B, D].
        teacher: [B, D'], of any size. A batch of one has no pair: 0.
    """
    with torch.autocast(student.device.type, enabled=False):
        ours, theirs = F.normalize(student.float()), F.normalize(teacher.float())
        difference = (ours @ ours.T - theirs @ theirs.T).square()
        n = len(difference)
        off = difference.sum() - difference.diagonal().sum()
        mean: Tensor = off / max(1, n * (n - 1))
        return mean


def neighbour_divergence(
    student: Tensor, teacher: Tensor, bank: Tensor, temperature: float
) -> Tensor:
    """KL divergence of the student's neighbours from the teacher's, for each row; returns [B].

    Args:
        student: [B, D].
        teacher: [B, D].
        bank: [N, D] of length 1: among whom neighbours are looked for.
        temperature: of both softmaxes; the smaller, the fewer neighbours count.
    """
    with torch.autocast(student.device.type, enabled=False):
        ours = F.normalize(student.float()) @ bank.T / temperature
        theirs = F.normalize(teacher.float()) @ bank.T / temperature
        pointwise = F.kl_div(
            F.log_softmax(ours, dim=1),
            F.log_softmax(theirs, dim=1),
            reduction="none",
            log_target=True,
        )
        divergence: Tensor = pointwise.sum(dim=1)
        return divergence


class Teacher:
    """An encoder as the loop asks it: tensors in, unit-length targets out, no gradient."""

    def __init__(self, encoder: Encoder, device: torch.device) -> None:
        """Take an open encoder; one in torch is moved to ``device`` and computes in float32."""
        self.encoder, self.device = encoder, device
        self.embedding_size = encoder.card.embedding_size
        if isinstance(encoder, TorchEncoder):
            encoder.module.to(device, torch.float32).requires_grad_(False)

    @torch.no_grad()
    def __call__(self, waveform: Tensor) -> Tensor:
        """Equally long waveforms [B, S] -> [B, D] float32 of length 1, on the same device.

        A row is not finite where the encoder's is not.
        """
        if isinstance(self.encoder, TorchEncoder):
            # Autocast is the student's: a network that was trained in float32 may overflow fp16.
            with torch.autocast(self.device.type, enabled=False):
                embedding = self.encoder.module(waveform.to(self.device)).float()
        else:
            found = self.encoder(waveform.detach().cpu().numpy().astype(np.float32, copy=False))
            embedding = torch.from_numpy(np.asarray(found, dtype=np.float32)).to(waveform.device)
        return F.normalize(embedding)
