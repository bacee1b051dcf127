"""The base install is enough: no torch, no pictures, no network, nothing started by an import."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys

import groove
from tests.conftest import ROOT, VOICE_A, VOICE_A2
from tests.test_cli import TINY_MODEL

HEAVY = ("torch", "onnx", "matplotlib", "sklearn", "hydra", "safetensors", "av", "gradio", "scipy")

BLOCKED = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(name + " is not in the base install")
sys.meta_path.insert(0, Blocked())
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_whole_compare_runs_where_nothing_but_the_base_install_can_be_imported() -> None:
    code = f"""
import groove
a, b, model = {str(VOICE_A)!r}, {str(VOICE_A2)!r}, {str(TINY_MODEL)!r}
answer = groove.compare(a, b, model=model, threshold=0.0)
assert answer.score is not None
print(answer.decision, [name for name in {HEAVY!r} if name in sys.modules])
"""
    assert run(code).split(maxsplit=1)[1].strip() == "[]"


def test_every_room_but_training_can_be_imported_on_the_base_install() -> None:
    rooms = [m.name for m in pkgutil.walk_packages(groove.__path__, "groove.")]
    rooms = [r for r in rooms if not r.startswith("groove.training") and r != "groove.__main__"]
    assert len(rooms) > 15
    run("import importlib\n" + "\n".join(f"importlib.import_module({r!r})" for r in rooms))


def test_importing_groove_starts_no_thread_and_opens_no_socket() -> None:
    code = """
import socket, threading
socket.socket = None
import groove
assert threading.active_count() == 1
"""
    run(code)


def test_all_is_sorted_and_complete() -> None:
    names = [n for n in groove.__all__ if n != "__version__"]
    assert names == sorted(names, key=lambda n: (n.islower(), n))
    assert all(hasattr(groove, name) for name in groove.__all__)


def test_each_third_party_library_has_one_door() -> None:
    doors = {
        "soundfile": {"soundfiles.py"},
        "gradio": {"demo.py"},
        "sounddevice": {"listening.py"},
        "soxr": {"resampling.py"},
        "onnxruntime": {"runtime.py"},
        "av": {"decoders.py"},
    }
    found: dict[str, set[str]] = {name: set() for name in doors}
    for path in (ROOT / "groove").rglob("*.py"):
        if "training" in path.parts:
            continue
        for name in doors:
            if re.search(rf"^\s*(import|from) {name}\b", path.read_text("utf-8"), re.MULTILINE):
                found[name].add(path.name)
    assert found == doors
