"""Every target computes what PyTorch computes, and what does not is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from numpy.typing import NDArray

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

import groove
from groove.audio import SAMPLE_RATE
from groove.encoder import Encoder, OnnxEncoder
from groove.errors import AudioError, ModelError, SettingsError
from groove.fbank import FbankConfig
from groove.manifest import Utterance
from groove.parity import Voices, bundled_voices
from groove.training import checkpoint
from groove.training.encoder import EncoderModule
from groove.training.export import Exported, Request, export_all, export_onnx, precision
from groove.training.export import tensorrt as trt
from groove.training.export.eer_gate import CUTS_S, LabelledSpeech, labelled_speech
from groove.training.export.precision import is_front_end, write_int8
from groove.training.export.source import open_source
from groove.training.networks import Network, build_encoder, new_card
from tests.conftest import ROOT
from tests.data.model.make_tiny_model import FBANK, TinyBackbone, tiny_card, tiny_module
from tests.fakes import FakeEncoder
from tests.seeded import fill
from tests.training.voices import voice, write_voices

pytestmark = pytest.mark.torch
Waveforms = NDArray[np.float32]


class Branching(nn.Module):
    """Tracing follows one branch of a condition on the length and forgets the other."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = fill(TinyBackbone(), 131)

    def forward(self, frames: Tensor) -> Tensor:
        embedding: Tensor = self.inner(frames)
        return embedding if frames.shape[1] < 500 else embedding.flip(1)


def export(folder: Path, request: Request, **more: object) -> dict[str, Exported]:
    module = more.pop("module", None) or tiny_module()
    done = export_all(
        module,  # type: ignore[arg-type]
        tiny_card(),
        folder,
        request,
        voices=bundled_voices(),
        **more,  # type: ignore[arg-type]
    )
    return {exported.target: exported for exported in done}


def same_as_torch(encoder: Encoder, least: float) -> None:
    """Independent of the gate: plain torch and a plain cosine, on lengths that the gate lacks."""
    module = tiny_module()
    for seconds, batch in ((0.7, 1), (3.3, 3), (11.0, 2)):
        waveforms = bundled_voices().rows(seconds, batch)
        with torch.inference_mode():
            wanted = module(torch.from_numpy(waveforms)).numpy()
        found = encoder(waveforms)
        assert found.shape == wanted.shape == (batch, 16)
        norms = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
        assert ((wanted * found).sum(axis=1) / norms).min() > least


def test_onnx_in_full_and_half_precision(tmp_path: Path) -> None:
    done = export(tmp_path, Request(fp16=True))
    assert [*done] == ["onnx fp32", "onnx fp16"] and all(e.holds for e in done.values())
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "export.json",
        "model.fp16.onnx",
        "model.onnx",
    ]
    for name, least in (("model.onnx", 0.99999), ("model.fp16.onnx", 0.999)):
        same_as_torch(groove.open_encoder(tmp_path / name), least)
    assert OnnxEncoder(tmp_path / "model.fp16.onnx").card.version.endswith("+fp16")
    report = json.loads((tmp_path / "export.json").read_text())
    assert report["holds"] and [t["holds"] for t in report["targets"]] == [True, True]


def test_half_precision_leaves_the_front_end_alone(tmp_path: Path) -> None:
    export(tmp_path, Request(fp16=True))
    full, half = (
        onnx.load(str(tmp_path / name)).graph for name in ("model.onnx", "model.fp16.onnx")
    )
    fronts = [[n.SerializeToString() for n in g.node if is_front_end(n)] for g in (full, half)]
    assert fronts[0] == fronts[1] and len(fronts[0]) > 8
    folded = [n for n in half.node if is_front_end(n) and n.op_type == "Constant"]
    matrices = [n.attribute[0].t for n in folded if len(n.attribute[0].t.dims) == 3]
    assert len(matrices) == 2 and all(t.data_type == onnx.TensorProto.FLOAT for t in matrices)
    stored = [t for t in half.initializer if t.data_type == onnx.TensorProto.FLOAT16]
    assert len(stored) > 5 and not any(t.data_type == 10 for t in full.initializer)
    fed = {name for n in half.node if is_front_end(n) for name in n.input}
    assert not fed & {n.output[0] for n in half.node if n.name.endswith(".cast")}


def test_frames_in(tmp_path: Path) -> None:
    done = export(tmp_path, Request(model_input="fbank"))
    encoder = OnnxEncoder(done["onnx fp32"].path)
    assert encoder.card.input == "fbank"
    same_as_torch(encoder, 0.99999)


