"""Checkpoints as peers publish them, with seeded weights; made without the peers' packages.

That the layer names are theirs is proved by the check sum in the golden files, which was taken from
their own networks.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from groove.training.backbones.campplus import CamPlusPlus
from groove.training.backbones.ecapa import EcapaTdnn
from groove.training.importers import _ecapa_names
from tests.seeded import Shape, seeded_state, shapes_of


def published_shapes(kind: str, *, embedding_size: int, channels: int = 512) -> dict[str, Shape]:
    if kind == "wespeaker-ecapa":
        theirs = {ours: name for name, ours in _ecapa_names().items()}
        ours = EcapaTdnn(channels=channels, embedding_size=embedding_size).state_dict()
        return {theirs[name]: shape for name, shape in shapes_of(ours).items()}
    return shapes_of(CamPlusPlus(embedding_size=embedding_size).state_dict())


def published_state(
    kind: str, *, seed: int = 7, embedding_size: int = 24, channels: int = 512
) -> dict[str, Tensor]:
    shapes = published_shapes(kind, embedding_size=embedding_size, channels=channels)
    return seeded_state(shapes, seed)


def save(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path
