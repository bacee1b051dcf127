"""The mean of several checkpoints' weights: often better than any of them.

The classifier is averaged with the network: its centres belong to these embeddings, and whoever
starts from the average (``train.init``) goes on with both.

Izmailov et al. 2018 (stochastic weight averaging) without their second pass over the data: running
statistics are averaged like weights, as WeSpeaker does (bin/average_model.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from groove.errors import ModelError
from groove.training.checkpoint import load


@dataclass(frozen=True)
class Averaged:
    """Mean weights, under a checkpoint's names; what the checkpoints do not have is empty."""

    model: dict[str, Tensor]
    head: dict[str, Tensor]
    projection: dict[str, Tensor]


def average_states(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts, each tensor in its own dtype; integers are rounded.

    Raises:
        ModelError: none given, or of different networks.
    """
    if not states:
        raise ModelError("no checkpoints to average; wanted one at least")
    shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes[1:]):
        raise ModelError("checkpoints of different networks cannot be averaged")
    found = {}
    for name, first in states[0].items():
        mean = torch.stack([state[name].double() for state in states]).mean(dim=0)
        found[name] = (mean if first.is_floating_point() else mean.round()).to(first.dtype)
    return found


def average_checkpoints(paths: Sequence[Path]) -> Averaged:
    """The mean of the networks, classifiers and projections of checkpoints.

    Raises:
        ModelError: none given, of different networks, or one that cannot be opened.
    """
    kept = [_weights(path) for path in paths]
    return Averaged(
        average_states([weights.model for weights in kept]),
        average_states([weights.head for weights in kept]),
        average_states([weights.projection for weights in kept]),
    )


def _weights(path: Path) -> Averaged:
    """Of one checkpoint; its optimizer's state, twice as large, is let go of at once."""
    saved = load(path)
    return Averaged(saved.model, saved.head, saved.projection)
