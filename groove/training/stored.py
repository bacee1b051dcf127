"""Stored features: the log-mel frames of one utterance in a file that says what made them.

A file holds ``{"fbank": float16 [T, M], "front_end_hash", "speaker_id", "utterance_id",
"version": 1}`` and is opened with ``weights_only=True``. The frames have no mean subtracted: that
is done per crop. Frames of another front end than the reader's are refused, for they would train or
score without any error and badly. Rounding to float16 costs at most 0.008 in a frame (values stay
within 32), below the spread that a change of one sample in the framing makes.
"""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groove.errors import ManifestError, SettingsError
from groove.fbank import FbankConfig, log_mel

VERSION = 1
BYTES_A_VALUE = 2
OVERHEAD_BYTES = 1_600  # of the container around the frames; measured
BLOCK_BYTES = 4_096  # file systems give space by such blocks
KEYS = ("fbank", "front_end_hash", "speaker_id", "utterance_id", "version")


def frames_to_store(
    waveform: NDArray[np.floating[Any]], config: FbankConfig
) -> NDArray[np.float32]:
    """Frames [T, M] of a whole utterance [S], without mean subtraction.

    Raises:
        SettingsError: the front end raises quiet crops (``min_rms``), which a whole utterance's
            frames cannot say afterwards.
        EmptyAudio: shorter than a frame.
    """
    if config.min_rms:
        raise SettingsError(
            f"min_rms {config.min_rms:g} acts per crop, so features cannot be stored beforehand; "
            "train on the waveforms"
        )
    return log_mel(waveform, replace(config, subtract_mean=False))


def write_features(
    path: str | Path,
    frames: NDArray[np.float32] | Tensor,
    config: FbankConfig,
    *,
    speaker_id: str,
    utterance_id: str,
) -> None:
    """Write one utterance's frames aside and rename; the folder is made if needed.

    Args:
        path: the file.
        frames: [T, M], from `frames_to_store`.
        config: the front end that made them, as the model has it.
        speaker_id: whose.
        utterance_id: which.
    """
    target = Path(path)
    values = {
        "fbank": torch.as_tensor(frames).to(torch.float16).contiguous(),
        "front_end_hash": config.hash,
        "speaker_id": speaker_id,
        "utterance_id": utterance_id,
        "version": VERSION,
    }
    buffer = io.BytesIO()
    torch.save(values, buffer)  # in memory first: a full disk then raises OSError, not C++'s
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{os.getpid()}.part")  # see groove.leftovers
    try:
        aside.write_bytes(buffer.getbuffer())
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def read_features(path: str | Path, config: FbankConfig) -> Tensor:
    """The frames [T, M] float32 of one utterance, without mean subtraction.

    Raises:
        ManifestError: no such file, not stored features, or of an unknown version.
        SettingsError: made by another front end than ``config``.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror or error}") from None
    try:
        values = torch.load(io.BytesIO(data), weights_only=True)
    except Exception:  # junk makes torch's reader fail in more ways than it documents
        values = None
    if not isinstance(values, dict) or "version" not in values:
        raise ManifestError(
            f"{path}: not stored features, or damaged; delete it and run groove prepare again"
        )
    if values["version"] != VERSION or not set(KEYS) <= set(values):
        raise ManifestError(
            f"{path}: stored features of version {values['version']!r} with keys "
            f"{sorted(values)}; this Groove reads version {VERSION}: run groove prepare again"
        )
    if values["front_end_hash"] != config.hash:
        raise SettingsError(
            f"{path}: stored by front end {values['front_end_hash']}, the model's is "
            f"{config.hash}; {_cure(config)}"
        )
    frames: Tensor = values["fbank"]
    return frames.float()


def _cure(config: FbankConfig) -> str:
    """What to do where features of another front end than ``config`` are stored."""
    prepared = FbankConfig()  # `groove prepare` stores these, whatever is trained later
    if config.hash == prepared.hash:
        return "run groove prepare again"
    return (
        f"groove prepare stores model.window={prepared.window} model.n_mels={prepared.n_mels} "
        "model.min_rms=0 alone: train with these, or set data.source=files"
    )


def stored_bytes(seconds: float, config: FbankConfig) -> int:
    """Bytes on disk of an utterance's stored features."""
    n_frames = config.n_frames(round(seconds * config.sample_rate))
    n_bytes = n_frames * config.n_mels * BYTES_A_VALUE + OVERHEAD_BYTES
    return -(-n_bytes // BLOCK_BYTES) * BLOCK_BYTES
