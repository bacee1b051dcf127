"""Evaluate a checkpoint on the recordings held back for validation; same work as `groove evaluate`.

python verify.py --val_meta processed/cn_celeb2/val_meta.jsonl --ckpt outputs/best.pt \
    --out_dir outputs_eval

Writes roc.png, det.png, score_hist.png, tsne.png, metrics.txt and a report into --out_dir.
"""

import argparse
import sys

from groove.cli import main
from groove.cli.inputs import MADE_BY, require


def arguments() -> list[str]:
    """The seed's flags, as arguments of `groove evaluate`; what is missing ends the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--val_meta", default="processed/cn_celeb2/val_meta.jsonl")
    parser.add_argument("--ckpt", default="outputs/best.pt", help="a checkpoint or a model file")
    parser.add_argument("--out_dir", default="outputs_eval")
    parser.add_argument("--num_crops", help="average so many crops")
    parser.add_argument("--crop_sec", help="seconds of a crop")
    parser.add_argument("--seed", default="0", help="of the pairs and the intervals")
    given = parser.parse_args()
    require(given.val_meta, MADE_BY["val_meta"])
    require(given.ckpt, MADE_BY["ckpt"])
    options = ["--num-crops", given.num_crops] if given.num_crops else []
    options += ["--crop-sec", given.crop_sec] if given.crop_sec else []
    return ["evaluate", "--val-meta", given.val_meta, "--model", given.ckpt, "--out", given.out_dir,
            "--seed", given.seed, *options]  # fmt: skip


if __name__ == "__main__":
    sys.argv[1:] = arguments()
    main()
