"""What is exported: a checkpoint of Groove's training, or a public one of a named kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from groove.card import ModelCard
from groove.errors import ModelError, SettingsError
from groove.training import checkpoint, importers
from groove.training.encoder import EncoderModule


@dataclass(frozen=True)
class Source:
    """A network, what its files will say of it, and the classifier that it was trained with."""

    module: EncoderModule
    card: ModelCard
    head: dict[str, Tensor] | None


def open_source(path: Path, kind: str | None = None) -> Source:
    """Open a checkpoint for export.

    Args:
        path: ``best.pt`` of a training run, or a public checkpoint.
        kind: of a public checkpoint, one of `importers.KINDS`; None for Groove's own.

    Raises:
        ModelError: not a checkpoint that can be used, or of another architecture.
        ImportMismatch: a public checkpoint of another kind.
        SettingsError: a public checkpoint without a kind.
    """
    if kind is not None:
        imported = importers.import_checkpoint(path, kind)
        return Source(imported.module, imported.card, None)
    if not path.is_file():
        raise ModelError(f"{path}: no such checkpoint")
    if not checkpoint.is_checkpoint(path):
        importers.read_state(path)  # says so if it is no checkpoint at all
        raise SettingsError(
            f"{path}: not a checkpoint of Groove's training; for a public one add  --kind KIND  "
            f"({', '.join(importers.KINDS)})"
        )
    module, card = checkpoint.load_encoder(path)
    return Source(module, card, checkpoint.load(path).head or None)
