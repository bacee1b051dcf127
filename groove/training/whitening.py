"""Partial whitening of an embedding space, folded into the network's last layer.

A network that was taught for a short while uses few directions of its space for most of what it
says: cosines then hang on those. With C = U diag(l) U' the covariance of many speakers' embeddings
about their mean m,

    e' = C^-p e,  C^-p = U diag(l^-p) U'

has covariance C^(1 - 2p): p = 1/2 whitens wholly (Su et al. 2021, "Whitening Sentence
Representations", who also take m away), a small p a little. Directions of noise grow with it, most
of all in short recordings, so p is to be chosen on speakers of another list, at several lengths.
Nothing is labelled, and nothing is added: the last layer is linear, so it becomes C^-p W, C^-p b.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from groove.errors import SettingsError, TrainingError
from groove.training.checkpoint import Checkpoint

DEFAULT_POWER = 0.1  # chosen for the built-in model: RESULTS.md, section 11
LAST = ("linear.weight", "linear.bias")  # of EcapaTdnn


def whitened(
    checkpoint: Checkpoint, embeddings: NDArray[np.floating], *, power: float = DEFAULT_POWER
) -> Checkpoint:
    """The checkpoint with its last layer changed; classifier and optimizer are left behind.

    Whom it was trained on stays, so that evaluation can still warn of them.

    Args:
        checkpoint: of an ECAPA-TDNN.
        embeddings: [N, D] of many speakers by this checkpoint, not length-normalised.
        power: p, 0 to 0.5.

    Raises:
        TrainingError: another network, or fewer embeddings than twice their size.
        SettingsError: a power out of range.
    """
    size = checkpoint.network.embedding_size
    if any(name not in checkpoint.model for name in LAST):
        raise TrainingError(
            f"{checkpoint.network.name}: whitening knows the last layer of ecapa networks only"
        )
    if not 0 <= power <= 0.5:
        raise SettingsError(f"power {power:g}; wanted 0 (nothing) to 0.5 (wholly white)")
    if embeddings.ndim != 2 or embeddings.shape[1] != size or len(embeddings) < 2 * size:
        raise TrainingError(
            f"embeddings of shape {embeddings.shape}; wanted at least {2 * size} of {size} numbers"
        )
    turn = torch.from_numpy(turn_of(embeddings, power))
    weight, bias = (checkpoint.model[name].double() for name in LAST)
    moved = {
        LAST[0]: (turn @ weight).float(),
        LAST[1]: (turn @ bias).float(),
    }
    # Cosines change, so what was measured of them is no longer true.
    card = replace(checkpoint.card, thresholds=(), calibration=None, narrow_band=None)
    return replace(
        checkpoint,
        card=card,
        model={**checkpoint.model, **moved},
        head={},
        projection={},
        optimizer={},
        scaler={},
        progress={},
        rng={},
    )


def turn_of(embeddings: NDArray[np.floating], power: float) -> NDArray[np.float64]:
    """C^-p [D, D] of embeddings [N, D]."""
    spread, axes = np.linalg.eigh(np.cov(embeddings.astype(np.float64).T))
    spread = np.maximum(spread, 1e-6 * spread[-1])
    turn: NDArray[np.float64] = (axes * spread**-power) @ axes.T
    return turn
