"""TensorRT without a GPU: which switches are set and which layers are held, on a stand-in.

No engine is built or run here: see docs/deploy.md.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

import torch

from groove.errors import CardError, MissingExtra, ModelError
from groove.loading import open_encoder
from groove.training.encoder import EncoderModule
from groove.training.export import Request
from groove.training.export import tensorrt as trt
from groove.training.export.onnx_file import write_onnx
from tests.data.model.make_tiny_model import tiny_card, tiny_module
from tests.training.test_export import campplus, card_for, ecapa
from tests.training.test_export_targets import export

pytestmark = pytest.mark.torch
KINDS = {
    "Sqrt": "UNARY",
    "Softmax": "SOFTMAX",
    "Conv": "CONVOLUTION",
    "Gemm": "MATRIX_MULTIPLY",
} | {
    **dict.fromkeys(("ReduceMean", "ReduceSum"), "REDUCE"),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), "ELEMENTWISE"),
    **dict.fromkeys(("Clip", "Tanh"), "ACTIVATION"),
}


class Layer:
    """A layer as the parser would make it of a node."""

    def __init__(self, name: str, kind: str, dtype: str = "float32") -> None:
        self.name, self.type, self.dtype = name, kind, dtype
        self.num_outputs, self.precision, self.outputs = 1, "", {}

    def get_output(self, _: int) -> SimpleNamespace:
        return SimpleNamespace(dtype=self.dtype)

    def set_output_type(self, index: int, dtype: str) -> None:
        self.outputs[index] = dtype


class Stand:
    """The part of TensorRT's Python package that is called, and what it was told."""

    def __init__(self, version: str) -> None:
        self.layers: list[Layer] = []
        self.set: list[str] = []
        self.cleared: list[str] = []
        self.takes_shape = False
        module = ModuleType("tensorrt")
        module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
        names = [
            "UNARY",
            "SOFTMAX",
            "CONVOLUTION",
            "MATRIX_MULTIPLY",
            "REDUCE",
            "ELEMENTWISE",
            "ACTIVATION",
        ]
        settings = SimpleNamespace(
            set_memory_pool_limit=lambda *_: None,
            set_flag=self.set.append,
            clear_flag=self.cleared.append,
            add_optimization_profile=lambda _: 0,
        )
        builder = SimpleNamespace(
            create_network=self.network,
            create_builder_config=lambda: settings,
            create_optimization_profile=lambda: SimpleNamespace(set_shape=lambda *_: None),
            build_serialized_network=lambda *_: b"engine",
        )
        context = SimpleNamespace(set_input_shape=lambda *_: self.takes_shape)
        engine = SimpleNamespace(create_execution_context=lambda: context)
        values = {
            "__version__": version,
            "float32": "float32",
            "Logger": type("Logger", (), {"ERROR": 0, "__init__": lambda self, _: None}),
            "Builder": lambda _: builder,
            "OnnxParser": lambda *_: SimpleNamespace(parse=self.parse),
            "BuilderFlag": SimpleNamespace(
                FP16="FP16", TF32="TF32", OBEY_PRECISION_CONSTRAINTS="OBEY"
            ),
            "MemoryPoolType": SimpleNamespace(WORKSPACE=0),
            "LayerType": SimpleNamespace(**{name: name for name in names}),
            "Runtime": lambda _: SimpleNamespace(deserialize_cuda_engine=lambda _: engine),
        }
        vars(module).update(values)
        self.module = module

    def network(self, _: int) -> SimpleNamespace:
        return SimpleNamespace(get_layer=lambda i: self.layers[i], num_layers=len(self.layers))

    def parse(self, graph: bytes) -> bool:
        nodes = onnx.load_from_string(graph).graph.node
        self.layers += [Layer(n.name, KINDS.get(n.op_type, "SHUFFLE")) for n in nodes]
        self.layers.append(Layer("/pooling/Mul_77", "ELEMENTWISE", "int64"))  # of sizes
        return True


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Stand]:
    def install(version: str = "10.16.1") -> Stand:
        made = Stand(version)
        monkeypatch.setitem(sys.modules, "tensorrt", made.module)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        return made

    return install


