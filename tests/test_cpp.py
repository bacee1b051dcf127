"""deploy/cpp: built on the library inside the installed wheel; the same score as Python."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from groove.audio import read_audio
from groove.card_file import write_card
from groove.encoder import OnnxEncoder
from groove.scoring import cosine
from tests.conftest import ROOT, VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import telephone_card
from tests.test_cli import TINY_MODEL, groove


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cmake = shutil.which("cmake")
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if cmake is None or compiler is None:
        pytest.skip("no cmake or no C++ compiler here")
    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None and spec.origin is not None
    if not list(Path(spec.origin).parent.glob("capi/libonnxruntime.so*")):
        pytest.skip("this onnxruntime wheel holds no libonnxruntime.so")
    build = tmp_path_factory.mktemp("cpp")
    configure = [cmake, "-S", str(ROOT / "deploy" / "cpp"), "-B", str(build)]
    configure += [f"-DPython3_EXECUTABLE={sys.executable}"]
    for command in (configure, [cmake, "--build", str(build)]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "compare"


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize(("a", "b"), [(VOICE_A, VOICE_A2), (VOICE_A, VOICE_B), (VOICE_B, VOICE_B)])
def test_it_prints_the_score_of_groove_compare(program: Path, a: Path, b: Path) -> None:
    done = run(program, TINY_MODEL, a, b)
    assert (done.returncode, done.stderr) == (0, "")
    values = json.loads(
        groove("compare", str(a), str(b), "--model", str(TINY_MODEL), "--json").stdout
    )
    assert float(done.stdout) == pytest.approx(values["score"], abs=1e-4)


def test_it_reads_cards_that_know_telephone_sound(program: Path, tmp_path: Path) -> None:
    card = OnnxEncoder(TINY_MODEL, threads=1).card
    known = telephone_card()
    card = replace(card, calibration=known.calibration, narrow_band=known.narrow_band)
    copy = write_card(TINY_MODEL, card, tmp_path / "two.onnx")
    assert b'"card_version": 2' in copy.read_bytes()
    ours, theirs = run(program, copy, VOICE_A, VOICE_B), run(program, TINY_MODEL, VOICE_A, VOICE_B)
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout == theirs.stdout


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT"])
def test_it_reads_every_wav_that_has_16_khz(program: Path, tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "stereo.wav"
    mono = read_audio(VOICE_A)
    soundfile.write(path, np.stack([mono, np.roll(mono, 800)], axis=1), 16_000, subtype)
    encoder = OnnxEncoder(TINY_MODEL)
    expected = cosine(*(encoder(read_audio(p)[None])[0] for p in (path, VOICE_B)))
    done = run(program, TINY_MODEL, path, VOICE_B)
    assert float(done.stdout) == pytest.approx(expected, abs=1e-4), done.stderr


def test_what_it_cannot_do_it_says_in_one_line(program: Path, tmp_path: Path) -> None:
    slow, short = tmp_path / "slow.wav", tmp_path / "short.wav"
    for path, rate, n in ((slow, 8_000, 8_000), (short, 16_000, 20)):
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(bytes(2 * n))
    for arguments, message in (
        ((), "usage"),
        ((TINY_MODEL, slow, VOICE_A), "8000 Hz; wanted 16000"),
        ((TINY_MODEL, short, VOICE_A), "wanted 0.0"),
        ((TINY_MODEL, "absent.wav", VOICE_A), "absent.wav: cannot be opened"),
        ((TINY_MODEL, TINY_MODEL, VOICE_A), "not a WAV file"),
        ((ROOT / "README.md", VOICE_A, VOICE_B), "compare: "),
        ((ROOT / "groove/assets/silero_vad.onnx", VOICE_A, VOICE_B), "without a Groove model card"),
    ):
        done = run(program, *arguments)
        assert done.returncode == 2 and done.stdout == ""
        assert message in done.stderr and done.stderr.count("\n") == 1
