"""A name or a path -> an open encoder."""

from __future__ import annotations

import os
from pathlib import Path

from groove import mnn_encoder, models
from groove.encoder import Encoder, OnnxEncoder
from groove.errors import ModelError, UnknownModel

CHECKPOINT_SUFFIXES = {".pt", ".pth", ".ckpt", ".bin", ".safetensors"}


def open_encoder(
    model: str | os.PathLike[str] | None = None, *, threads: int | None = None
) -> Encoder:
    """Open a model by catalogue name or path.

    Args:
        model: a name from the catalogue, or the path of a model file (``.onnx``, or ``.mnn`` with
            its card beside it); None is the default model.
        threads: see `OnnxEncoder`.

    Raises:
        UnknownModel: neither a known name nor a file, or a known model that was not pulled yet.
        ModelError: a checkpoint, which must be imported first; or a file that cannot be used.
    """
    name = models.DEFAULT if model is None else os.fspath(model)
    if name in models.catalogue():
        return OnnxEncoder(models.installed_path(name), threads=threads)
    path = Path(name)
    if path.suffix.lower() in CHECKPOINT_SUFFIXES and path.is_file():
        raise ModelError(
            f"{path}: a checkpoint, not a model file; turn it into one first:  "
            f"groove import {path} --kind KIND --out {path.with_suffix('.onnx').name}"
        )
    if not path.is_file():
        raise UnknownModel(
            f"{name}: no such file, and no model of that name "
            f"(known: {', '.join(models.catalogue())})"
        )
    if path.suffix.lower() == mnn_encoder.SUFFIX:
        return mnn_encoder.MnnEncoder(path, threads=threads)
    return OnnxEncoder(path, threads=threads)
