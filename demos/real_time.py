"""Name the speaker as one talks, in the terminal. The same work as `groove listen`.

python demos/real_time.py
python demos/real_time.py --stdin --rate 16000 < speech.pcm
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from groove.cli import main

if __name__ == "__main__":
    sys.argv[1:] = ["listen", *sys.argv[1:]]
    main()
