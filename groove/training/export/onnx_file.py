"""A network -> a model file: ONNX with front end and card inside, checked before it appears.

The graph is traced with batch and time left open, written aside, opened by onnxruntime and compared
with torch on several lengths, batches and levels; only then is it renamed into place.

TorchScript tracing is used, not the newer exporter: it needs no package besides torch and onnx,
takes seconds where the other takes half a minute for CAM++, and its graphs load and run as fast.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from groove.card import METADATA_KEY, ModelCard
from groove.encoder import OnnxEncoder
from groove.errors import GrooveError, ModelError
from groove.parity import MIN_COSINE, ParityGate, bundled_voices
from groove.training.encoder import EncoderModule, TorchEncoder
from groove.training.export.aside import aside

OPSET = 17
OPSETS = (17, 20)  # what tracing writes; LayerNormalization and others that ours need came in 17
TRACE_S = 2.0  # length that is traced; every other length must give the same function


def export_onnx(
    module: EncoderModule,
    card: ModelCard,
    out: str | os.PathLike[str],
    *,
    gate: ParityGate | None = None,
    opset: int = OPSET,
) -> Path:
    """Write a model file and prove that it computes what the module computes.

    Args:
        module: front end and backbone; it is put into evaluation mode.
        card: its ``input`` decides what the file takes: a waveform [B, S], or frames [B, T, M].
        out: the file to write; whatever is there is replaced, at once and only on success.
        gate: what it is compared on; None takes `bundled_voices`.
        opset: the ONNX operator set.

    Returns:
        ``out``.

    Raises:
        ModelError: the export failed, or does not agree with torch; no file is left.
    """
    target = Path(out)
    encoder = TorchEncoder(module, card)  # evaluation mode; card and front end agree
    with aside(target) as path:
        write_onnx(module, card, path, opset=opset)
        checked = (gate or ParityGate(encoder, bundled_voices())).check(
            OnnxEncoder(path, threads=1), MIN_COSINE["fp32"]
        )
        if not checked.holds:
            raise ModelError(f"{target}: differs from torch: {checked}")
    return target


def write_onnx(module: EncoderModule, card: ModelCard, path: Path, *, opset: int = OPSET) -> None:
    """Trace and write, with the card inside, unchecked.

    Raises:
        ModelError: the operator set is not one that can be written, or the exporter failed.
    """
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ModelError(f"opset {opset}: wanted {OPSETS[0]} to {OPSETS[1]}")
    try:
        _trace(module.eval(), card, path, opset)
        put_card(path, card)
    except (RuntimeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        if isinstance(error, GrooveError):
            raise
        said = " ".join(str(error).split())[:300]
        raise ModelError(f"{path.name}: export failed: {said}") from error


def put_card(path: Path, card: ModelCard) -> None:
    """Put the card in, fix the output's size, take out what changes from run to run."""
    model = onnx.load(str(path))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = card.embedding_size
    model.doc_string = model.graph.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, card.to_json()
    onnx.save(model, str(path))


def _trace(module: EncoderModule, card: ModelCard, path: Path, opset: int) -> None:
    config = card.fbank
    graph: nn.Module
    if card.input == "waveform":
        graph = module
        example = torch.zeros(2, round(TRACE_S * config.sample_rate)).uniform_(-0.1, 0.1)
    else:
        graph = module.backbone
        n_frames = config.n_frames(round(TRACE_S * config.sample_rate))
        example = torch.zeros(2, n_frames, config.n_mels).uniform_(-1, 1)
    names = {"waveform": "S", "fbank": "T"}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of what the parity check proves harmless
        torch.onnx.export(
            graph,
            (example,),
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=[card.input],
            output_names=["embedding"],
            dynamic_axes={card.input: {0: "B", 1: names[card.input]}, "embedding": {0: "B"}},
        )
