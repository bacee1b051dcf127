"""A model file -> a TensorRT engine, where an NVIDIA GPU and the ``tensorrt`` package are at hand.

An engine only runs on the kind of GPU that built it, so it is built where it will run. Without a
GPU the same command writes the ONNX file and the exact ``trtexec`` line that builds the engine.

float32 engines take the waveform. fp16 engines take frames: half precision is switched on for the
whole engine, and the front end's powers overflow it; the numpy front end stays float32. So do the
layers of the pooling, whose squares and epsilon are outside float16: they are known by the name
that tracing gives them and held at float32. TensorRT 11 has no switch for half precision: 10 it is.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from groove.card import ModelCard
from groove.encoder import file_hash
from groove.errors import MissingExtra, ModelError
from groove.fbank import log_mel
from groove.mnn_encoder import read_card, write_card

MAJOR = 10  # of TensorRT
MIN_BATCH, OPT_BATCH, MAX_BATCH = 1, 8, 32
OPT_S = 3.0  # the length that kernels are chosen for; the shortest and longest come from the card
WORKSPACE_BYTES = 4 << 30
POOLING = ("/pooling/", "/stats/")  # how the names of its nodes begin: ECAPA-TDNN's, CAM++'s
_ARITHMETIC = {
    *("ReduceMean", "ReduceSum", "Add", "Sub", "Mul", "Div", "Sqrt", "Clip"),
    *("Tanh", "Softmax", "Conv", "Gemm", "MatMul"),
}
_ARITHMETIC_LAYERS = (
    *("REDUCE", "ELEMENTWISE", "UNARY", "ACTIVATION", "SOFTMAX", "CONVOLUTION"),
    "MATRIX_MULTIPLY",
)


@dataclass(frozen=True)
class Shapes:
    """The range of input shapes that an engine accepts."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]


def input_for(precision: str) -> str:
    """What an engine of this precision takes: see above."""
    return "waveform" if precision == "fp32" else "fbank"


def shapes_for(card: ModelCard) -> Shapes:
    """One frame to one window, 1 to 32 rows."""
    fbank = card.fbank
    lengths = (fbank.min_samples, *(round(s * fbank.sample_rate) for s in (OPT_S, card.window_s)))
    sizes: list[tuple[int, ...]] = [(length,) for length in lengths]
    if card.input == "fbank":
        sizes = [(fbank.n_frames(length), fbank.n_mels) for length in lengths]
    batches = (MIN_BATCH, OPT_BATCH, MAX_BATCH)
    least, usual, most = ((b, *size) for b, size in zip(batches, sizes, strict=True))
    return Shapes(least, usual, most)


def why_not() -> str:
    """Why no engine can be built here; empty where one can."""
    if importlib.util.find_spec("tensorrt") is None:
        return "the package tensorrt is not installed"
    if not torch.cuda.is_available():
        return "no NVIDIA GPU is visible to PyTorch"
    return ""


def require_major() -> None:
    """Raise MissingExtra where a TensorRT is installed that is not of version 10."""
    if importlib.util.find_spec("tensorrt") is None:
        return
    version = str(importlib.import_module("tensorrt").__version__)
    if version.split(".")[0] != str(MAJOR):
        reason = f"TensorRT {version} is installed, wanted {MAJOR}.x"
        raise MissingExtra("the TensorRT export", "tensorrt", reason)


def pooling_nodes(graph_file: Path) -> list[str]:
    """The nodes of a model file that compute the pooling."""
    graph = onnx.load(str(graph_file)).graph
    return [n.name for n in graph.node if n.name.startswith(POOLING) and n.op_type in _ARITHMETIC]


def trtexec_line(
    onnx_file: str, engine: str, card: ModelCard, precision: str, float32: Sequence[str] = ()
) -> str:
    """The command that builds the same engine on a machine with a GPU and TensorRT 10.

    ``float32``: of an fp16 engine, the nodes that stay float32; see `pooling_nodes`.
    """
    shapes = shapes_for(card)
    parts = ["trtexec", f"--onnx={onnx_file}", f"--saveEngine={engine}"]
    for flag, shape in (("min", shapes.least), ("opt", shapes.usual), ("max", shapes.most)):
        parts.append(f"--{flag}Shapes={card.input}:{'x'.join(map(str, shape))}")
    if precision == "fp16":
        kept = ",".join(f"{name}:fp32" for name in float32)
        parts += ["--fp16", "--precisionConstraints=obey"]
        parts += [f"--layerPrecisions={kept}", f"--layerOutputTypes={kept}"]
    else:
        parts.append("--noTF32")
    return " ".join(parts)


