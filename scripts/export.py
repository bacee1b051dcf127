"""A checkpoint -> files that run elsewhere. The same work as `groove export`.

python scripts/export.py --ckpt outputs/best.pt --out_dir outputs/deploy --onnx --mnn
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # works where it was not installed

from groove.cli import main

if __name__ == "__main__":
    sys.argv[1:] = ["export", *sys.argv[1:]]
    main()
