"""Random weights that are the same everywhere: drawn by numpy, per layer, from seed and name.

A network and a peer's network with the same layer names get the same weights without a file. The
spreads keep activations near one through forty layers, and no layer is left at zero or one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Shape = tuple[int, ...]
Module = TypeVar("Module", bound=nn.Module)


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    return {name: tuple(value.shape) for name, value in state.items()}


def seeded_state(shapes: Mapping[str, Shape], seed: int) -> dict[str, Tensor]:
    """Tensors by name; a name's values do not depend on the other names or their order."""
    return {name: torch.from_numpy(_draw(name, shape, seed)) for name, shape in shapes.items()}


def fill(module: Module, seed: int) -> Module:
    """Overwrite every weight and running statistic of a module; evaluation mode."""
    module.load_state_dict(seeded_state(shapes_of(module.state_dict()), seed))
    return module.eval()


def digest(shapes: Mapping[str, Shape], *, without: Iterable[str] = ()) -> int:
    """CRC-32 of names and shapes, in sorted order: do two networks have the same layers?"""
    left_out = tuple(without)
    lines = [f"{n} {s}\n" for n, s in sorted(shapes.items()) if not n.startswith(left_out or "\0")]
    return zlib.crc32("".join(lines).encode())


def _draw(name: str, shape: Shape, seed: int) -> NDArray[np.generic]:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if len(shape) > 1:  # a kernel: [outputs, inputs, ...]
        spread = np.sqrt(2 / np.prod(shape[1:]))
        return (spread * rng.standard_normal(shape)).astype(np.float32)
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith("weight"):  # of a normalisation
        return rng.uniform(0.7, 1.3, shape).astype(np.float32)
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)  # biases, running means
