"""A model file -> a smaller one: weights in half precision, or 8-bit arithmetic.

The front end stays float32 in both: the power of 16-bit speech overflows float16, and eight bits
ruin its logarithm. Its nodes are known by the name that tracing gives them (``/front_end/...``).

**fp16** stores the weight matrices of the backbone as float16; onnxruntime casts them once, at
load. Half the bytes, the same arithmetic and speed.

**int8** is static: 8-bit unsigned activations with ranges measured on speech, signed weights per
channel, as quantise-dequantise pairs. Weights use 7 bits (``reduce_range``), because on processors
with AVX2 but no VNNI two products of 8 by 8 bits are added in 16 bits and clip; with 7 bits they
cannot, so the file gives the same numbers on both kinds of machine. Biases, statistics, softmax and
products of two activations stay float32.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from groove.card import ModelCard
from groove.errors import ModelError
from groove.fbank import log_mel
from groove.training.export.onnx_file import put_card

FRONT_END = "/front_end/"
QUANTISED = ("Conv", "MatMul", "Gemm")
_HALF_MAX = 65504.0


def write_fp16(source: Path, path: Path, card: ModelCard) -> None:
    """Write ``source`` again with the backbone's weight matrices as float16, and this card."""
    model = onnx.load(str(source))
    graph = model.graph
    kept = {name for node in graph.node if is_front_end(node) for name in node.input}
    casts = []
    for tensor in graph.initializer:
        if tensor.name in kept or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max(initial=0.0) > _HALF_MAX:
            continue
        name = tensor.name
        half = numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16")
        tensor.CopyFrom(half)
        casts.append(
            helper.make_node("Cast", [half.name], [name], f"{name}.cast", to=TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(path))
    put_card(path, card)


def write_int8(
    source: Path,
    path: Path,
    card: ModelCard,
    speech: Sequence[NDArray[np.float32]],
    *,
    reduce_range: bool = True,
) -> None:
    """Write ``source`` again with 8-bit convolutions and products.

    Args:
        source: a float32 model file.
        path: the file to write.
        card: its card.
        speech: waveforms [S] whose activations set the ranges.
        reduce_range: 7-bit weights; see above.

    Raises:
        ModelError: onnxruntime's quantiser failed.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    try:
        with _no_advice():
            quantize_static(
                str(source),
                str(path),
                _Reader(card, speech),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_quantize=_quantisable(source),
                per_channel=True,
                reduce_range=reduce_range,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
    except Exception as error:  # its errors share no base class
        said = " ".join(str(error).split())[:300]
        raise ModelError(f"{path.name}: onnxruntime's quantiser failed: {said}") from error
    put_card(path, card)


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """The quantiser advises a folding, through the root logger, that tracing has done already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def is_front_end(node: onnx.NodeProto) -> bool:
    """Whether tracing saw this node inside the front end."""
    return node.name.startswith(FRONT_END)


def _quantisable(source: Path) -> list[str]:
    """Nodes of the backbone with a constant weight."""
    graph = onnx.load(str(source)).graph
    constant = {tensor.name for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type in QUANTISED and not is_front_end(node) and node.input[1] in constant
    ]


class _Reader:
    """Hands calibration speech to onnxruntime's quantiser, one utterance a call."""

    def __init__(self, card: ModelCard, speech: Sequence[NDArray[np.float32]]) -> None:
        self._feeds = self._make(card, speech)

    @staticmethod
    def _make(
        card: ModelCard, speech: Sequence[NDArray[np.float32]]
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        for waveform in speech:
            value = waveform if card.input == "waveform" else log_mel(waveform, card.fbank)
            yield {card.input: value[None]}

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next input, or None."""
        return next(self._feeds, None)

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, NDArray[np.float32]]:
        return next(self._feeds)