def write_engine(source: Path, path: Path, card: ModelCard, precision: str) -> None:
    """Build an engine and put the card beside it.

    Raises:
        MissingExtra: no tensorrt package, one of another version, or no GPU.
        ModelError: TensorRT could not read the file or build the engine.
    """
    require_major()
    reason = why_not()
    if reason:
        raise MissingExtra("building a TensorRT engine", "tensorrt", reason)
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(source.read_bytes()):
        said = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise ModelError(f"{path.name}: TensorRT cannot read the graph ({said[:300]})")
    settings = builder.create_builder_config()
    settings.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    if precision == "fp16":
        settings.set_flag(trt.BuilderFlag.FP16)
        settings.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        if not _hold_pooling(network, trt):
            raise ModelError(f"{path.name}: no pooling layer to hold at float32 ({POOLING})")
    else:
        settings.clear_flag(trt.BuilderFlag.TF32)
    shapes, profile = shapes_for(card), builder.create_optimization_profile()
    profile.set_shape(card.input, shapes.least, shapes.usual, shapes.most)
    settings.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, settings)
    if engine is None:
        raise ModelError(f"{path.name}: TensorRT built no engine; run the trtexec line to see why")
    path.write_bytes(bytes(engine))
    write_card(path, card)


def _hold_pooling(network: Any, trt: Any) -> int:
    """Ask for float32 in the pooling's arithmetic; how many layers that are."""
    kinds = {getattr(trt.LayerType, kind) for kind in _ARITHMETIC_LAYERS}
    held = 0
    for layer in (network.get_layer(i) for i in range(network.num_layers)):
        outputs = range(layer.num_outputs)
        if not layer.name.startswith(POOLING) or layer.type not in kinds:
            continue
        if any(layer.get_output(i).dtype != trt.float32 for i in outputs):
            continue  # arithmetic on sizes
        layer.precision = trt.float32
        for i in outputs:
            layer.set_output_type(i, trt.float32)
        held += 1
    return held


def open_engine(path: Path) -> TensorRtEncoder:
    """An engine with its card beside it.

    Raises:
        MissingExtra: no tensorrt package, one of another version, or no GPU.
        CardError: no card, a damaged one, or one of another engine.
        ModelError: not an engine that this GPU and this TensorRT can run.
    """
    require_major()
    reason = why_not()
    if reason:
        raise MissingExtra(f"{path}", "tensorrt", reason)
    return TensorRtEncoder(path, read_card(path))


class TensorRtEncoder:
    """An engine, run through PyTorch's GPU memory; the same protocol as every encoder."""

    def __init__(self, path: Path, card: ModelCard) -> None:
        """Open an engine that this kind of GPU built."""
        import tensorrt as trt

        self.path, self.card = path, card
        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine: Any = runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise ModelError(f"{path}: built by another TensorRT or for another GPU; build it here")
        self._context: Any = self._engine.create_execution_context()

    @property
    def model_hash(self) -> str:
        """SHA-256 of the engine."""
        return file_hash(self.path)

    def __call__(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Waveforms [B, S] -> embeddings [B, D]."""
        value = np.ascontiguousarray(waveforms, dtype=np.float32)
        if self.card.input == "fbank":
            value = np.stack([log_mel(row, self.card.fbank) for row in value])
        if not self._context.set_input_shape(self.card.input, tuple(value.shape)):
            shapes = shapes_for(self.card)
            raise ModelError(
                f"{self.path}: the engine takes {shapes.least} to {shapes.most}, got {value.shape}"
            )
        fed = torch.from_numpy(value).cuda()
        out = torch.empty(len(value), self.card.embedding_size, device="cuda")
        self._context.set_tensor_address(self.card.input, fed.data_ptr())
        self._context.set_tensor_address("embedding", out.data_ptr())
        stream = torch.cuda.current_stream()
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise ModelError(f"{self.path}: the engine failed on {value.shape}")
        stream.synchronize()
        embeddings: NDArray[np.float32] = out.cpu().numpy()
        return embeddings
