"""Public checkpoints -> our modules, and from there model files.

A checkpoint is data: it is opened by ``torch.load(weights_only=True)`` or as safetensors, with no
fallback, so a hostile pickle does not run. Every layer must be there under the publisher's name
and with the expected shape; only the classifier that WeSpeaker keeps beside the network
(``projection.*``) is left out, because it served training.

| kind | network | front end |
| --- | --- | --- |
| ``3dspeaker-campplus`` | CAM++, D from the shapes | povey window, samples in [-1, 1] |
| ``wespeaker-ecapa`` | ECAPA-TDNN with global context, C and D from the shapes | hamming, 16-bit |
| ``wespeaker-campplus`` | CAM++, D from the shapes | hamming, 16-bit |

All use 80 mel bins, 25 and 10 ms, no dither, and the mean over frames subtracted. WeSpeaker trains
its CAM++ like all its networks (dataset/processor.py: hamming, samples times 2^15). Its command
line has a switch ``--campplus`` with povey and samples in [-1, 1], which is for 3D-Speaker's
weights: those are ``3dspeaker-campplus`` here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from groove.card import ModelCard
from groove.errors import ImportMismatch, ModelError
from groove.fbank import FbankConfig
from groove.training.backbones.campplus import CamPlusPlus
from groove.training.backbones.ecapa import BLOCK_DILATIONS, EcapaTdnn
from groove.training.encoder import EncoderModule
from groove.training.export import export_onnx

State = dict[str, Tensor]

WESPEAKER = FbankConfig(window="hamming")
# On samples in [-1, 1] the logarithm's floor cuts into quiet speech; RESULTS.md, section 3.
THREE_D_SPEAKER = FbankConfig(sample_scale=1.0, min_rms=0.04)
_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class ImportedModel:
    """A network with the publisher's weights, and what its file will say of it."""

    module: EncoderModule
    card: ModelCard


def import_checkpoint(path: str | os.PathLike[str], kind: str) -> ImportedModel:
    """Open a public checkpoint.

    Args:
        path: a ``.pt``, ``.bin`` or ``.safetensors`` file.
        kind: one of `KINDS`.

    Raises:
        ModelError: no such kind or file, or not a file of plain tensors.
        ImportMismatch: layers are missing, unexpected or of another shape.
    """
    if kind not in KINDS:
        raise ModelError(f"kind {kind!r} is not known; wanted one of {', '.join(KINDS)}")
    build, fbank = KINDS[kind]
    backbone, architecture, embedding_size = build(read_state(path), f"{path} as {kind}")
    card = ModelCard(
        name=Path(path).stem,
        version="imported",
        architecture=architecture,
        embedding_size=embedding_size,
        input="waveform",
        fbank=fbank,
        parent=Path(path).name,
    )
    return ImportedModel(EncoderModule(fbank, backbone).eval(), card)


def convert_checkpoint(
    path: str | os.PathLike[str],
    kind: str,
    out: str | os.PathLike[str],
    *,
    card_fields: Mapping[str, Any] | None = None,
    model_input: str = "waveform",
) -> str:
    """Turn a public checkpoint into a model file.

    Args:
        path: the checkpoint.
        kind: one of `KINDS`.
        out: the model file to write.
        card_fields: fields of the card that the checkpoint does not tell, as plain values.
        model_input: "waveform", or "fbank" for a file that takes frames.

    Returns:
        What it was converted with.

    Raises:
        ModelError: see `import_checkpoint` and `export_onnx`.
        CardError: a field that a card does not have.
    """
    imported = import_checkpoint(path, kind)
    card = imported.card.with_fields({"input": model_input, **(card_fields or {})})
    export_onnx(imported.module, card, out)
    return f"torch {torch.__version__}"


