"""Everything that a deployment was asked for, one target after the other, each behind its gate.

PyTorch is the reference of every float target. 8-bit targets are judged by their error rate
against the float32 model file, which must agree with PyTorch itself, asked for or not. A target
whose gate does not hold, or whose file cannot be made or run, leaves no file of its name (an
earlier run's becomes ``NAME.old``); the others go on, and the caller's exit status says it.
``export.json`` of an earlier run is taken away first.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from groove.card import ModelCard
from groove.encoder import Encoder, OnnxEncoder
from groove.errors import ModelError, ScoringError, SettingsError
from groove.mnn_encoder import MnnEncoder
from groove.parity import MIN_COSINE, Gate, ParityGate, Voices
from groove.training.encoder import EncoderModule, TorchEncoder
from groove.training.export import mnn, precision, tensorrt
from groove.training.export.aside import aside, set_aside
from groove.training.export.eer_gate import DEFAULT_MARGIN, LabelledSpeech
from groove.training.export.onnx_file import OPSET, write_onnx
from groove.training.export.outcome import REPORT, Exported, write_report
from groove.training.export.split import split

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What was asked for. Every runtime gets float32, and the smaller forms where asked."""

    onnx: bool = True
    mnn: bool = False
    tensorrt: bool = False
    fp16: bool = False
    int8: bool = False
    split: bool = False
    model_input: str = "waveform"
    opset: int = OPSET
    margin: float = DEFAULT_MARGIN

    def __post_init__(self) -> None:
        """Refuse what cannot be honoured."""
        if not (self.onnx or self.mnn or self.tensorrt or self.split):
            raise SettingsError("nothing to export; ask for onnx, mnn, tensorrt or split")
        if self.int8 and not (self.onnx or self.mnn):
            raise SettingsError("int8 is for onnx and mnn; ask for one of them")
        if self.fp16 and not (self.onnx or self.mnn or self.tensorrt):
            raise SettingsError("fp16 is for onnx, mnn and tensorrt; ask for one of them")
        if not 0 <= self.margin < 0.5:
            raise SettingsError(f"margin {self.margin:g}; wanted 0 to 0.5")


@dataclass
class _Work:
    """What all targets of one run share."""

    module: EncoderModule
    card: ModelCard
    folder: Path
    request: Request
    scratch: Path
    parity: ParityGate
    labelled: LabelledSpeech | None
    progress: Progress
    done: list[Exported] = field(default_factory=list)
    _full: tuple[OnnxEncoder, Gate] | None = None

    def source(self, model_input: str) -> tuple[Path, ModelCard]:
        """A float32 ONNX file with this input, traced once, and its card."""
        card = self.card.with_fields({"input": model_input})
        path = self.scratch / f"{model_input}.onnx"
        if not path.exists():
            self.progress(f"tracing ({model_input} in)")
            write_onnx(self.module, card, path, opset=self.request.opset)
        return path, card

    def full_precision(self) -> tuple[OnnxEncoder, Gate]:
        """The float32 file, and how its own gate went: both are had once."""
        if self._full is None:
            encoder = OnnxEncoder(self.source(self.request.model_input)[0])
            self._full = encoder, self.parity.check(encoder, MIN_COSINE["fp32"])
        return self._full


def export_all(
    module: EncoderModule,
    card: ModelCard,
    folder: Path,
    request: Request,
    *,
    voices: Voices,
    labelled: LabelledSpeech | None = None,
    head: dict[str, torch.Tensor] | None = None,
    progress: Progress = lambda text: None,
) -> list[Exported]:
    """Write every target of ``request`` into ``folder``, and a report beside them.

    Args:
        module: front end and backbone.
        card: what the files will say.
        folder: made if it is not there.
        request: the targets.
        voices: what PyTorch and the targets are compared on.
        labelled: speech for the 8-bit targets.
        head: the classifier's weights, for ``split``.
        progress: told what is being done.

    Returns:
        One entry a target, in the order of writing; ``holds`` says whether its gate did.

    Raises:
        SettingsError: int8 without labelled speech.
        MissingExtra: a runtime's package is not installed, or in another version.
        ModelError: the network cannot be traced, or the folder cannot be written to. What was
            finished stays, and the report says that the run was not.
    """
    if request.int8 and labelled is None:
        raise SettingsError(
            "int8 wants labelled speech for its ranges and its error rate: give --speech"
        )
    if request.mnn:
        mnn.require_mnn()
    if request.tensorrt:
        tensorrt.require_major()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT).unlink(missing_ok=True)  # what an earlier run found is no longer so
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as scratch:
            parity = ParityGate(TorchEncoder(module, card), voices)
            work = _Work(module, card, folder, request, Path(scratch), parity, labelled, progress)
            _write(work, head)
    except OSError as error:
        raise ModelError(
            f"{folder}: cannot be written to ({error.strerror or error}); choose another folder"
        ) from error
    return work.done


def _write(work: _Work, head: dict[str, torch.Tensor] | None) -> None:
    """Every target; however this ends, the report says what was done."""
    finished = False
    try:
        for wanted, write in (
            (work.request.onnx, _onnx),
            (work.request.mnn, _mnn),
            (work.request.tensorrt, _tensorrt),
        ):
            if wanted:
                write(work)
        if work.request.split:
            for path in split(work.module, work.card, head, work.folder):
                work.done.append(Exported("split", path, path.stat().st_size))
        finished = True
    finally:
        if work.done:
            write_report(work.folder, work.card, work.done, finished=finished)