def frames_in(path: Path, module: EncoderModule, card: object) -> Path:
    write_onnx(module, replace(card, input="fbank"), path)  # type: ignore[type-var]
    return path


def test_another_major_version_is_refused_before_anything_is_written(
    stand: Callable[[str], Stand], tmp_path: Path
) -> None:
    stand("11.4.0.106")
    with pytest.raises(MissingExtra, match=r"TensorRT 11.4.0.106 is installed, wanted 10.x"):
        export(tmp_path / "out", Request(onnx=False, tensorrt=True))
    assert not (tmp_path / "out").exists()


def test_half_precision_spares_the_pooling(stand: Callable[[], Stand], tmp_path: Path) -> None:
    told, card = stand(), replace(tiny_card(), input="fbank")
    source = frames_in(tmp_path / "f.onnx", tiny_module(), card)
    # the stand-in counts its layers before it parses, unlike the package
    told.parse(source.read_bytes())
    told.module.OnnxParser = lambda *_: SimpleNamespace(parse=lambda _: True)
    trt.write_engine(source, tmp_path / "m.plan", card, "fp16")
    held = {layer.name for layer in told.layers if layer.precision == "float32"}
    assert held == set(trt.pooling_nodes(source))
    assert {"/pooling/Sqrt", "/pooling/Sqrt_1", "/pooling/Softmax", "/pooling/score/Conv"} <= held
    assert all(layer.outputs == {0: "float32"} for layer in told.layers if layer.name in held)
    assert told.set == ["FP16", "OBEY"] and told.cleared == []
    full = stand()
    full.layers = [Layer("/pooling/Sqrt", "UNARY")]
    trt.write_engine(source, tmp_path / "m.plan", card, "fp32")
    assert full.set == [] and full.cleared == ["TF32"] and full.layers[0].precision == ""
    none = stand()
    none.module.OnnxParser = lambda *_: SimpleNamespace(parse=lambda _: True)
    with pytest.raises(ModelError, match="no pooling layer to hold at float32"):
        trt.write_engine(source, tmp_path / "m.plan", card, "fp16")


@pytest.mark.parametrize("make", [ecapa, campplus])
def test_the_pooling_is_found_in_both_networks(
    make: Callable[[], EncoderModule], tmp_path: Path
) -> None:
    """Every root and softmax of theirs is the pooling's, and so is a square beside each root."""
    module = make()
    source = frames_in(tmp_path / "f.onnx", module, card_for(module))
    kept = set(trt.pooling_nodes(source))
    nodes = onnx.load(str(source)).graph.node
    delicate = {n.name for n in nodes if n.op_type in ("Sqrt", "Softmax")}
    assert delicate and delicate <= kept
    squares = {n.name for n in nodes if n.op_type == "Mul" and n.input[0] == n.input[1]}
    assert squares and squares <= kept
    assert len(kept) < len(nodes) / 2


def test_an_engine_opens_with_its_card_and_refuses_other_shapes(
    stand: Callable[[], Stand], tmp_path: Path
) -> None:
    told, path = stand(), tmp_path / "model.plan"
    path.write_bytes(b"engine")
    with pytest.raises(CardError, match="no model card beside it"):
        open_encoder(path)
    trt.write_card(path, tiny_card())
    encoder = open_encoder(path)
    assert isinstance(encoder, trt.TensorRtEncoder) and encoder.card.name == tiny_card().name
    assert not told.takes_shape
    with pytest.raises(ModelError, match=r"takes \(1, 128\) to \(32, 960000\), got \(33, 800\)"):
        encoder(np.zeros((33, 800), np.float32))


def test_an_engine_without_tensorrt_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trt, "why_not", lambda: "no NVIDIA GPU is visible to PyTorch")
    path = tmp_path / "model.plan"
    path.write_bytes(b"engine")
    with pytest.raises(MissingExtra, match=r"no NVIDIA GPU .*pip install 'groove-sv\[tensorrt\]'"):
        open_encoder(path)
