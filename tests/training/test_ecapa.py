"""ECAPA-TDNN as the paper draws it: Desplanques et al. 2020 (arXiv 2005.07143), figure 2, table 1.

Parameters: the paper counts 6.2 M (C = 512) and 14.7 M (C = 1024) with D = 192; WeSpeaker publishes
6.19 M and 14.65 M for its ECAPA_TDNN_GLOB (examples/voxceleb/v2/README.md).
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from groove.training.backbones.ecapa import EcapaTdnn, Res2, SERes2Block
from groove.training.backbones.pooling import AttentiveStatisticsPooling, StatisticsPooling
from tests.seeded import fill

pytestmark = pytest.mark.torch


def n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def by_hand(c: int, d: int, m: int = 80) -> int:
    """Weights and biases of figure 2, layer by layer."""

    def conv(inputs: int, outputs: int, width: int = 1) -> int:
        return inputs * outputs * width + outputs

    norm = 2 * c
    res2 = 7 * (conv(c // 8, c // 8, 3) + 2 * (c // 8))
    gate = conv(c, 128) + conv(128, c)
    block = 2 * (conv(c, c) + norm) + res2 + gate
    pooling = conv(3 * 1536, 128) + conv(128, 1536)
    return conv(m, c, 5) + norm + 3 * block + conv(3 * c, 1536) + pooling + 2 * 3072 + conv(3072, d)


@pytest.mark.parametrize(("channels", "published_m"), [(512, 6.19), (1024, 14.65)])
def test_the_parameter_count_is_the_published_one(channels: int, published_m: float) -> None:
    found = n_parameters(EcapaTdnn(channels=channels, embedding_size=192))
    assert found == by_hand(channels, 192)
    assert found // 10_000 == round(100 * published_m)  # 14.657 M is published as 14.65


def test_three_blocks_with_dilations_2_3_4_in_eight_groups_keep_the_time() -> None:
    network = EcapaTdnn(channels=64)
    assert len(network.blocks) == 3
    for block, dilation in zip(network.blocks, (2, 3, 4), strict=True):
        assert isinstance(block, SERes2Block)
        units = list(block.res2.units)
        assert len(units) == 7  # of eight groups one is handed through
        assert {(u.conv.dilation, u.conv.kernel_size) for u in units} == {((dilation,), (3,))}
        assert block(torch.zeros(1, 64, 9)).shape == (1, 64, 9)


def test_res2_is_the_paper_s_recursion() -> None:
    res2 = fill(Res2(16, dilation=2), 1)
    x = torch.randn(2, 16, 30, generator=torch.Generator().manual_seed(0))
    groups = x.split(2, dim=1)
    wanted, before = [], torch.zeros_like(groups[0])
    for unit, group in zip(res2.units, groups[:-1], strict=True):
        before = unit.norm(torch.relu(unit.conv(group + before)))
        wanted.append(before)
    assert torch.allclose(res2(x), torch.cat([*wanted, groups[-1]], dim=1), atol=1e-6)


def test_all_three_blocks_are_aggregated() -> None:
    """Multi-layer aggregation: silencing one block's columns changes the embedding."""
    frames = torch.randn(1, 50, 80, generator=torch.Generator().manual_seed(1))
    network = fill(EcapaTdnn(channels=16, embedding_size=8), 2)
    assert network.aggregate.in_channels == 3 * 16 and network.aggregate.out_channels == 1536
    with torch.no_grad():
        before = network(frames)
        for i in range(3):
            changed = fill(EcapaTdnn(channels=16, embedding_size=8), 2)
            changed.aggregate.weight[:, 16 * i : 16 * (i + 1)] = 0
            assert (changed(frames) - before).abs().max() > 1e-3


def test_attentive_pooling_is_the_formula_over_the_concatenated_context() -> None:
    pooling = fill(AttentiveStatisticsPooling(6, bottleneck=5), 4).double()
    h = torch.randn(2, 6, 11, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mean = h.mean(2, keepdim=True).expand_as(h)
    deviation = (h.var(2, keepdim=True, unbiased=True) + 1e-7).sqrt().expand_as(h)
    context = torch.cat([h, mean, deviation], dim=1)
    e = pooling.score(torch.tanh(pooling.attend(context)))
    alpha = torch.softmax(e, dim=2)
    mu = (alpha * h).sum(2)
    sigma = ((alpha * h**2).sum(2) - mu**2).clamp(min=1e-7).sqrt()
    assert torch.allclose(pooling(h), torch.cat([mu, sigma], dim=1), atol=1e-5)


@pytest.mark.parametrize("pooling", [StatisticsPooling(), AttentiveStatisticsPooling(4)])
def test_one_frame_is_finite(pooling: nn.Module) -> None:
    assert torch.isfinite(pooling(torch.ones(1, 4, 1))).all()


def test_channels_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="12 channels do not divide into 8 groups"):
        EcapaTdnn(channels=12)
