"""CAM++: frames [B, T, M] -> embedding [B, D].

Wang, Zheng, Chen, Cheng and Chen 2023, "CAM++: A Fast and Efficient Network for Speaker
Verification Using Context-Aware Masking" (arXiv 2303.00332), with the sizes of 3D-Speaker's public
checkpoints. Attribute names are the names inside those checkpoints, so a state dict fits as it is.

    frames -> head (2-D, frequency / 8) -> TDNN, time / 2 -> 12, 24, 16 dense layers -> statistics
           -> dense -> normalisation without weights

The mask of a dense layer (paper, equations 3 to 6) depends on a frame only through the segment of
100 frames that the frame lies in. So the two products that make the mask run once per segment, and
the finished mask is spread over the frames: the same result with fewer operations.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groove.training.backbones.pooling import StatisticsPooling

SEGMENT_FRAMES = 100  # after the halving of time: 2 s
GROWTH = 32
BOTTLENECK = 4 * GROWTH
TDNN_CHANNELS = 128
HEAD_CHANNELS = 32
BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers, dilation


class Segments(NamedTuple):
    """How T frames lie in N segments of 100, the last one shorter, as two matrices.

    Matrices because both uses are then one product, whose gradient is deterministic on a GPU
    (that of indexing is not), and one node of an exported graph instead of four.
    """

    averages: Tensor  # [T, N]: frames @ averages = mean of the segment + mean of all frames
    members: Tensor  # [N, T]: per segment @ members = per frame


def cut_into_segments(frames: Tensor) -> Segments:
    """The segments of frames [B, C, T], in their dtype."""
    position = torch.arange(frames.shape[2], device=frames.device)
    starts = position[::SEGMENT_FRAMES]
    inside = (position >= starts[:, None]) & (position < starts[:, None] + SEGMENT_FRAMES)
    members = inside.float()  # [N, T]
    averages = (members / members.sum(dim=1, keepdim=True)).T + 1 / members.sum()
    return Segments(averages.to(frames.dtype), members.to(frames.dtype))


class _Norm(nn.Module):
    """Batch normalisation under the name that the checkpoints use, with ReLU or without."""

    def __init__(self, channels: int, *, relu: bool = True, affine: bool = True) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(channels, affine=affine)
        self.relu = relu

    def forward(self, frames: Tensor) -> Tensor:
        normed: Tensor = self.batchnorm(frames)
        return F.relu(normed) if self.relu else normed


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions with a shortcut; ``stride`` acts on frequency alone."""

    def __init__(self, channels: int, stride: int) -> None:
        """The shortcut is a 1x1 convolution where the unit strides."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            narrow = nn.Conv2d(channels, channels, 1, (stride, 1), bias=False)
            self.shortcut = nn.Sequential(narrow, nn.BatchNorm2d(channels))

    def forward(self, image: Tensor) -> Tensor:
        """[B, C, M, T] -> [B, C, M / stride, T]."""
        hidden = F.relu(self.bn1(self.conv1(image)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.shortcut(image))


class Head(nn.Module):
    """Front convolution module (paper, section 2.3): local patterns in time and frequency."""

    def __init__(self, n_mels: int) -> None:
        """Frequency is divided by 8."""
        super().__init__()
        channels = HEAD_CHANNELS
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(ResidualUnit(channels, 2), ResidualUnit(channels, 1))
        self.layer2 = nn.Sequential(ResidualUnit(channels, 2), ResidualUnit(channels, 1))
        self.conv2 = nn.Conv2d(channels, channels, 3, (2, 1), 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.out_channels = channels * (n_mels // 8)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, T, M] -> [B, C M / 8, T]."""
        image = F.relu(self.bn1(self.conv1(frames.transpose(1, 2).unsqueeze(1))))  # [B, C, M, T]
        image = F.relu(self.bn2(self.conv2(self.layer2(self.layer1(image)))))
        return image.flatten(1, 2)