def test_a_graph_that_is_another_function_is_not_left(tmp_path: Path) -> None:
    module = EncoderModule(FBANK, Branching()).eval()
    target = tmp_path / "model.onnx"
    target.write_bytes(b"what was there")
    with pytest.raises(ModelError, match="differs from torch: cosine .* wanted at least 0.9999"):
        export_onnx(module, tiny_card(), target)
    assert target.read_bytes() == b"what was there"
    done = export(tmp_path / "all", Request(fp16=True), module=module)
    assert [e.holds for e in done.values()] == [False, False]
    assert [p.name for p in (tmp_path / "all").iterdir()] == ["export.json"]
    assert not json.loads((tmp_path / "all" / "export.json").read_text())["holds"]


def test_old_weights_do_not_stay_under_the_name_of_what_failed(tmp_path: Path) -> None:
    if not trt.why_not():
        pytest.skip("a GPU and tensorrt are here: the engine is built instead")
    export(tmp_path, Request(tensorrt=True))
    (tmp_path / "model.onnx.json").write_text("the card beside it")
    names = {"model.onnx", "model.onnx.json", "tensorrt.waveform.onnx", "model.plan.trtexec.txt"}
    before = {name: (tmp_path / name).read_bytes() for name in names}
    module = EncoderModule(FBANK, Branching()).eval()
    done = export(tmp_path, Request(tensorrt=True), module=module)
    assert done["onnx fp32"].note == "an older one is now model.onnx.old"
    assert done["tensorrt fp32"].note.endswith("; an older one is now tensorrt.waveform.onnx.old")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.name != "export.json"} == {
        f"{name}.old": kept for name, kept in before.items()
    }
    again = export(tmp_path, Request())  # what agrees comes back under its name
    assert again["onnx fp32"].holds and again["onnx fp32"].path.read_bytes() == before["model.onnx"]
    assert again["onnx fp32"].note == ""


@pytest.mark.parametrize("runtime", ["onnx", "mnn"])
def test_eight_bits_are_not_judged_by_a_file_that_failed(runtime: str, tmp_path: Path) -> None:
    """The voices of 3 s do not reach the other branch: their error rate shows nothing."""
    if runtime == "mnn":
        pytest.importorskip("MNN")
    voices = speakers(12, 2)
    speech = LabelledSpeech("buzzes", tuple(w for _, w in voices[:4]), tuple(voices[4:]))
    module = EncoderModule(FBANK, Branching()).eval()
    request = Request(onnx=runtime == "onnx", mnn=runtime == "mnn", int8=True, margin=0.4)
    done = export(tmp_path, request, module=module, labelled=speech)
    small = done[f"{runtime} int8"]
    assert not small.holds and not small.path.exists()
    assert "the float32 file to judge 8 bits by differs from torch: cosine" in small.failed


