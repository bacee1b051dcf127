"""A network -> a model file: ONNX with front end and card inside, checked before it appears.

The graph is traced with batch and time left open, written aside, opened by onnxruntime and compared
with torch on several lengths and batch sizes; only then is it renamed into place. A file that
exists is a file that agrees.

TorchScript tracing is used, not the newer exporter: it needs no package besides torch and onnx,
takes seconds where the other takes half a minute for CAM++, and its graphs load and run as fast.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from groove.card import METADATA_KEY, ModelCard
from groove.encoder import OnnxEncoder
from groove.errors import ModelError
from groove.training.encoder import EncoderModule, TorchEncoder

OPSET = 17
TRACE_S = 2.0  # length that is traced; every other length must give the same function
PARITY_S = (0.1, 1.0, 2.34, 5.0, 20.0)
PARITY_BATCHES = (1, 7)
MIN_COSINE = 0.9999


def export_onnx(module: EncoderModule, card: ModelCard, out: str | os.PathLike[str]) -> Path:
    """Write a model file and prove that it computes what the module computes.

    Args:
        module: front end and backbone; it is put into evaluation mode.
        card: its ``input`` decides what the file takes: a waveform [B, S], or frames [B, T, M].
        out: the file to write; whatever is there is replaced, at once and only on success.

    Returns:
        ``out``.

    Raises:
        ModelError: the export failed, or does not agree with torch; no file is left.
    """
    target = Path(out)
    if not target.parent.is_dir():
        raise ModelError(f"{target}: no such folder {target.parent}; make it first")
    encoder = TorchEncoder(module, card)  # evaluation mode; card and front end agree
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".onnx", dir=target.parent)
    os.close(handle)
    aside = Path(name)
    try:
        _trace(module, card, aside)
        _finish(aside, card)
        check_parity(encoder, OnnxEncoder(aside, threads=1))
        aside.chmod(0o644)
        os.replace(aside, target)
    except (RuntimeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        raise ModelError(
            f"{target}: export failed: {' '.join(str(error).split())[:300]}"
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    return target


def check_parity(
    reference: TorchEncoder,
    exported: OnnxEncoder,
    *,
    lengths_s: Sequence[float] = PARITY_S,
    batches: Sequence[int] = PARITY_BATCHES,
) -> float:
    """Compare two encoders of the same network.

    Args:
        reference: in torch.
        exported: the file.
        lengths_s: utterance lengths in seconds.
        batches: batch sizes.

    Returns:
        The smallest cosine found.

    Raises:
        ModelError: it is below 0.9999; the message says at which length and batch.
    """
    rng = np.random.default_rng(0)
    worst = 1.0
    for seconds in lengths_s:
        waveforms = _voice_like(
            rng, max(batches), round(seconds * reference.card.fbank.sample_rate)
        )
        wanted = reference(waveforms)
        for batch in batches:
            found = exported(waveforms[:batch])
            cosine = float(_cosines(wanted[:batch], found).min())
            if not cosine >= MIN_COSINE:
                raise ModelError(
                    f"{exported.path}: differs from torch at {seconds:g} s, batch {batch}: cosine "
                    f"{cosine:.6f}, wanted at least {MIN_COSINE}"
                )
            worst = min(worst, cosine)
    return worst


def _trace(module: EncoderModule, card: ModelCard, path: Path) -> None:
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
            opset_version=OPSET,
            input_names=[card.input],
            output_names=["embedding"],
            dynamic_axes={card.input: {0: "B", 1: names[card.input]}, "embedding": {0: "B"}},
        )


def _finish(path: Path, card: ModelCard) -> None:
    """Fix the output's size, put the card in, take out what changes from run to run."""
    model = onnx.load(str(path))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = card.embedding_size
    model.doc_string = model.graph.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, card.to_json()
    onnx.save(model, str(path))


def _voice_like(rng: np.random.Generator, batch: int, n_samples: int) -> NDArray[np.float32]:
    """Noise whose level and colour change, [B, S]: every row is another embedding."""
    noise = rng.standard_normal((batch, n_samples))
    envelope = 0.02 + 0.1 * np.abs(
        np.sin(np.arange(n_samples) / 1500 + rng.uniform(0, 6, (batch, 1)))
    )
    coloured = np.cumsum(noise, axis=1) * rng.uniform(0, 0.05, (batch, 1)) + noise
    coloured -= coloured.mean(axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (
        envelope * coloured / coloured.std(axis=1, keepdims=True)
    ).astype(np.float32)
    return scaled


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a64, axis=1) * np.linalg.norm(b64, axis=1)
    cosines: NDArray[np.float64] = (a64 * b64).sum(axis=1) / norms
    return cosines
