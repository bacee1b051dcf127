"""Open the web page: compare two voices, enrol, identify, listen. The same work as `groove demo`.

python demos/app.py
python demos/app.py --port 7861 --db people.db
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from groove.cli import main

if __name__ == "__main__":
    sys.argv[1:] = ["demo", *sys.argv[1:]]
    main()
