"""ONNX -> MNN, the step that runs sealed: MNN's converter itself, without its Python wrapper.

    python sealed.py mnn_worker.py MODEL.onnx MODEL.mnn [--fp16 | --weightQuantBits 8 ...]

The wrapper (``mnnconvert``) runs ``pip install`` when imported and reports use with a machine id.
The converter is one function of a compiled module beside it.
"""

from __future__ import annotations

import sys


def main(source: str, target: str, *flags: str) -> None:
    """Convert one file."""
    import _tools  # MNN's compiled tools; importing the package MNN is not needed

    _tools.mnnconvert(
        ["mnnconvert", "-f", "ONNX", "--modelFile", source, "--MNNModel", target]
        + ["--bizCode", "groove", *flags]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