class NotFinite(nn.Module):
    """Its file cannot even be asked: encoders refuse values that are not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = fill(TinyBackbone(), 131)

    def forward(self, frames: Tensor) -> Tensor:
        embedding: Tensor = self.inner(frames) * float("nan")
        return embedding


def test_a_network_that_is_not_finite_fails_its_gates_and_the_old_report_goes(
    tmp_path: Path,
) -> None:
    (tmp_path / "export.json").write_text('{"holds": true}')
    module = EncoderModule(FBANK, NotFinite()).eval()
    done = export(tmp_path, Request(fp16=True, tensorrt=True), module=module)
    assert len(done) == 4 and not any(e.holds for e in done.values())
    for exported in done.values():
        assert "not finite" in exported.failed and not exported.path.exists()
        assert "/." not in exported.failed  # the file's place, not that where it was tried
    report = json.loads((tmp_path / "export.json").read_text())
    assert report["finished"] and not report["holds"]
    assert all("not finite" in t["failed"] and not t["holds"] for t in report["targets"])


def test_a_converter_that_fails_leaves_the_other_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("[ONNXRuntimeError]\nno such thing")

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", crash)
    speech = LabelledSpeech("buzzes", (), tuple(speakers(3, 2)))
    request = Request(int8=True, split=True)
    done = export(tmp_path, request, labelled=speech)
    assert done["onnx fp32"].holds and done["split"].holds and not done["onnx int8"].holds
    said = "model.int8.onnx: onnxruntime's quantiser failed: [ONNXRuntimeError] no such thing"
    assert done["onnx int8"].failed == said
    assert not json.loads((tmp_path / "export.json").read_text())["holds"]


def test_a_run_that_is_cut_short_says_so_in_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    report = tmp_path / "export.json"
    report.write_text('{"holds": true}')
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(precision, "write_fp16", interrupt)
        export(tmp_path, Request(fp16=True))
    found = json.loads(report.read_text())
    assert not found["finished"] and not found["holds"]
    assert [(t["target"], t["holds"]) for t in found["targets"]] == [("onnx fp32", True)]
    with pytest.raises(ModelError, match="opset 9: wanted"):
        export(tmp_path, Request(opset=9))
    assert not report.exists()  # nothing was done, and the last run's figures are not this one's


@pytest.mark.parametrize("opset", [9, 99])
def test_an_operator_set_that_cannot_be_written_is_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"opset {opset}: wanted 17 to 20"):
        export(tmp_path / "out", Request(opset=opset))
    assert not [*(tmp_path / "out").iterdir()]


def test_a_later_operator_set_gives_the_same(tmp_path: Path) -> None:
    done = export(tmp_path, Request(opset=20))
    assert onnx.load(str(done["onnx fp32"].path)).opset_import[0].version == 20
    same_as_torch(OnnxEncoder(done["onnx fp32"].path), 0.99999)


def test_folders_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder .*; make it first"):
        export_onnx(tiny_module(), tiny_card(), tmp_path / "absent" / "model.onnx")
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, Path("/proc")):  # /proc refuses new files even to root
        with pytest.raises(ModelError, match="cannot be written to .*; choose another folder"):
            export(folder, Request())


def test_requests_that_make_no_sense() -> None:
    with pytest.raises(SettingsError, match="nothing to export"):
        Request(onnx=False)
    with pytest.raises(SettingsError, match="int8 is for onnx and mnn"):
        Request(onnx=False, split=True, int8=True)
    with pytest.raises(SettingsError, match="fp16 is for onnx, mnn and tensorrt"):
        Request(onnx=False, split=True, fp16=True)
    with pytest.raises(SettingsError, match="margin 0.7; wanted 0 to 0.5"):
        Request(margin=0.7)


def speakers(n: int, per_speaker: int) -> list[tuple[str, Waveforms]]:
    """Buzzing voices, one pitch and colour a speaker."""
    rng = np.random.default_rng(7)
    made = []
    for k in range(n):
        colour = rng.standard_normal(12)
        for _ in range(per_speaker):
            source = rng.standard_normal(3 * SAMPLE_RATE)
            source[:: 60 + 3 * k] += 8
            voice = np.convolve(source, colour)[: len(source)]
            made.append((f"s{k}", (0.1 * voice / np.abs(voice).max()).astype(np.float32)))
    return made


def test_int8_is_calibrated_and_spares_the_front_end(tmp_path: Path) -> None:
    voices = speakers(30, 2)
    speech = LabelledSpeech("buzzes", tuple(w for _, w in voices[:8]), tuple(voices[8:]))
    done = export(tmp_path, Request(int8=True, margin=0.05), labelled=speech)
    exported = done["onnx int8"]
    full, small = OnnxEncoder(done["onnx fp32"].path), OnnxEncoder(exported.path)
    assert cosines(full, small, voices).min() > 0.99
    assert exported.holds and exported.gate is not None and exported.gate.measure == "EER loss"
    graph = onnx.load(str(exported.path)).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    quantised = {
        out for node in graph.node if node.op_type == "DequantizeLinear" for out in node.output
    }
    front = [node for node in convolutions if is_front_end(node)]
    assert front and not any(set(node.input) & quantised for node in front)
    assert all(set(node.input) & quantised for node in convolutions if not is_front_end(node))
    weights = [t for t in graph.initializer if t.name.endswith("_quantized") and len(t.dims) > 1]
    assert weights and all(
        np.abs(onnx.numpy_helper.to_array(t).astype(int)).max() <= 64 for t in weights
    )
    assert OnnxEncoder(exported.path).card.version.endswith("+int8")


def cosines(a: Encoder, b: Encoder, voices: list[tuple[str, Waveforms]]) -> NDArray[np.float64]:
    """Of each voice's two embeddings, in float64 and by hand."""
    pairs = [[e(w[None])[0].astype(np.float64) for e in (a, b)] for _, w in voices]
    return np.array([x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in pairs])


