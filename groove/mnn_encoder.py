"""Encoders on MNN: ``model.mnn`` and, beside it, ``model.mnn.json`` with the model card.

MNN runs on phones and on desktops; the same two files serve both. MNN's format has no place for a
card, so it lies beside the weights and names their SHA-256: a card that belongs to other weights is
refused. This is the only door to the MNN package (the ``mnn`` extra), and it opens the runtime
alone: MNN's converter, which would install a package and report its use, is never imported here
(see `groove.training.export.mnn`).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.card import ModelCard
from groove.encoder import file_hash, model_input
from groove.errors import CardError, MissingExtra, ModelError, SettingsError, UnknownModel

SUFFIX = ".mnn"
_DESCRIPTOR_LOCK = threading.Lock()


def card_path(path: Path) -> Path:
    """Where the card of an MNN file lies."""
    return path.with_name(path.name + ".json")


def write_card(path: Path, card: ModelCard) -> Path:
    """Write the card of the weights at ``path`` beside them."""
    beside = card_path(path)
    values = {"sha256": file_hash(path), "card": json.loads(card.to_json())}
    beside.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return beside


def read_card(path: Path) -> ModelCard:
    """The card beside an MNN file, if it belongs to it.

    Raises:
        CardError: no card, a damaged one, or one of other weights.
    """
    beside = card_path(path)
    if not beside.is_file():
        raise CardError(
            f"{path}: no model card beside it ({beside.name}); copy both files, or export again"
        )
    try:
        values = json.loads(beside.read_text(encoding="utf-8"))
        sha256, text = values["sha256"], json.dumps(values["card"])
    except (ValueError, KeyError, TypeError) as error:
        raise CardError(f"{beside}: damaged ({error!r}); export the model again") from None
    if sha256 != file_hash(path):
        raise CardError(f"{beside}: the card of another {path.name}; copy both files together")
    try:
        return ModelCard.from_json(text)
    except CardError as error:
        raise CardError(f"{beside}: {error}") from None


class MnnEncoder:
    """A model file on MNN.

    >>> encoder = MnnEncoder("model.mnn", threads=2)
    >>> encoder(waveforms).shape                       # [B, S] -> (B, 192)
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None) -> None:
        """Open a model file and its card.

        Args:
            path: an MNN file with a card beside it.
            threads: threads of one call; None takes the machine's cores.

        Raises:
            UnknownModel: no such file.
            MissingExtra: the MNN package is not installed.
            CardError: see `read_card`.
            ModelError: not a file that MNN can run.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise UnknownModel(f"{self.path}: no such model file")
        if threads is not None and threads < 1:
            raise SettingsError(f"threads is {threads}; wanted 1 or more")
        self._card = read_card(self.path)
        if importlib.util.find_spec("MNN") is None:
            raise MissingExtra(f"{self.path.name}", "mnn", "MNN runs it")
        self._lock = threading.Lock()  # a module keeps its scratch tensors from call to call
        with _no_banner():
            self._module, self._expr = _load(self.path, self._card.input, threads)

    @property
    def card(self) -> ModelCard:
        """The card beside the file."""
        return self._card

    @cached_property
    def model_hash(self) -> str:
        """SHA-256 of the weights' file."""
        return file_hash(self.path)

    def __call__(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode equally long waveforms.

        Args:
            waveforms: [B, S] float32.

        Returns:
            [B, D] float32, not length-normalised.

        Raises:
            EmptyAudio: fewer samples than one frame.
            ModelError: the graph failed, or gave values that are not finite.
        """
        value = model_input(waveforms, self.card)
        wanted = (len(waveforms), self.card.embedding_size)
        with self._lock:
            embeddings = self._run(value)
        if embeddings.shape != wanted:
            raise ModelError(f"{self.path}: gave {embeddings.shape} where {wanted} was wanted")
        if not np.isfinite(embeddings).all():
            raise ModelError(f"{self.path}: the model gave values that are not finite")
        return embeddings

    def _run(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        expr = self._expr
        try:
            fed = expr.const(value, list(value.shape), expr.NCHW, expr.float)
            (found,) = self._module.forward([fed])
            return np.array(found.read(), dtype=np.float32)  # a copy: MNN reuses the memory
        except Exception as error:  # MNN's errors share no base class
            raise ModelError(f"{self.path}: the model failed on {value.shape}: {error}") from error


def _load(path: Path, input_name: str, threads: int | None) -> tuple[Any, Any]:
    """The module and MNN's expression library."""
    import MNN.expr as expr
    import MNN.nn as nn

    settings = {"backend": "CPU", "numThread": threads or os.cpu_count() or 1}
    settings |= {"precision": "high", "memory": "normal"}
    try:
        runtime = nn.create_runtime_manager((settings,))
        module = nn.load_module_from_file(
            str(path), [input_name], ["embedding"], runtime_manager=runtime
        )
    except Exception as error:
        raise ModelError(f"{path}: not a file that MNN can run ({error})") from error
    if module is None:
        raise ModelError(f"{path}: not a file that MNN can run; export the model again")
    return module, expr


def _flush_c() -> None:
    with contextlib.suppress(OSError, TypeError, AttributeError):  # Windows has no such handle
        ctypes.CDLL(None).fflush(None)


@contextlib.contextmanager
def _no_banner() -> Iterator[None]:
    """MNN prints the processor's abilities on standard output, from C; keep that out of answers."""
    with _DESCRIPTOR_LOCK:
        sys.stdout.flush()
        kept, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 1)
            yield
        finally:
            _flush_c()  # else what C holds back for a pipe comes out at the end, after all
            os.dup2(kept, 1)
            os.close(kept)
            os.close(null)
