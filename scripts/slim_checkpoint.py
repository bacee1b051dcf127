"""A checkpoint to begin other runs with: the network alone, its matrices in half precision.

python scripts/slim_checkpoint.py --ckpt outputs_builtin/best.pt --out checkpoints/groove-ecapa.pt

Optimizer, classifier, speakers and settings are left out, so it is a sixth of the size and names
nobody. `train.init` and `groove export --ckpt` take it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # works where it was not installed

from groove.card_file import described
from groove.errors import GrooveError
from groove.training.checkpoint import Checkpoint, load, save

HALF_MAX = 65504.0


def slim(checkpoint: Checkpoint) -> Checkpoint:
    """The network and its card."""
    model = {
        name: value.half()
        if value.is_floating_point() and value.dim() > 1 and value.abs().max() < HALF_MAX
        else value
        for name, value in checkpoint.model.items()
    }
    return Checkpoint(checkpoint.card, checkpoint.network, model, config={})


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt", type=Path, required=True, help="a checkpoint of training")
    parser.add_argument("--out", type=Path, required=True, help="the small one")
    parser.add_argument("--card", type=Path, help="what it says of itself, see groove export")
    given = parser.parse_args()
    try:
        found = slim(load(given.ckpt))
        if given.card:
            found = replace(found, card=described(found.card, given.card))
        save(found, given.out)
    except GrooveError as error:
        sys.exit(f"slim_checkpoint: {error}")
    sys.stdout.write(f"{given.out}: {given.out.stat().st_size / 1e6:.1f} MB\n")


if __name__ == "__main__":
    with torch.inference_mode():
        main()