def test_eight_bits_that_cost_more_than_the_margin_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last layer is lost on the way: one embedding for everybody, so an error rate of half."""
    convert = precision.write_int8

    def lose_a_layer(source: Path, *more: object, **options: object) -> None:
        model = onnx.load(str(source))
        (last,) = (t for t in model.graph.initializer if t.name == "backbone.linear.weight")
        zeros = np.zeros(tuple(last.dims), np.float32)
        last.CopyFrom(onnx.numpy_helper.from_array(zeros, last.name))
        damaged = source.with_name("damaged.onnx")
        onnx.save(model, str(damaged))
        convert(damaged, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(precision, "write_int8", lose_a_layer)
    voices = speakers(30, 2)
    speech = LabelledSpeech("buzzes", tuple(w for _, w in voices[:8]), tuple(voices[8:]))
    done = export(tmp_path, Request(int8=True, margin=0.05), labelled=speech)
    exported, gate = done["onnx int8"], done["onnx int8"].gate
    assert gate is not None and gate.measure == "EER loss" and "50.00% against" in gate.where
    assert not exported.holds and not exported.path.exists() and done["onnx fp32"].holds
    assert not json.loads((tmp_path / "export.json").read_text())["holds"]


def test_calibration_and_trials_share_no_speaker(tmp_path: Path) -> None:
    """Each recording is a constant that names its speaker, so that one hears who is where."""
    utterances = []
    for k in range(90):
        for i in range(5):
            path = tmp_path / f"{k}-{i}.wav"
            soundfile.write(path, np.full(1_600, (k + 1) / 128), SAMPLE_RATE, subtype="FLOAT")
            utterances.append(Utterance(f"u{k}-{i}", f"s{k}", path, 0.1))
    speech = labelled_speech(tmp_path, utterances)

    def heard(waveform: Waveforms) -> str:
        return f"s{round(float(waveform[0]) * 128) - 1}"

    calibrated = [heard(w) for w in speech.calibration]
    tried = [heard(w) for _, w in speech.trials]
    assert tried == [speaker for speaker, _ in speech.trials]
    assert len(calibrated) == len(set(calibrated)) == 30  # a third, one recording each
    assert not set(calibrated) & set(tried)
    assert len(set(tried)) == 60 and len(tried) == 60 * 4 and speech.n_target == 60 * 6


def test_the_eer_gate_against_rates_counted_by_hand() -> None:
    speech = LabelledSpeech("buzzes", (), tuple(speakers(10, 2)))
    pitch = {w[:200].tobytes(): int(s[1:]) for s, w in speech.trials}

    class Knowing(FakeEncoder):
        """Recognises each waveform; ``confused`` of ten speakers get a stranger's embedding."""

        def __init__(self, confused: int) -> None:
            super().__init__()
            self.confused, self.calls = confused, 0

        def __call__(self, waveforms: Waveforms) -> Waveforms:
            order = self.calls % len(speech.trials)
            self.calls += 1
            speaker, second = divmod(order, 2)
            known = (speaker + 1) % 10 if second and speaker < self.confused else speaker
            return np.eye(16, dtype=np.float32)[[known]] + np.float32(0.01)

    assert len(pitch) == 20 and speech.n_target == 10
    assert speech.check(Knowing(0), Knowing(0), margin=0).holds
    gate = speech.check(Knowing(0), Knowing(2), margin=0.05)
    # 2 of 10 targets score as strangers; 3 of 180 strangers score as the same (the swapped speech
    # against its new owner's two, one of which was swapped away, and against each other's).
    assert not gate.holds and 0.16 < gate.found <= 0.2
    assert f"{gate.found:.2%} against 0.00%" in gate.where and len(CUTS_S) == 3
    assert speech.check(Knowing(0), Knowing(2), margin=0.2).holds


def test_too_little_labelled_speech_is_refused(tmp_path: Path) -> None:
    few = [Utterance(f"u{i}", f"s{i % 5}", tmp_path / "x.wav", 1.0) for i in range(20)]
    with pytest.raises(SettingsError, match="4 speakers with two recordings and 24 target trials"):
        labelled_speech(tmp_path, few)
    # 40 speakers of 4: 27 beside the calibration, 162 pairs. One is 0.6 %, so 0.3 % cannot be seen.
    some = [Utterance(f"u{i}", f"s{i % 40}", tmp_path / "x.wav", 1.0) for i in range(160)]
    with pytest.raises(SettingsError, match="a loss of 0.003, wants 20 and 334: .*larger --margin"):
        labelled_speech(tmp_path, some)
    with pytest.raises(AudioError):  # enough for 1 %: it goes on to read them
        labelled_speech(tmp_path, some, margin=0.01)
    with pytest.raises(SettingsError, match="int8 wants labelled speech"):
        export(tmp_path, Request(int8=True))


