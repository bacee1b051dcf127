"""The mean of networks of one ancestry, such as a checkpoint and what further training made of it.

python scripts/average.py --ckpt outputs_builtin_more/last.pt --ckpt checkpoints/groove-ecapa.pt \
    --out mean.pt

What further training wins in one place and loses in another the mean often keeps of both (Wortsman
et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903). Networks that were not
trained from one another have no useful mean. Card and speakers are the first one's; classifier and
optimizer are left behind.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # works where it was not installed

from groove.errors import GrooveError, ModelError
from groove.training.averaging import average_states
from groove.training.checkpoint import Checkpoint, load, save


def averaged(paths: list[Path]) -> Checkpoint:
    """The mean of the networks, with nothing that was measured or trained beside them."""
    if len(paths) < 2:
        raise ModelError(f"{len(paths)} checkpoint; give --ckpt twice or more")
    found = [load(path) for path in paths]
    first = found[0]
    model = average_states([checkpoint.model for checkpoint in found])
    card = replace(first.card, thresholds=(), calibration=None, narrow_band=None)
    return Checkpoint(card, first.network, model, first.config, first.speakers)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--ckpt", type=Path, action="append", required=True, help="twice or more; the first leads"
    )
    parser.add_argument("--out", type=Path, required=True, help="the mean")
    given = parser.parse_args()
    try:
        save(averaged(given.ckpt), given.out)
    except GrooveError as error:
        sys.exit(f"average: {error}")
    sys.stdout.write(f"{given.out}\n")


if __name__ == "__main__":
    main()
