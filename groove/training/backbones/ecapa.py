"""ECAPA-TDNN: frames [B, T, M] -> embedding [B, D].

Desplanques, Thienpondt and Demuynck 2020, "ECAPA-TDNN: Emphasized Channel Attention, Propagation
and Aggregation in TDNN Based Speaker Verification" (arXiv 2005.07143), figure 2, in the form that
WeSpeaker trains as ECAPA_TDNN_GLOB: each block reads the block before it (the paper also tries the
sum of all before), and no normalisation follows the embedding.

    frames -> conv 5 -> block d=2 -> block d=3 -> block d=4 -> conv 1 -> pooling -> linear
                          |            |            |           ^
                          +------------+------------+-----------+  concatenated

Order inside every unit: convolution, ReLU, batch normalisation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groove.training.backbones.pooling import AttentiveStatisticsPooling

AGGREGATED_CHANNELS = 1536
BLOCK_DILATIONS = (2, 3, 4)
RES2_SCALE = 8  # groups of channels


class ConvReluNorm(nn.Module):
    """Convolution over time that keeps T, ReLU, batch normalisation."""

    def __init__(self, inputs: int, outputs: int, width: int = 1, dilation: int = 1) -> None:
        """Kernel ``width`` frames (odd), ``dilation`` frames apart."""
        super().__init__()
        padding = (width - 1) // 2 * dilation
        self.conv = nn.Conv1d(inputs, outputs, width, dilation=dilation, padding=padding)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, inputs, T] -> [B, outputs, T]."""
        normed: Tensor = self.norm(F.relu(self.conv(frames)))
        return normed


class Res2(nn.Module):
    """Channels in ``scale`` groups; each group also sees the result of the group before it.

    Gao et al. 2019 (Res2Net), with the untouched group last, as WeSpeaker orders them:
    y1 = K1(x1), yi = Ki(xi + y(i-1)), and the last is y = x.
    """

    def __init__(
        self, channels: int, dilation: int, scale: int = RES2_SCALE, width: int = 3
    ) -> None:
        """``channels`` must divide by ``scale``."""
        super().__init__()
        if channels % scale:
            raise ValueError(f"{channels} channels do not divide into {scale} groups")
        self.group = channels // scale
        self.units = nn.ModuleList(
            ConvReluNorm(self.group, self.group, width, dilation) for _ in range(scale - 1)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        groups = frames.tensor_split(len(self.units) + 1, dim=1)
        done = [self.units[0](groups[0])]
        for unit, group in zip(self.units[1:], groups[1:-1], strict=True):
            done.append(unit(done[-1] + group))
        return torch.cat([*done, groups[-1]], dim=1)


class SqueezeExcitation(nn.Module):
    """Scale each channel by what the whole utterance says (Hu et al. 2018; paper, section 3.2)."""

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        """Two linear maps around a bottleneck."""
        super().__init__()
        self.squeeze = nn.Linear(channels, bottleneck)
        self.excite = nn.Linear(bottleneck, channels)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        hidden = F.relu(self.squeeze(frames.mean(dim=2)))
        return frames * torch.sigmoid(self.excite(hidden)).unsqueeze(2)


class SERes2Block(nn.Module):
    """1x1 unit, dilated Res2, 1x1 unit, squeeze and excitation, residual."""

    def __init__(self, channels: int, dilation: int) -> None:
        """All parts keep ``channels``."""
        super().__init__()
        self.enter = ConvReluNorm(channels, channels)
        self.res2 = Res2(channels, dilation)
        self.leave = ConvReluNorm(channels, channels)
        self.gate = SqueezeExcitation(channels)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        gated: Tensor = self.gate(self.leave(self.res2(self.enter(frames))))
        return frames + gated


class EcapaTdnn(nn.Module):
    """ECAPA-TDNN with global context in the pooling.

    >>> EcapaTdnn(channels=512, embedding_size=192)(frames).shape     # [B, T, 80] -> [B, 192]
    """

    def __init__(self, n_mels: int = 80, channels: int = 512, embedding_size: int = 192) -> None:
        """M = ``n_mels``, C = ``channels`` (512 or 1024 in the paper), D = ``embedding_size``."""
        super().__init__()
        self.embedding_size = embedding_size
        self.stem = ConvReluNorm(n_mels, channels, width=5)
        self.blocks = nn.ModuleList(SERes2Block(channels, d) for d in BLOCK_DILATIONS)
        self.aggregate = nn.Conv1d(len(BLOCK_DILATIONS) * channels, AGGREGATED_CHANNELS, 1)
        self.pooling = AttentiveStatisticsPooling(AGGREGATED_CHANNELS)
        self.norm = nn.BatchNorm1d(2 * AGGREGATED_CHANNELS)
        self.linear = nn.Linear(2 * AGGREGATED_CHANNELS, embedding_size)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed equally long utterances.

        Args:
            frames: [B, T, M], T >= 1.

        Returns:
            [B, D], not length-normalised.
        """
        hidden = self.stem(frames.transpose(1, 2))  # [B, C, T]
        levels = []
        for block in self.blocks:
            hidden = block(hidden)
            levels.append(hidden)
        aggregated = F.relu(self.aggregate(torch.cat(levels, dim=1)))  # [B, 1536, T]
        embedding: Tensor = self.linear(self.norm(self.pooling(aggregated)))
        return embedding