def test_seven_bit_weights_are_the_default_and_eight_can_be_had(tmp_path: Path) -> None:
    source = export_onnx(tiny_module(), tiny_card(), tmp_path / "model.onnx")
    speech = [w for _, w in speakers(3, 1)]
    for reduced, limit in ((True, 64), (False, 127)):
        out = tmp_path / f"{reduced}.onnx"
        write_int8(source, out, tiny_card(), speech, reduce_range=reduced)
        tensors = onnx.load(str(out)).graph.initializer
        largest = max(
            np.abs(onnx.numpy_helper.to_array(t).astype(int)).max()
            for t in tensors
            if t.name.endswith("_quantized") and len(t.dims) > 1
        )
        assert limit - 2 < largest <= limit


def test_the_parts_make_the_same_network_again(tmp_path: Path) -> None:
    head = {"weight": torch.randn(5, 16)}
    export(tmp_path, Request(onnx=False, split=True), head=head)
    weights = torch.load(tmp_path / "model.pt", weights_only=True)
    module = tiny_module()
    for parameter in module.parameters():
        parameter.data.zero_()
    module.load_state_dict(weights)
    waveform = torch.from_numpy(bundled_voices().rows(1.0, 2))
    with torch.inference_mode():
        assert torch.equal(module(waveform), tiny_module()(waveform))
    found = torch.load(tmp_path / "head.pt", weights_only=True)
    assert torch.equal(found["weight"], head["weight"])
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["card"]["name"] == tiny_card().name
    assert meta["parts"]["head.pt"] == {"weight": [5, 16]}
    export(tmp_path, Request(onnx=False, split=True))  # without a head: an old one may not stay
    assert not (tmp_path / "head.pt").exists()


def test_tensorrt_without_a_gpu_writes_the_graph_and_the_line(tmp_path: Path) -> None:
    if not trt.why_not():
        pytest.skip("a GPU and tensorrt are here: the engine is built instead")
    done = export(tmp_path, Request(onnx=False, tensorrt=True, fp16=True))
    assert all(
        e.holds and "no engine: the package tensorrt is not" in e.note for e in done.values()
    )
    line = (tmp_path / "model.plan.trtexec.txt").read_text().splitlines()[1]
    assert line == (
        "trtexec --onnx=tensorrt.waveform.onnx --saveEngine=model.plan --minShapes=waveform:1x128 "
        "--optShapes=waveform:8x48000 --maxShapes=waveform:32x960000 --noTF32"
    )
    half = (tmp_path / "model.fp16.plan.trtexec.txt").read_text()
    assert "fbank:1x1x24" in half and " --fp16 --precisionConstraints=obey " in half
    for option in ("layerPrecisions", "layerOutputTypes"):
        (names,) = (w for w in half.split() if w.startswith(f"--{option}="))
        assert "/pooling/Sqrt:fp32," in names and "/block/" not in names
    frames = export(tmp_path / "frames", Request(onnx=False, tensorrt=True, model_input="fbank"))
    assert frames["tensorrt fp32"].path.name == "tensorrt.fbank.onnx"
    assert "fbank:1x1x24" in (tmp_path / "frames" / "model.plan.trtexec.txt").read_text()
    for name in ("waveform", "fbank"):
        same_as_torch(OnnxEncoder(tmp_path / f"tensorrt.{name}.onnx"), 0.99999)


def save_checkpoint(path: Path, *, cancelling: bool = False) -> Path:
    """A small ECAPA-TDNN as training saves it.

    ``cancelling``: each pooled channel is there twice, and the last layer takes +20 of one and -20
    of the other besides what it means. Half precision cannot hold 20.02.
    """
    network, fbank = Network("ecapa", 32, 16), FbankConfig()
    module = build_encoder(network, fbank)
    fill(module.backbone, 3)
    if cancelling:
        backbone = module.backbone
        with torch.no_grad():
            for tensors in (backbone.aggregate, backbone.pooling.score):
                for tensor in (tensors.weight, tensors.bias):
                    tensor[768:] = tensor[:768]
            backbone.pooling.attend.weight.zero_()
            norm = backbone.norm
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                tensor.view(2, 2, 768)[:, 1] = tensor.view(2, 2, 768)[:, 0].clone()
            backbone.linear.weight.view(32, 2, 2, 768)[:, :, 0] += 20
            backbone.linear.weight.view(32, 2, 2, 768)[:, :, 1] -= 20
    saved = checkpoint.Checkpoint(
        card=new_card(network, fbank, name="small"),
        network=network,
        model=module.backbone.state_dict(),
        config={},
        speakers=["a", "b"],
        head={"weight": torch.ones(2, 32)},
    )
    checkpoint.save(saved, path)
    return path


