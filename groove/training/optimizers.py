"""Optimizers: which weights decay, and how a gradient becomes a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from groove.training.muon import Muon


def make_optimizer(
    module: nn.Module,
    name: str,
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    block: int = 0,
    fused: bool = False,
) -> torch.optim.Optimizer:
    """SGD with Nesterov's momentum, AdamW, or Muon over the module's weights.

    Kernels decay; biases and normalisation weights (one dimension) do not: pulling them to zero
    changes what the network computes, not how simple it is.

    Args:
        module: what is trained.
        name: "adamw", "sgd", or "muon": kernels of the backbone by Muon, the rest by AdamW.
        lr: the first rate; the loop sets it anew every step.
        weight_decay: of the kernels.
        momentum: of sgd.
        block: of muon: the longest shorter side of what is made orthogonal in one piece; 0: no end.
        fused: one kernel for all weights; on a GPU.
    """
    if name == "muon":
        return Muon(_with_kernels_apart(module, weight_decay, block), lr=lr)
    weights = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=fused)
    return torch.optim.AdamW(groups, lr=lr, fused=fused)


def _with_kernels_apart(module: nn.Module, weight_decay: float, block: int) -> list[dict[str, Any]]:
    """Three groups: kernels of the backbone, other matrices (a head's rows), vectors."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    kernels = [p for name, p in named if p.ndim > 1 and name.startswith("backbone.")]
    taken = {id(p) for p in kernels}
    matrices = [p for _, p in named if p.ndim > 1 and id(p) not in taken]
    vectors = [p for _, p in named if p.ndim <= 1]
    return [
        {"params": kernels, "weight_decay": weight_decay, "orthogonal": True, "block": block},
        {"params": matrices, "weight_decay": weight_decay, "orthogonal": False},
        {"params": vectors, "weight_decay": 0.0, "orthogonal": False},
    ]


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr
