"""Train a speaker encoder. The same work as `groove train`.

python train.py
python train.py train.epochs=100 train.lr=5e-4 train.emb_dim=256
python train.py --config-name distill
"""

import sys

from groove.cli import main

if __name__ == "__main__":
    sys.argv[1:] = ["train", *sys.argv[1:]]
    main()
