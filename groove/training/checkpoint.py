"""Checkpoints: everything of a training run, written and read in this one file.

A checkpoint is a dict of tensors, strings, numbers, lists and dicts, so that
``torch.load(weights_only=True)`` opens it and nothing in it can run:

    format, version     "groove-checkpoint", 1
    card                the model card, JSON: front end and embedding size are in it
    network             {"name": "ecapa", "channels": 512, "embedding_size": 256}
    model               the backbone's tensors by name
    head, projection    the classifier's tensors, and those of a distillation's projection
    speakers            speaker_ids in the order of the classifier's classes
    config              the settings, as `groove.training.typed.plain` gives them
    optimizer, scaler   their states
    progress            epoch, batch (of the next step), step, best EER and the like
    rng                 states of torch's generators, as byte tensors

It is written aside and renamed: a reader finds the old one or the new one, whole.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groove.card import ModelCard
from groove.errors import CardError, ModelError, TrainingError
from groove.training.encoder import EncoderModule, TorchEncoder
from groove.training.networks import Network, build_encoder

FORMAT = "groove-checkpoint"
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """What the file holds; see the top of this module."""

    card: ModelCard
    network: Network
    model: dict[str, Tensor]
    config: dict[str, Any]
    speakers: list[str] = field(default_factory=list)
    head: dict[str, Tensor] = field(default_factory=dict)
    projection: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    rng: dict[str, Tensor] = field(default_factory=dict)


def _field_names() -> list[str]:
    return [item.name for item in fields(Checkpoint)]


def save(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Write a checkpoint aside and rename it.

    Raises:
        TrainingError: it cannot be written (disk full, no permission); what was there stays.
    """
    target = Path(path)
    values = {name: getattr(checkpoint, name) for name in _field_names()}
    values |= {"card": checkpoint.card.to_json(), "network": checkpoint.network.to_dict()}
    buffer = io.BytesIO()  # torch's own writer hides a full disk behind an internal error
    torch.save({"format": FORMAT, "version": VERSION, **values}, buffer)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, target)
    except OSError as error:
        kept = "the one before it is still there; " if target.exists() else ""
        raise TrainingError(
            f"{target}: the checkpoint cannot be written ({error.strerror or error}); {kept}"
            f"{buffer.getbuffer().nbytes / 1e6:.0f} MB are needed, then go on with resume=true"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """True for a file that `save` wrote, of whatever version; False for a foreign one."""
    try:
        return _open(Path(path)).get("format") == FORMAT
    except ModelError:
        return False


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint, onto the CPU.

    Raises:
        ModelError: no such file, damaged, foreign, or of a version that this Groove does not know.
    """
    source = Path(path)
    found = _open(source)
    if found.get("format") != FORMAT:
        raise ModelError(f"{source}: not a checkpoint of Groove's training; is it a public one?")
    if found.get("version") != VERSION:
        raise ModelError(
            f"{source}: checkpoint version {found.get('version')!r}, this Groove reads {VERSION}; "
            "open it with the Groove that wrote it, or train again"
        )
    try:
        values = {name: found[name] for name in _field_names()}
        values["card"] = ModelCard.from_json(values["card"])
        values["network"] = Network.from_dict(values["network"])
    except (KeyError, TypeError, CardError) as error:
        raise ModelError(f"{source}: a damaged checkpoint ({error!r})") from None
    return Checkpoint(**values)


def load_encoder(path: str | os.PathLike[str]) -> tuple[EncoderModule, ModelCard]:
    """The network of a checkpoint, in evaluation mode, and its card.

    Raises:
        ModelError: see `load`; or the tensors do not fit the network that the file names.
    """
    return _encoder_of(load(path), path)


def open_torch_encoder(path: str | os.PathLike[str]) -> TorchEncoder:
    """The same, ready to be called, with what the checkpoint says of its speakers.

    Raises:
        ModelError: see `load_encoder`.
    """
    checkpoint = load(path)
    data = checkpoint.config.get("data") or {}
    validate = checkpoint.config.get("validate") or {}
    chose = validate.get("every", 1) > 0  # else the list was named but never looked at
    return TorchEncoder(
        *_encoder_of(checkpoint, path),
        training_speakers=checkpoint.speakers,
        validated_on=str(data.get("val") or "") if chose else "",
    )


def _encoder_of(
    checkpoint: Checkpoint, path: str | os.PathLike[str]
) -> tuple[EncoderModule, ModelCard]:
    module = build_encoder(checkpoint.network, checkpoint.card.fbank)
    try:
        module.backbone.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: a damaged checkpoint ({said})") from None
    return module.eval(), checkpoint.card


def rng_states() -> dict[str, Tensor]:
    """The states of torch's generators."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_rng_states(states: dict[str, Tensor]) -> None:
    """Go on where `rng_states` was called."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _open(source: Path) -> dict[str, Any]:
    if not source.is_file():
        raise ModelError(f"{source}: no such checkpoint")
    try:
        found = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive raises whatever it makes torch raise
        said = (str(error).splitlines() or [""])[0][:160]
        raise ModelError(
            f"{source}: damaged, or not a checkpoint of plain tensors ({said})"
        ) from None
    return found if isinstance(found, dict) else {}
