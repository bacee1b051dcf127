"""The mean of several checkpoints' weights: often better than any of them.

Izmailov et al. 2018 (stochastic weight averaging) without their second pass over the data: running
statistics are averaged like weights, as WeSpeaker does (bin/average_model.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from groove.errors import ModelError
from groove.training.checkpoint import load


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


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the networks of checkpoints."""
    return average_states([load(path).model for path in paths])
