"""groove train: train, fine-tune or distil an encoder."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groove.errors import MissingExtra

if TYPE_CHECKING:
    from groove.encoder import Encoder
    from groove.training.config import TrainConfig


@click.command("train")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--config-name", default="train", show_default=True, help="train, finetune, distill, or yours."
)
@click.option(
    "--config-dir", type=click.Path(path_type=Path), help="Its folder.  [default: configs]"
)
def command(overrides: tuple[str, ...], config_name: str, config_dir: Path | None) -> None:
    """Train a speaker encoder; KEY=VALUE changes a setting of configs/train.yaml.

    A run that was stopped goes on with resume=true. torchrun starts it on several GPUs:
    torchrun --nproc-per-node 2 train.py

    Example:  groove train train.epochs=100 train.lr=5e-4 train.emb_dim=256
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("groove train", "train", "torch trains")
    from groove.training.composing import compose
    from groove.training.loop import train

    config = compose(config_name, overrides, folder=config_dir)
    best = train(config, teacher=_teacher(config))
    if os.environ.get("RANK", "0") == "0":  # of torchrun's processes the first one speaks
        click.echo(str(best))


def _teacher(config: TrainConfig) -> Encoder | None:
    """The model that ``distill.teacher`` names; a public checkpoint computes in torch."""
    from groove.loading import open_encoder
    from groove.training.encoder import TorchEncoder
    from groove.training.importers import import_checkpoint

    distill = config.distill
    if not distill.teacher:
        return None
    if distill.teacher_kind:
        imported = import_checkpoint(distill.teacher, distill.teacher_kind)
        return TorchEncoder(imported.module, imported.card)
    return open_encoder(distill.teacher)