class MaskedLayer(nn.Module):
    """Context-aware masking (paper, section 2.2): a dilated convolution times its mask."""

    def __init__(self, dilation: int) -> None:
        """From ``BOTTLENECK`` to ``GROWTH`` channels."""
        super().__init__()
        self.linear_local = nn.Conv1d(
            BOTTLENECK, GROWTH, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(BOTTLENECK, BOTTLENECK // 2, 1)
        self.linear2 = nn.Conv1d(BOTTLENECK // 2, GROWTH, 1)

    def forward(self, frames: Tensor, segments: Segments) -> Tensor:
        """[B, BOTTLENECK, T] -> [B, GROWTH, T]."""
        context = frames @ segments.averages  # [B, BOTTLENECK, N]
        mask = torch.sigmoid(self.linear2(F.relu(self.linear1(context))))  # [B, GROWTH, N]
        local: Tensor = self.linear_local(frames)
        return local * (mask @ segments.members)


class DenseLayer(nn.Module):
    """Normalise, squeeze to the bottleneck, normalise, masked convolution."""

    def __init__(self, channels: int, dilation: int) -> None:
        """From ``channels`` to ``GROWTH``."""
        super().__init__()
        self.nonlinear1 = _Norm(channels)
        self.linear1 = nn.Conv1d(channels, BOTTLENECK, 1, bias=False)
        self.nonlinear2 = _Norm(BOTTLENECK)
        self.cam_layer = MaskedLayer(dilation)

    def forward(self, frames: Tensor, segments: Segments) -> Tensor:
        """[B, C, T] -> [B, GROWTH, T]."""
        squeezed = self.nonlinear2(self.linear1(self.nonlinear1(frames)))
        grown: Tensor = self.cam_layer(squeezed, segments)
        return grown


class DenseBlock(nn.Module):
    """Each layer reads all that came before it (paper, equation 1); layers are tdnnd1, ..."""

    def __init__(self, n_layers: int, channels: int, dilation: int) -> None:
        """C grows by ``GROWTH`` with every layer."""
        super().__init__()
        for i in range(n_layers):
            self.add_module(f"tdnnd{i + 1}", DenseLayer(channels + i * GROWTH, dilation))

    def forward(self, frames: Tensor, segments: Segments) -> Tensor:
        """[B, C, T] -> [B, C + n GROWTH, T]."""
        for layer in self.children():
            frames = torch.cat([frames, layer(frames, segments)], dim=1)
        return frames


class _NormConv(nn.Module):
    """Transition between blocks: normalise, ReLU, halve the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.nonlinear = _Norm(inputs)
        self.linear = nn.Conv1d(inputs, outputs, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        out: Tensor = self.linear(self.nonlinear(frames))
        return out


class _ConvNorm(nn.Module):
    def __init__(self, conv: nn.Conv1d, norm: _Norm) -> None:
        super().__init__()
        self.linear = conv
        self.nonlinear = norm

    def forward(self, frames: Tensor) -> Tensor:
        out: Tensor = self.nonlinear(self.linear(frames))
        return out


class CamPlusPlus(nn.Module):
    """CAM++ of 3D-Speaker.

    >>> CamPlusPlus(embedding_size=192)(frames).shape                 # [B, T, 80] -> [B, 192]
    """

    def __init__(self, n_mels: int = 80, embedding_size: int = 192) -> None:
        """M = ``n_mels`` (a multiple of 8), D = ``embedding_size``."""
        super().__init__()
        if n_mels % 8:
            raise ValueError(f"{n_mels} mel bins; the head wants a multiple of 8")
        self.embedding_size = embedding_size
        self.head = Head(n_mels)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        enter = nn.Conv1d(self.head.out_channels, TDNN_CHANNELS, 5, 2, padding=2, bias=False)
        parts["tdnn"] = _ConvNorm(enter, _Norm(TDNN_CHANNELS))
        channels = TDNN_CHANNELS
        for i, (n_layers, dilation) in enumerate(BLOCKS, start=1):
            parts[f"block{i}"] = DenseBlock(n_layers, channels, dilation)
            channels += n_layers * GROWTH
            parts[f"transit{i}"] = _NormConv(channels, channels // 2)
            channels //= 2
        parts["out_nonlinear"] = _Norm(channels)
        parts["stats"] = StatisticsPooling()
        dense = nn.Conv1d(2 * channels, embedding_size, 1, bias=False)
        parts["dense"] = _ConvNorm(dense, _Norm(embedding_size, relu=False, affine=False))
        self.xvector = nn.ModuleDict(parts)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed equally long utterances.

        Args:
            frames: [B, T, M], T >= 1.

        Returns:
            [B, D], not length-normalised.
        """
        parts = self.xvector
        hidden = parts["tdnn"](self.head(frames))  # [B, C, ceil(T / 2)]
        segments = cut_into_segments(hidden)  # once for all layers
        for i in range(1, len(BLOCKS) + 1):
            hidden = parts[f"transit{i}"](parts[f"block{i}"](hidden, segments))
        pooled = parts["stats"](parts["out_nonlinear"](hidden))  # [B, 2C]
        pooled = pooled.to(next(parts["dense"].parameters()).dtype).unsqueeze(2)
        embedding: Tensor = parts["dense"](pooled).squeeze(2)
        return embedding
