"""MNN: the same numbers, and a converter that neither installs nor sends."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
if importlib.util.find_spec("MNN") is None:
    pytest.skip("the mnn extra is not installed", allow_module_level=True)

import groove
from groove import models
from groove.audio import read_audio
from groove.encoder import OnnxEncoder
from groove.errors import CardError, EmptyAudio, ModelError, SettingsError, UnknownModel
from groove.mnn_encoder import MnnEncoder, card_path, write_card
from groove.parity import MIN_COSINE, ParityGate, bundled_voices
from groove.training.export import Request, mnn, sealed
from groove.training.export.eer_gate import LabelledSpeech
from groove.training.export.sealed import sealed_command
from tests.conftest import ROOT, VOICE_A, VOICE_B
from tests.data.model.make_tiny_model import TINY_MODEL, tiny_card
from tests.training.test_export_targets import cosines, export, same_as_torch, speakers

pytestmark = pytest.mark.torch


def frozen_packages() -> str:
    """What is installed, by name and version."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "freeze", "--all"], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mnn")
    before = frozen_packages()
    assert "mnn==" in before.lower()
    done = export(folder, Request(onnx=False, mnn=True, fp16=True))
    assert frozen_packages() == before
    assert all(e.holds for e in done.values())
    assert [e.note for e in done.values()] == ["", "takes frames"]
    return folder


def test_the_same_numbers_as_torch(exported: Path) -> None:
    files = {"model.mnn", "model.mnn.json", "model.fp16.mnn", "model.fp16.mnn.json"}
    assert {p.name for p in exported.iterdir()} == files | {"export.json"}
    for name, model_input, least in (
        ("model.mnn", "waveform", 0.99999),
        ("model.fp16.mnn", "fbank", 0.999),
    ):
        encoder = groove.open_encoder(exported / name, threads=1)
        assert isinstance(encoder, MnnEncoder) and encoder.card.input == model_input
        same_as_torch(encoder, least)
    assert (exported / "model.fp16.mnn").stat().st_size < (exported / "model.mnn").stat().st_size


