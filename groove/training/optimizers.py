"""Optimizers: which weights decay, and how a gradient becomes a step."""

from __future__ import annotations

import torch
from torch import nn


def make_optimizer(
    module: nn.Module,
    name: str,
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    fused: bool = False,
) -> torch.optim.Optimizer:
    """SGD with Nesterov's momentum or AdamW over the module's weights.

    Kernels decay; biases and normalisation weights (one dimension) do not: pulling them to zero
    changes what the network computes, not how simple it is.

    Args:
        module: what is trained.
        name: "adamw" or "sgd".
        lr: the first rate; the loop sets it anew every step.
        weight_decay: of the kernels.
        momentum: of sgd.
        fused: one kernel for all weights; on a GPU.
    """
    weights = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=fused)
    return torch.optim.AdamW(groups, lr=lr, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr
