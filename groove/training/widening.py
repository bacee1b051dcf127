"""A wider ECAPA-TDNN that begins by saying what a trained narrow one says.

A wide network learns more from a recording, a narrow one hears more recordings in an hour; so
train narrow first and go on wide. Function-preserving growth as in Chen, Goodfellow and Shlens
2016, "Net2Net" (arXiv 1511.05641), but channels are added, not copied: copies of one channel would
have one gradient and need noise to part. Here the channels that were there get weight zero from the
new ones, so nothing changes at first; the new ones are drawn at random as in any new network, see
everything, and are listened to as soon as the first step has moved those zeros.

Each of Res2's groups gets its share of the new channels, so channel j of groups g wide becomes
channel (j // g) * g' + j % g of groups g' wide; the concatenation of the blocks follows the same
rule, since a block is a whole number of groups.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from groove.errors import SettingsError, TrainingError
from groove.training.backbones.ecapa import RES2_SCALE
from groove.training.checkpoint import Checkpoint
from groove.training.networks import build_encoder


def widened(checkpoint: Checkpoint, channels: int, *, seed: int = 0) -> Checkpoint:
    """The checkpoint with more channels and the same embeddings; the optimizer is left behind.

    Speakers and their centres stay, since the embedding space is the same.

    Args:
        checkpoint: of an ECAPA-TDNN.
        channels: C of the wide network, a multiple of 8 and more than it has.
        seed: of the new channels' weights.

    Raises:
        TrainingError: another network.
        SettingsError: a number of channels that cannot be reached.
    """
    narrow = checkpoint.network
    if narrow.name != "ecapa":
        raise TrainingError(f"{narrow.name}: widening knows ecapa networks only")
    if channels <= narrow.channels or channels % RES2_SCALE:
        raise SettingsError(
            f"channels {channels}; wanted a multiple of {RES2_SCALE} above the "
            f"{narrow.channels} that the checkpoint has"
        )
    network = replace(narrow, channels=channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build_encoder(network, checkpoint.card.fbank).backbone.state_dict()
    group, wide_group = narrow.channels // RES2_SCALE, channels // RES2_SCALE
    model = {
        name: _placed(checkpoint.model[name], value, group, wide_group)
        for name, value in fresh.items()
    }
    config = checkpoint.config
    if "train" in config:
        config = {**config, "train": {**config["train"], "channels": channels}}
    return replace(
        checkpoint,
        card=replace(checkpoint.card, architecture=network.architecture),
        network=network,
        model=model,
        config=config,
        optimizer={},
        scaler={},
        progress={},
        rng={},
    )


def _placed(narrow: Tensor, wide: Tensor, group: int, wide_group: int) -> Tensor:
    """The narrow tensor inside the wide one; rows that were there see nothing new."""
    if narrow.dim() == 0:  # the number of batches that a norm has seen
        return narrow.clone()
    found = wide.clone()
    rows = _kept(narrow.shape[0], wide.shape[0], group, wide_group)
    if narrow.dim() == 1:
        found[rows] = narrow.to(wide.dtype)
        return found
    columns = _kept(narrow.shape[1], wide.shape[1], group, wide_group)
    found[rows] = 0
    found[rows.unsqueeze(1), columns] = narrow.to(wide.dtype)
    return found


def _kept(n: int, n_wide: int, group: int, wide_group: int) -> Tensor:
    """Where each of n channels lies among the wide network's [n]."""
    channel = torch.arange(n)
    if n == n_wide:  # mel bands, bottlenecks, aggregated channels, the embedding
        return channel
    return channel // group * wide_group + channel % group
