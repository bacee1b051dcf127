"""``python -m groove`` is the `groove` command."""

from groove.cli import main

main()
