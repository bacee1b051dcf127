"""Model files with another card, made without the onnx package: a few lines of protobuf.

An ONNX file is a protobuf message; field 14 of its top level are the metadata entries, each a
message of key (1) and value (2). https://onnx.ai/onnx/repo-docs/IR.html, onnx.proto3
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groove.card import METADATA_KEY, ModelCard
from groove.encoder import OnnxEncoder
from tests.conftest import ROOT

TINY_MODEL = ROOT / "tests" / "data" / "model" / "tiny.onnx"
TINY_FEATURES_MODEL = TINY_MODEL.with_name("tiny_features.onnx")
_METADATA, _BYTES = 14, 2


def tiny_card() -> ModelCard:
    return OnnxEncoder(TINY_MODEL, threads=1).card


def with_card(folder: Path, card: str | None, model: Path = TINY_MODEL) -> Path:
    """A copy of ``model`` with this text as its card; None: without one."""
    kept = b"".join(part for number, part in _fields(model.read_bytes()) if number != _METADATA)
    if card is not None:
        entry = _text(1, METADATA_KEY) + _text(2, card)
        kept += _tag(_METADATA) + _varint(len(entry)) + entry
    path = folder / "changed.onnx"
    path.write_bytes(kept)
    return path


def with_fields(folder: Path, model: Path = TINY_MODEL, **changes: Any) -> Path:
    """A copy whose card's JSON has other values."""
    return with_card(folder, json.dumps(json.loads(tiny_card().to_json()) | changes), model)


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Top-level fields: number, and the bytes with their tag."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _read_varint(data, at)
        if tag & 7 == _BYTES:
            length, at = _read_varint(data, at)
            at += length
        else:
            assert tag & 7 == 0, "an ONNX model's top level holds numbers and messages"
            _, at = _read_varint(data, at)
        yield tag >> 3, data[start:at]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _tag(number: int) -> bytes:
    return _varint(number << 3 | _BYTES)


def _text(number: int, text: str) -> bytes:
    data = text.encode()
    return _tag(number) + _varint(len(data)) + data
