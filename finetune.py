"""Fine-tune with a large margin: `python train.py --config-name finetune`.

python finetune.py
python finetune.py train.init=outputs/best.pt train.epochs=5
"""

import sys

from groove.cli import main

if __name__ == "__main__":
    sys.argv[1:] = ["train", "--config-name", "finetune", *sys.argv[1:]]
    main()
