"""A card into a copy of a model file, without the libraries that made the file.

An ONNX file is a protobuf message whose fields follow one another; the card is one entry of field
14 (metadata). The copy takes every other byte as it is and gets the new entry at its end, so that
the base install is enough. A checkpoint of Groove's own training is opened and written by
`groove.training.checkpoint`, which needs the ``train`` extra.

The copy is another file with another hash: enrolled voices belong to the file that made them, so
calibrate before enrolling.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from groove.card import METADATA_KEY, ModelCard
from groove.encoder import OnnxEncoder
from groove.errors import CardError, ModelError

METADATA_FIELD, KEY_FIELD, VALUE_FIELD = 14, 1, 2  # onnx.proto: ModelProto, StringStringEntryProto
# What a person may say of a model; the rest of a card is measured, or follows from the network.
DESCRIPTIVE = ("name", "version", "licence", "source", "parent", "training_data")
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf wire types


def write_card(model: Path, card: ModelCard, out: Path) -> Path:
    """Write a copy of a model with another card: aside, opened again, then renamed.

    Args:
        model: an ONNX model file, or a checkpoint of Groove's training.
        card: the new card.
        out: the copy; may be ``model`` itself.

    Raises:
        ModelError: the file is not what its name says, or the folder does not exist.
    """
    if not out.parent.is_dir():
        raise ModelError(f"{out}: no such folder {out.parent}; make it first")
    if model.suffix.lower() == ".onnx" and out.suffix.lower() != ".onnx":
        raise ModelError(f"{out}: a copy of {model.name} is an .onnx file; name it so")
    aside = out.with_name(f".{out.stem}.{os.getpid()}.part{out.suffix}")
    try:
        if model.suffix.lower() == ".onnx":
            aside.write_bytes(with_card(model.read_bytes(), card, str(model)))
            OnnxEncoder(aside, threads=1)  # opens, and the card fits the graph
        else:
            _write_checkpoint(model, card, aside)
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
    return out


def described(card: ModelCard, path: Path) -> ModelCard:
    """The card with what a JSON file says of the model.

    Args:
        card: of the model.
        path: holds one object; its fields are some of `DESCRIPTIVE`.

    Raises:
        CardError: the file cannot be read, is no such object, or names another field.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CardError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(fields, dict):
        raise CardError(f"{path}: holds {type(fields).__name__}; wanted one object of card fields")
    unknown = sorted(set(fields) - set(DESCRIPTIVE))
    if unknown:
        raise CardError(
            f"{path}: {unknown[0]!r} is not to be said; wanted {', '.join(DESCRIPTIVE)}"
        )
    return card.with_fields(fields)


def with_card(data: bytes, card: ModelCard, where: str = "model") -> bytes:
    """The bytes of an ONNX file with this card in place of its own.

    Raises:
        ModelError: the bytes are not a protobuf message.
    """
    kept = [
        data[start:end]
        for number, start, value, end in _fields(data, where)
        if number != METADATA_FIELD or _key(data[value:end], where) != METADATA_KEY.encode()
    ]
    entry = _bytes_field(KEY_FIELD, METADATA_KEY.encode())
    entry += _bytes_field(VALUE_FIELD, card.to_json().encode("utf-8"))
    return b"".join([*kept, _bytes_field(METADATA_FIELD, entry)])


def _write_checkpoint(model: Path, card: ModelCard, out: Path) -> None:
    # By name: training stands beside this room, and the base install has no torch.
    checkpoint: Any = importlib.import_module("groove.training.checkpoint")
    checkpoint.save(replace(checkpoint.load(model), card=card), out)


def _key(entry: bytes, where: str) -> bytes:
    for number, _, value, end in _fields(entry, where):
        if number == KEY_FIELD:
            return entry[value:end]
    return b""


def _fields(data: bytes, where: str) -> Iterator[tuple[int, int, int, int]]:
    """Number, start, start of the value, end of each field of a message."""
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position, where)
        number, kind = tag >> 3, tag & 7
        value = position
        if kind == VARINT:
            _, position = _varint(data, position, where)
        elif kind == BYTES:
            length, value = _varint(data, position, where)
            position = value + length
        elif kind in (FIXED64, FIXED32):
            position += 8 if kind == FIXED64 else 4
        else:
            position = len(data) + 1
        if position > len(data) or number == 0:
            raise ModelError(f"{where}: not an ONNX file, or cut short (byte {start})")
        yield number, start, value, position


def _varint(data: bytes, position: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    raise ModelError(f"{where}: not an ONNX file, or cut short (byte {position})")


def _bytes_field(number: int, value: bytes) -> bytes:
    return _to_varint(number << 3 | BYTES) + _to_varint(len(value)) + value


def _to_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
