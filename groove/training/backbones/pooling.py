"""Pooling over time: frames [B, C, T] -> one vector [B, 2C].

Statistics are computed in float32 whatever autocast says: their epsilon of 1e-7 and the squares of
large activations are outside float16. Variances over frames divide by T - 1, by 1 where T is 1, so
that a single frame has deviation zero (almost: the epsilon) instead of NaN.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-7  # below a variance's root; sqrt has no finite slope at zero


def mean_and_deviation(frames: Tensor) -> Tensor:
    """Mean and standard deviation over time, one after the other.

    Args:
        frames: [B, C, T].

    Returns:
        [B, 2C] float32; the deviation is sqrt(variance + 1e-7), unbiased.
    """
    frames = frames.float()
    mean = frames.mean(dim=2, keepdim=True)  # [B, C, 1]
    # Counted on a row and not read from `shape`, because tracing would freeze a Python number.
    n_frames = torch.ones_like(frames[:1, :1]).sum(dim=2)  # [1, 1]
    squares = (frames - mean).square().sum(dim=2)  # [B, C]
    deviation = (squares / (n_frames - 1).clamp(min=1) + EPSILON).sqrt()
    return torch.cat([mean.squeeze(2), deviation], dim=1)


class StatisticsPooling(nn.Module):
    """Mean and deviation, every frame with equal weight (Snyder et al. 2018, x-vectors)."""

    def forward(self, frames: Tensor) -> Tensor:
        """Frames [B, C, T] -> [B, 2C]."""
        return mean_and_deviation(frames)


class AttentiveStatisticsPooling(nn.Module):
    """Weighted mean and deviation, weights per channel and frame, seeing the whole utterance.

    Desplanques et al. 2020 (arXiv 2005.07143), section 3.1: e = V tanh(W [h; mean; deviation] + b)
    + k, weights = softmax over time. The columns of W that act on the utterance's mean and
    deviation give the same for every frame, so they are applied once per utterance: the same
    weights and the same result as concatenating, without 2/3 of the first product.
    """

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        """Make the two linear maps W, b and V, k; C = ``channels``."""
        super().__init__()
        self.channels = channels
        self.attend = nn.Conv1d(3 * channels, bottleneck, 1)
        self.score = nn.Conv1d(bottleneck, channels, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames [B, C, T] -> [B, 2C], in the dtype of the weights."""
        of_frame = self.attend.weight[:, : self.channels]
        of_utterance = self.attend.weight[:, self.channels :]
        context = mean_and_deviation(frames).to(self.attend.weight.dtype)  # [B, 2C]
        shared = F.linear(context, of_utterance.squeeze(2), self.attend.bias)  # [B, bottleneck]
        hidden = torch.tanh(F.conv1d(frames, of_frame) + shared.unsqueeze(2))
        weights = torch.softmax(self.score(hidden).float(), dim=2)  # [B, C, T]
        weighted = weights * frames.float()
        mean = weighted.sum(dim=2)  # [B, C]
        variance = (weighted * frames.float()).sum(dim=2) - mean.square()
        deviation = variance.clamp(min=EPSILON).sqrt()
        return torch.cat([mean, deviation], dim=1).to(self.attend.weight.dtype)