def test_compare_takes_it_with_the_card_beside_it(exported: Path) -> None:
    scores = []
    for model in (exported / "model.mnn", TINY_MODEL):
        done = subprocess.run(
            [sys.executable, "-m", "groove", "compare", str(VOICE_A), str(VOICE_B), "--json"]
            + ["--model", str(model)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
        )
        assert done.stderr == "" and done.returncode in (0, 1)
        scores.append(json.loads(done.stdout))  # MNN's banner would break this
    assert scores[0]["score"] == pytest.approx(scores[1]["score"], abs=1e-4)
    assert scores[0]["threshold"] == scores[1]["threshold"]


@pytest.mark.model
@pytest.mark.slow
def test_real_weights_and_real_speech(tmp_path: Path) -> None:
    if models.installed("campplus-zh-en") is None:
        pytest.skip("campplus-zh-en is not here: groove models pull campplus-zh-en")
    reference = OnnxEncoder(models.model_path("campplus-zh-en"))
    out = tmp_path / "model.mnn"
    mnn.write_mnn(reference.path, out, reference.card, "fp32")
    gate = ParityGate(reference, bundled_voices(), (0.1, 2.345, 5.0)).check(
        MnnEncoder(out), MIN_COSINE["fp32"]
    )
    assert gate.holds, gate


def test_int8_weights_are_judged_by_the_error_rate(tmp_path: Path) -> None:
    voices = speakers(30, 2)
    speech = LabelledSpeech("buzzes", tuple(w for _, w in voices[:8]), tuple(voices[8:]))
    request = Request(onnx=False, mnn=True, int8=True, margin=0.05)
    done = export(tmp_path, request, labelled=speech)
    gate = done["mnn int8"].gate
    assert gate is not None and gate.holds and gate.measure == "EER loss"
    small = MnnEncoder(tmp_path / "model.int8.mnn")
    assert small.card.version.endswith("+int8")
    assert cosines(MnnEncoder(tmp_path / "model.mnn"), small, voices).min() > 0.99


def test_a_row_does_not_depend_on_its_mates_or_on_what_was_asked_before(exported: Path) -> None:
    encoder = MnnEncoder(exported / "model.mnn", threads=1)
    voice = read_audio(VOICE_A)
    rows = np.stack([voice[:32_000], voice[8_000:40_000]])
    both, (alone,) = encoder(rows), encoder(rows[1:])
    encoder(voice[None])
    assert np.allclose(both[1], alone, atol=1e-5 * np.abs(alone).max())
    assert np.array_equal(encoder(rows[1:])[0], alone)
    assert np.allclose(OnnxEncoder(TINY_MODEL)(rows), both, atol=1e-3 * np.abs(both).max())


def test_what_cannot_be_opened_says_why(exported: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.mnn"
    with pytest.raises(UnknownModel, match="no such model file"):
        MnnEncoder(model)
    shutil.copy(exported / "model.mnn", model)
    with pytest.raises(CardError, match=r"no model card beside it \(model.mnn.json\)"):
        MnnEncoder(model)
    shutil.copy(card_path(exported / "model.fp16.mnn"), card_path(model))
    with pytest.raises(CardError, match="the card of another model.mnn"):
        MnnEncoder(model)
    card_path(model).write_text("{}")
    with pytest.raises(CardError, match="damaged"):
        MnnEncoder(model)
    with pytest.raises(SettingsError, match="wanted 1 or more"):
        MnnEncoder(exported / "model.mnn", threads=0)
    encoder = MnnEncoder(exported / "model.mnn")
    with pytest.raises(EmptyAudio, match="less than one frame"):
        encoder(np.zeros((1, 20), np.float32))
    with pytest.raises(ValueError, match=r"wanted \[B, S\]"):
        encoder(np.zeros(100, np.float32))


def test_a_file_that_mnn_cannot_run(tmp_path: Path) -> None:

    junk = tmp_path / "junk.mnn"
    junk.write_bytes(b"junk" * 100)
    write_card(junk, tiny_card())
    with pytest.raises(ModelError, match="not a file that MNN can run"):
        MnnEncoder(junk)


def test_a_converter_that_fails_leaves_nothing(tmp_path: Path) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")
    with pytest.raises(ModelError, match="MNN's converter failed"):
        mnn.write_mnn(junk, tmp_path / "out.mnn", tiny_card(), "fp32")
    assert [p.name for p in tmp_path.iterdir() if "card" in p.name or p.suffix == ".json"] == []


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['MNN'] = None; from groove.cli import main; main()"
    model = tmp_path / "model.mnn"
    model.write_bytes(b"x")

    write_card(model, tiny_card())
    done = subprocess.run(
        [sys.executable, "-c", program, "compare", str(VOICE_A), str(VOICE_B)]
        + ["--model", str(model)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2 and "pip install 'groove-sv[mnn]'" in done.stderr


ATTEMPTS = {
    "import pip": "import pip",
    "the wrapper's logger": "import MNN.tools.utils.log",
    "the wrapper's package": "import aliyun.log",
    "a shell": "import os; os.system('echo reached')",
    "a process": "import subprocess; subprocess.run(['echo', 'reached'])",
    "a pipe": "import os; os.popen('echo reached').read()",
    "a socket": "import socket; socket.create_connection(('127.0.0.1', 9))",
    "a name": "import socket; socket.getaddrinfo('localhost', 80)",
    "a page": "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
    "a fork": "import os; os.fork()",
}


@pytest.mark.parametrize("attempt", [*ATTEMPTS])
def test_the_sealed_process_neither_installs_nor_connects(attempt: str, tmp_path: Path) -> None:
    script = tmp_path / "attempt.py"
    script.write_text(f"print('started', flush=True)\n{ATTEMPTS[attempt]}\nprint('done')\n")
    command = sealed_command(script, [])
    assert Path(sealed.__file__).name in " ".join(command)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "started\n" and done.returncode != 0
    assert "refused" in done.stderr or "import of" in done.stderr or "No module" in done.stderr, (
        done.stderr
    )


def test_c_code_has_no_network_either_where_linux_allows_it(tmp_path: Path) -> None:
    script = tmp_path / "devices.py"
    script.write_text("print(open('/proc/net/dev').read())")
    command = sealed_command(script, [])
    if "unshare" not in command[0]:
        pytest.skip("no network namespaces here")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    devices = [line.split(":")[0].strip() for line in done.stdout.splitlines() if ":" in line]
    assert devices == ["lo"]