def _onnx(work: _Work) -> None:
    path, card = work.source(work.request.model_input)
    with _target(work, "onnx fp32", "model.onnx") as out:
        out.path.write_bytes(path.read_bytes())
        _, out.gate = work.full_precision()  # the same bytes
    if work.request.fp16:
        with _target(work, "onnx fp16", "model.fp16.onnx") as out:
            precision.write_fp16(path, out.path, _marked(card, "fp16"))
            out.gate = work.parity.check(OnnxEncoder(out.path), MIN_COSINE["fp16"])
    if work.request.int8 and work.labelled:
        with _target(work, "onnx int8", "model.int8.onnx") as out:
            work.progress("measuring 8-bit ranges")
            precision.write_int8(path, out.path, _marked(card, "int8"), work.labelled.calibration)
            out.gate = _eer_gate(work, OnnxEncoder(out.path))


def _mnn(work: _Work) -> None:
    for kind in _precisions(work.request):
        model_input = mnn.input_for(kind)
        if work.request.model_input == "fbank":
            model_input = "fbank"
        path, card = work.source(model_input)
        card = card if kind == "fp32" else _marked(card, kind)
        name = "model.mnn" if kind == "fp32" else f"model.{kind}.mnn"
        note = "" if model_input == work.request.model_input else "takes frames"
        with _target(work, f"mnn {kind}", name, note) as out:
            mnn.write_mnn(path, out.path, card, kind)
            encoder = MnnEncoder(out.path)
            if kind == "int8":
                out.gate = _eer_gate(work, encoder)
            else:
                out.gate = work.parity.check(encoder, MIN_COSINE[kind])


def _tensorrt(work: _Work) -> None:
    for kind in _precisions(work.request, without=("int8",)):
        model_input = tensorrt.input_for(kind)
        if work.request.model_input == "fbank":
            model_input = "fbank"
        path, card = work.source(model_input)
        name = "model.plan" if kind == "fp32" else f"model.{kind}.plan"
        reason = tensorrt.why_not()
        if not reason:
            with _target(work, f"tensorrt {kind}", name) as out:
                tensorrt.write_engine(path, out.path, card, kind)
                out.gate = work.parity.check(
                    tensorrt.TensorRtEncoder(out.path, card), MIN_COSINE[kind]
                )
            continue
        graph = f"tensorrt.{model_input}.onnx"
        held = tensorrt.pooling_nodes(path)
        line = tensorrt.trtexec_line(graph, name, card, kind, held)
        with _target(work, f"tensorrt {kind}", graph, f"no engine: {reason}; run  {line}") as out:
            out.path.write_bytes(path.read_bytes())
            out.gate = work.parity.check(OnnxEncoder(out.path), MIN_COSINE["fp32"])
        text = work.folder / f"{name}.trtexec.txt"
        if not work.done[-1].holds:
            set_aside(text)
            continue
        with aside(text) as path:
            where = f"a GPU and TensorRT {tensorrt.MAJOR}"
            path.write_text(f"# {reason}; on a machine with {where}, in this folder:\n{line}\n")


class _Out:
    """A target that is being written: the path to write to, and the gate when it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.gate: Gate | None = None


class _GateFailed(Exception):
    """Leaves the block of `aside`, so that nothing is renamed into place."""


@contextlib.contextmanager
def _target(work: _Work, target: str, name: str, note: str = "") -> Iterator[_Out]:
    final = work.folder / name
    work.progress(target)
    out, size, failed = _Out(final), 0, ""
    try:
        with aside(final) as path:
            out.path = path
            yield out
            if out.gate is not None and not out.gate.holds:
                raise _GateFailed
        size = final.stat().st_size
    except _GateFailed:
        pass
    except (ModelError, ScoringError) as error:  # a converter's, or of values that are not finite
        failed = str(error).replace(str(out.path), str(final))
        failed = failed.replace(str(work.scratch), str(work.folder))  # a traced file's place
    if not size:  # old weights under this name would pass for the new
        note = "; ".join(text for text in (note, set_aside(final)) if text)
    work.done.append(Exported(target, final, size, out.gate, note, failed))


def _eer_gate(work: _Work, exported: Encoder) -> Gate:
    """Error rates beside those of the float32 file, faster than PyTorch."""
    assert work.labelled is not None
    reference, gate = work.full_precision()
    if not gate.holds:
        raise ModelError(f"the float32 file to judge 8 bits by differs from torch: {gate}")
    return work.labelled.check(
        reference, exported, margin=work.request.margin, progress=work.progress
    )


def _precisions(request: Request, without: tuple[str, ...] = ()) -> list[str]:
    asked = {"fp32": True, "fp16": request.fp16, "int8": request.int8}
    return [kind for kind, wanted in asked.items() if wanted and kind not in without]


def _marked(card: ModelCard, kind: str) -> ModelCard:
    """Embeddings of another precision are another model's: the version says so."""
    return card.with_fields({"version": f"{card.version}+{kind}"})