def run(*arguments: object, script: str = "scripts/export.py") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT
    )


@pytest.mark.slow
def test_the_seeds_command_and_its_exit_status(tmp_path: Path) -> None:
    ckpt = save_checkpoint(tmp_path / "best.pt", cancelling=True)
    out = tmp_path / "deploy"
    done = run("--ckpt", ckpt, "--out_dir", out, "--onnx", "--fp16", "--split")
    assert done.returncode == 1 and done.stderr == "", done.stderr
    lines = done.stdout.splitlines()
    assert "cosine " in lines[0] and "NOT WRITTEN  cosine 0.9" in lines[1]
    assert {p.name for p in out.iterdir()} == {
        *("model.onnx", "export.json", "model.pt", "head.pt", "meta.json")
    }
    again = run("--ckpt", ckpt, "--out_dir", out, "--split", "--json")
    assert again.returncode == 0 and json.loads(again.stdout)["holds"]
    said = tmp_path / "card.json"
    said.write_text('{"name": "张三的模型", "version": "7"}', encoding="utf-8")
    named = run("--ckpt", ckpt, "--out_dir", out, "--onnx", "--card", said)
    assert named.returncode == 0, named.stderr
    card = OnnxEncoder(out / "model.onnx").card
    assert (card.name, card.version) == ("张三的模型", "7")
    said.write_text('{"thresholds": []}', encoding="utf-8")
    wrong = run("--ckpt", ckpt, "--out_dir", tmp_path / "none", "--onnx", "--card", said)
    assert wrong.returncode == 2 and "'thresholds' is not to be said" in wrong.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_the_command_with_eight_bits(tmp_path: Path) -> None:
    """36 voices: 12 for the ranges, 24 of four recordings, so 144 target trials."""
    ckpt = save_checkpoint(tmp_path / "best.pt")
    write_voices(tmp_path, "voices", range(36), 4, seconds=0.8)
    arguments = ("--ckpt", ckpt, "--out_dir", tmp_path / "deploy", "--int8")
    done = run(*arguments, "--speech", tmp_path / "voices", "--margin", "0.1", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    full, small = json.loads(done.stdout)["targets"]
    assert (full["file"], small["file"]) == ("model.onnx", "model.int8.onnx")
    assert small["gate"]["measure"] == "EER loss" and small["gate"]["wanted"] == 0.1
    assert small["gate"]["measured_on"].startswith("144 target trials of")
    encoders = [groove.open_encoder(tmp_path / "deploy" / t["file"]) for t in (full, small)]
    unheard = [("s", voice(speaker, 9, 1.0)) for speaker in range(40, 48)]
    assert cosines(encoders[0], encoders[1], unheard).min() > 0.9
    assert 2 * small["bytes"] < full["bytes"]


def test_checkpoints_that_cannot_be_exported(tmp_path: Path) -> None:
    public, other = tmp_path / "public.pt", tmp_path / "other.pt"
    torch.save({"layer1.conv.weight": torch.zeros(8, 80, 5)}, public)
    values = torch.load(save_checkpoint(other), weights_only=True)
    values["network"]["channels"] = 32
    torch.save(values, other)
    for path, kind, message in (
        (public, None, "for a public one add  --kind KIND"),
        (public, "wespeaker-ecapa", "is it another kind"),
        (other, None, "a damaged checkpoint"),
        (tmp_path / "absent.pt", None, "no such checkpoint"),
    ):
        with pytest.raises(groove.GrooveError, match=message):
            open_source(path, kind)
        more = [] if kind is None else ["--kind", kind]
        if kind is None and path is other:
            done = run("--ckpt", path, "--out_dir", tmp_path / "out", *more)
            assert done.returncode == 2 and done.stderr.count("\n") == 1
            assert message in done.stderr and not (tmp_path / "out").exists()


def test_voices_may_be_anything_that_is_long_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    voices = Voices("noise", (rng.standard_normal(5_000).astype(np.float32),))
    done = export_all(tiny_module(), tiny_card(), tmp_path, Request(), voices=voices)
    assert done[0].holds and done[0].gate is not None and done[0].gate.measured_on == "noise"
