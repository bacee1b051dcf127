"""Run a Python script that can neither install anything nor reach a network.

    python sealed.py SCRIPT [ARGUMENTS ...]

Standard library alone, and run as a file: nothing of Groove or torch is loaded. A hook that cannot
be removed refuses new processes and sockets; pip and what MNN's wrapper wants to install cannot be
imported. Where Linux allows it, the caller also starts this in a network namespace of its own
(`sealed_command`), which binds C code as well.
"""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BLOCKED_MODULES = ("pip", "ensurepip", "setuptools", "aliyun", "MNN.tools.utils.log")
BLOCKED_EVENTS = (
    *("socket.", "urllib.Request", "http.client."),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile"),
    *("subprocess.Popen", "pty.spawn"),
)


def seal() -> None:
    """From here on this process starts no other and opens no socket."""
    for name in BLOCKED_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]

    def refuse(event: str, _: tuple[Any, ...]) -> None:
        if event.startswith(BLOCKED_EVENTS):
            raise PermissionError(f"sealed: {event} refused")

    sys.addaudithook(refuse)


def sealed_command(script: Path, arguments: Sequence[str]) -> list[str]:
    """How to run ``script`` sealed; without a network where the system offers namespaces."""
    command = [sys.executable, "-P", str(Path(__file__).resolve()), str(script), *arguments]
    return [*_network_less(), *command]


def _network_less() -> list[str]:
    unshare = shutil.which("unshare")
    if unshare is None:
        return []
    prefix = [unshare, "--user", "--map-current-user", "--net", "--"]
    done = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return prefix if done.returncode == 0 else []


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    seal()
    runpy.run_path(sys.argv[0], run_name="__main__")
