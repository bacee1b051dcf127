"""Score a list of pairs, or every pair of the recordings held back for validation.

python verify_pairs.py
python verify_pairs.py --pairs pairs.txt --ckpt outputs/best.pt --out outputs_eval/scores.tsv

A line of --pairs is "a.wav b.wav", or a trial in a form of `groove evaluate --trials`.
"""

import argparse
import sys
from pathlib import Path

from groove.cli.inputs import MADE_BY, fail, require
from groove.errors import GrooveError


def main() -> int:
    """Parse, score, write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", help="a list; without it every pair of --val_meta")
    parser.add_argument("--val_meta", default="processed/cn_celeb2/val_meta.jsonl")
    parser.add_argument("--ckpt", default="outputs/best.pt", help="a checkpoint or a model file")
    parser.add_argument("--out", default="outputs_eval/scores.tsv")
    given = parser.parse_args()
    require(given.pairs or given.val_meta, "" if given.pairs else MADE_BY["val_meta"])
    require(given.ckpt, MADE_BY["ckpt"])
    from groove.api import Embedder
    from groove.cli.evaluate import stored_embedder
    from groove.pair_scores import score_pairs

    try:
        source = Path(given.pairs) if given.pairs else None
        embedder, out = Embedder(given.ckpt, threads=1), Path(given.out)
        summary = score_pairs(embedder, out, source, Path(given.val_meta), stored=stored_embedder)
    except (GrooveError, OSError) as error:
        fail(error)
    print(summary)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
