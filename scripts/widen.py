"""Give a trained network more channels; it says the same until it is trained on.

python scripts/widen.py --ckpt checkpoints/groove-ecapa.pt --channels 512 --out wide.pt
python train.py --config-name builtin-more train.init=wide.pt

A wide network learns more from each recording, a narrow one hears more in an hour: so train narrow,
then go on wide; see groove/training/widening.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # works where it was not installed

from groove.errors import GrooveError
from groove.training.checkpoint import load, save
from groove.training.widening import widened


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt", type=Path, required=True, help="a checkpoint of training (ecapa)")
    parser.add_argument("--channels", type=int, required=True, help="a multiple of 8, e.g. 512")
    parser.add_argument("--seed", type=int, default=0, help="of the new channels' weights")
    parser.add_argument("--out", type=Path, required=True, help="the wide checkpoint")
    given = parser.parse_args()
    try:
        save(widened(load(given.ckpt), given.channels, seed=given.seed), given.out)
    except GrooveError as error:
        sys.exit(f"widen: {error}")
    sys.stdout.write(f"{given.out}\n")


if __name__ == "__main__":
    main()
