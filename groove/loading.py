"""A name or a path -> an open encoder: a model file, or a checkpoint of Groove's training."""

from __future__ import annotations

import importlib.util
import os
import zipfile
from pathlib import Path

from groove import mnn_encoder, models
from groove.encoder import Encoder, OnnxEncoder
from groove.errors import MissingExtra, ModelError

CHECKPOINT_SUFFIXES = {".pt", ".pth", ".ckpt", ".bin", ".safetensors"}
ENGINE_SUFFIX = ".plan"
OWN_FORMAT = b"groove-checkpoint"  # stands in the file as plain text
MOST_READ = 16 << 20


def open_encoder(
    model: str | os.PathLike[str] | None = None, *, threads: int | None = None
) -> Encoder:
    """Open a model by catalogue name or path.

    Args:
        model: a name that `groove models list` knows, or the path of a model file (``.onnx``, or
            ``.mnn`` or ``.plan`` with its card beside it) or of a checkpoint of `groove train`;
            None is the default model.
        threads: see `OnnxEncoder`; a checkpoint computes with torch's own number, an engine
            (``.plan``) on the GPU.

    Raises:
        UnknownModel: neither a known name nor a file, or a known model that was not pulled yet.
        ModelError: a public checkpoint, which must be imported first; or a file that cannot be
            used.
        MissingExtra: a checkpoint of ours, which torch must open, or an engine, which wants
            TensorRT and a GPU besides.
    """
    path = models.path_of(model)
    if path.suffix.lower() in CHECKPOINT_SUFFIXES:
        if _is_ours(path):
            return _open_checkpoint(path)
        raise ModelError(
            f"{path}: a checkpoint, not a model file; turn it into one first:  "
            f"groove import {path} --kind KIND --out {path.with_suffix('.onnx').name}"
        )
    if path.suffix.lower() == mnn_encoder.SUFFIX:
        return mnn_encoder.MnnEncoder(path, threads=threads)
    if path.suffix.lower() == ENGINE_SUFFIX:
        return _open_engine(path)
    return OnnxEncoder(path, threads=threads)


def _is_ours(path: Path) -> bool:
    """Whether `groove train` wrote it: told from its bytes, nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            return any(OWN_FORMAT in _begin(archive, name) for name in pickles)
    except (zipfile.BadZipFile, OSError):
        return False


def _begin(archive: zipfile.ZipFile, name: str) -> bytes:
    """The first megabytes of a member: it may claim to be as large as it likes."""
    with archive.open(name) as member:
        return member.read(MOST_READ)


def _open_checkpoint(path: Path) -> Encoder:
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra(
            f"{path}", "train", "a training checkpoint; or export it to a model file"
        )
    from groove.training.checkpoint import open_torch_encoder

    return open_torch_encoder(path)


def _open_engine(path: Path) -> Encoder:
    missing = [name for name in ("torch", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"{path}", "train", f"a TensorRT engine; {' and '.join(missing)} missing"
        )
    from groove.training.export.tensorrt import open_engine

    return open_engine(path)