def read_state(path: str | os.PathLike[str]) -> State:
    """The tensors of a checkpoint by name, whatever wraps them.

    Raises:
        ModelError: no such file, or something else than plain tensors; nothing in it was run.
    """
    source = Path(path)
    if not source.is_file():
        raise ModelError(f"{source}: no such checkpoint")
    try:
        found = _load(source)
    except Exception as error:  # unpickling raises whatever the file makes it raise
        said = (str(error).splitlines() or [""])[0][:160]
        raise ModelError(
            f"{source}: not a checkpoint of plain tensors ({type(error).__name__}: {said}); "
            "nothing in it was run"
        ) from None
    for key in ("model", "state_dict", "model_state"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found:
        raise ModelError(f"{source}: a {type(found).__name__}; wanted tensors by name")
    strange = [str(name) for name, value in found.items() if not isinstance(value, Tensor)]
    if strange:
        raise ModelError(f"{source}: {strange[:_SHOWN]} are no tensors; wanted tensors by name")
    return {str(name).removeprefix("module."): value for name, value in found.items()}


def _load(source: Path) -> Any:
    with source.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{":  # safetensors: eight bytes of length, then JSON
        from safetensors.torch import load_file

        return load_file(str(source))
    return torch.load(source, map_location="cpu", weights_only=True)


def _campplus(state: State, what: str) -> tuple[nn.Module, str, int]:
    size = _shape(state, "xvector.dense.linear.weight", 3, what)[0]
    return _fill(CamPlusPlus(embedding_size=size), state, what), "CAM++", size


def _wespeaker_ecapa(state: State, what: str) -> tuple[nn.Module, str, int]:
    channels = _shape(state, "layer1.conv.weight", 3, what)[0]
    size = _shape(state, "linear.weight", 2, what)[0]
    if channels % 8:
        raise ImportMismatch(f"{what}: {channels} channels; wanted a multiple of 8")
    names = _ecapa_names()
    renamed = {names.get(name, name): value for name, value in state.items()}
    backbone = EcapaTdnn(channels=channels, embedding_size=size)
    shown = {ours: theirs for theirs, ours in names.items()}
    return _fill(backbone, renamed, what, shown), f"ECAPA-TDNN C{channels}", size


def _ecapa_names() -> dict[str, str]:
    """WeSpeaker's layer names -> ours."""
    parts = {"conv": "aggregate", "bn": "norm", "linear": "linear"}
    parts |= {"pool.linear1": "pooling.attend", "pool.linear2": "pooling.score"}
    parts |= {"layer1.conv": "stem.conv", "layer1.bn": "stem.norm"}
    for i in range(len(BLOCK_DILATIONS)):
        theirs, ours = f"layer{i + 2}.se_res2block", f"blocks.{i}"
        for place, unit in (("0", "enter"), ("2", "leave")):
            parts[f"{theirs}.{place}.conv"] = f"{ours}.{unit}.conv"
            parts[f"{theirs}.{place}.bn"] = f"{ours}.{unit}.norm"
        for k in range(7):
            parts[f"{theirs}.1.convs.{k}"] = f"{ours}.res2.units.{k}.conv"
            parts[f"{theirs}.1.bns.{k}"] = f"{ours}.res2.units.{k}.norm"
        parts[f"{theirs}.3.linear1"] = f"{ours}.gate.squeeze"
        parts[f"{theirs}.3.linear2"] = f"{ours}.gate.excite"
    fields = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{a}.{field}": f"{b}.{field}" for a, b in parts.items() for field in fields}


def _fill(
    backbone: nn.Module, state: State, what: str, shown: Mapping[str, str] | None = None
) -> nn.Module:
    """Load the weights, or say which layers do not fit, under the publisher's names."""
    wanted = backbone.state_dict()
    given = {name: value for name, value in state.items() if not name.startswith("projection.")}

    def named(names: list[str]) -> str:
        listed = ", ".join((shown or {}).get(name, name) for name in names[:_SHOWN])
        return f"{len(names)} ({listed}{', ...' if len(names) > _SHOWN else ''})"

    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    shapes = [n for n in wanted if n in given and given[n].shape != wanted[n].shape]
    problems = [
        f"{word} {named(names)}"
        for word, names in (
            ("missing layers", missing),
            ("unexpected layers", unexpected),
            ("layers of another shape", shapes),
        )
        if names
    ]
    if shapes:
        first = shapes[0]
        problems.append(f"{tuple(given[first].shape)} where {tuple(wanted[first].shape)} is wanted")
    if problems:
        raise ImportMismatch(f"{what}: {'; '.join(problems)}; is it another kind?")
    backbone.load_state_dict(given)
    return backbone


def _shape(state: State, name: str, n_dims: int, what: str) -> tuple[int, ...]:
    found = state.get(name)
    if found is None or found.ndim != n_dims:
        some = ", ".join(list(state)[:_SHOWN])
        raise ImportMismatch(f"{what}: no layer {name} (it has {some}, ...); is it another kind?")
    return tuple(found.shape)


KINDS: dict[str, tuple[Callable[[State, str], tuple[nn.Module, str, int]], FbankConfig]] = {
    "3dspeaker-campplus": (_campplus, THREE_D_SPEAKER),
    "wespeaker-ecapa": (_wespeaker_ecapa, WESPEAKER),
    "wespeaker-campplus": (_campplus, WESPEAKER),
}
