"""A model file -> MNN, with the card beside it.

The converter runs in a process that can neither install nor connect (`sealed`), because MNN's own
``mnnconvert`` does both by itself. float32 files take the waveform: MNN runs the folded front end
with cosine 1.0. MNN's switches for half and 8-bit weights act on the whole graph, so those files
take frames, and the front end is computed in numpy (or by the client, docs/model-file.md), in
float32.
"""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

from groove.card import ModelCard
from groove.errors import MissingExtra, ModelError
from groove.mnn_encoder import write_card
from groove.training.export.sealed import sealed_command

FLAGS = {"fp32": [], "fp16": ["--fp16"], "int8": ["--weightQuantBits", "8"]}
TIMEOUT_S = 600.0
_WORKER = Path(__file__).with_name("mnn_worker.py")


def require_mnn() -> None:
    """Raise MissingExtra where the MNN package is not installed."""
    if importlib.util.find_spec("MNN") is None or importlib.util.find_spec("_tools") is None:
        raise MissingExtra("the MNN export", "mnn", "MNN's converter")


def input_for(precision: str) -> str:
    """What an MNN file of this precision takes: see above."""
    return "waveform" if precision == "fp32" else "fbank"


def write_mnn(source: Path, path: Path, card: ModelCard, precision: str) -> None:
    """Convert a float32 model file; the card is that of ``source``.

    Raises:
        MissingExtra: no MNN.
        ModelError: the converter failed, crashed or wrote nothing.
    """
    require_mnn()
    command = sealed_command(_WORKER, [str(source), str(path), *FLAGS[precision]])
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{path.name}: MNN's converter took longer than {TIMEOUT_S:g} s") from None
    if done.returncode != 0 or not path.is_file() or not path.stat().st_size:
        lines = [x for x in (done.stdout + done.stderr).splitlines() if x.strip()] or ["nothing"]
        raise ModelError(
            f"{path.name}: MNN's converter failed (status {done.returncode}), saying: {lines[-1]}"
        )
    write_card(path, card)
