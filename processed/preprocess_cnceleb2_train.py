"""Prepare CN-Celeb 1 and 2 for training. The same work as `groove prepare cnceleb`.

python processed/preprocess_cnceleb2_train.py

It reads ./CN-Celeb_flac and ./CN-Celeb2_flac and writes processed/cn_celeb2; every option of
`groove prepare cnceleb` can be given, such as --features all.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from groove.cli import main

DEFAULTS = {
    "--root": "CN-Celeb_flac",
    "--root2": "CN-Celeb2_flac",
    "--out": "processed/cn_celeb2",
}

if __name__ == "__main__":  # the worker processes import this file
    given = [word for pair in DEFAULTS.items() for word in pair]
    sys.argv[1:] = ["prepare", "cnceleb", *given, *sys.argv[1:]]  # the last of an option counts
    main()
