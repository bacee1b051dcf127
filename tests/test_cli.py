"""The command as a user types it: output, exit status, one-line errors, nothing half-written."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from groove.encoder import file_hash
from tests.conftest import ROOT, VOICE_A, VOICE_A2, VOICE_B

TINY_MODEL = ROOT / "tests" / "data" / "model" / "tiny.onnx"
A, A2, B = str(VOICE_A), str(VOICE_A2), str(VOICE_B)


def groove(*arguments: str, script: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `groove`, or one of the scripts in the root."""
    start = [sys.executable, "-m", "groove"] if script is None else [sys.executable, script]
    return subprocess.run(
        [*start, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120
    )


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    return groove("compare", *arguments, "--model", str(TINY_MODEL))


@pytest.fixture
def silence(tmp_path: Path) -> str:
    path = tmp_path / "silence.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(64_000))
    return str(path)


def test_exit_status_is_that_of_cmp(silence: str) -> None:
    assert compare(A, A2, "--threshold", "-1").returncode == 0
    assert compare(A, B, "--threshold", "1").returncode == 1
    assert compare(A, silence).returncode == 2
    assert compare(A, "absent.wav").returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are closed otherwise there")
def test_a_reader_that_has_left_does_not_make_voices_different() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "groove", "compare", A, A2, "--threshold", "-1"]
    try:
        done = subprocess.run(
            [*command, "--model", str(TINY_MODEL)], stdout=writing, stderr=subprocess.PIPE, cwd=ROOT
        )
    finally:
        os.close(writing)
    assert done.returncode == 141 and done.stderr == b""


def test_a_wrong_option_is_one_line_with_the_next_step() -> None:
    for wrong in (("--fmr", "abc"), ("--nonsense",), ("third.wav",)):
        done = compare(A, A2, *wrong)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert done.stderr.startswith("groove: ") and "See  groove compare --help" in done.stderr


def test_text_shows_score_threshold_rule_decision_probability_and_warnings() -> None:
    done = compare(A, A2)
    for word in ("decision", "score", "threshold", "false matches", "probability", "warning"):
        assert word in done.stdout
    assert done.stderr == ""


def test_json_is_one_object_with_the_promised_keys(silence: str) -> None:
    for other in (A2, silence):
        done = compare(A, other, "--json")
        values = json.loads(done.stdout)
        assert {"score", "threshold", "decision", "probability", "llr", "warnings", "model"} < set(
            values
        )
        assert done.returncode == {"same": 0, "different": 1, "undecided": 2}[values["decision"]]
    assert values["decision"] == "undecided" and values["score"] is None
    assert isinstance(values["seconds"], float)


def test_the_same_files_give_the_same_bits_in_either_order_and_process() -> None:
    first, again, swapped = (
        json.loads(compare(x, y, "--json").stdout) for x, y in ((A, B), (A, B), (B, A))
    )
    for key in ("score", "llr", "probability", "threshold"):
        assert first[key] == again[key] == swapped[key]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((A, "absent.wav"), "absent.wav: no such file"),
        ((A, "."), "a folder; wanted a recording"),
        ((A, "README.md"), "not audio, or a format that Groove does not know"),
        ((A, B, "--fmr", "0.000001"), "no threshold was measured"),
        ((A, B, "--fmr", "0.1", "--threshold", "0.5"), "not both"),
        ((A, B, "--threshold", "7"), "between -1 and 1"),
        ((A, B, "--channel", "2"), "no channel 2: it has 1 channel, counted from 1"),
        ((A, B, "--num-crops", "0"), "num_crops is 0"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_status_2(
    arguments: tuple[str, ...], message: str
) -> None:
    done = compare(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback() -> None:
    done = compare(A, "absent.wav", "--debug")
    assert done.returncode == 2  # never 1, which means "different"
    assert "Traceback" in done.stderr and "absent.wav: no such file" in done.stderr


def test_wrong_usage_is_status_2_and_help_teaches() -> None:
    assert groove("compare", A).returncode == 2
    assert groove("nonsense").returncode == 2
    shown = groove("compare", "--help").stdout
    assert "Exit status: 0 same, 1 different, 2 undecided or error" in " ".join(shown.split())


def test_a_model_that_is_no_model_says_what_to_do(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.pt"
    checkpoint.write_bytes(b"PK")
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")
    for model, message in (
        ("nothing", "no model of that name (known: groove-ecapa, campplus-zh-en)"),
        (str(checkpoint), "groove import"),
        (str(junk), "junk.onnx"),
    ):
        done = groove("compare", A, B, "--model", model)
        assert done.returncode == 2 and message in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_seeds_script_takes_its_flags_word_for_word() -> None:
    arguments = ("--wav1", A, "--wav2", A2, "--ckpt", str(TINY_MODEL))
    done = groove(*arguments, "--threshold", "-1", script="compare_two_wavs.py")
    assert (done.returncode, done.stderr) == (0, "")
    crops = groove(
        *arguments, "--num_crops", "6", "--crop_sec", "1.5", script="compare_two_wavs.py"
    )
    assert "not measured for these settings" in crops.stdout
    absent = groove("--wav1", A, "--wav2", "absent.wav", script="compare_two_wavs.py")
    assert absent.returncode == 2


def test_crops_change_the_score_and_are_deterministic() -> None:
    whole, crops, again = (
        json.loads(compare(A, B, "--json", *extra).stdout)["score"]
        for extra in ((), ("--num-crops", "4"), ("--num-crops", "4"))
    )
    assert crops == again != whole


def test_embed_writes_one_file_and_lists_what_failed(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.wav").write_bytes(VOICE_A.read_bytes())
    (folder / "bad.wav").write_bytes(b"bad")
    out = tmp_path / "out"
    arguments = ("embed", str(folder), "--out", str(out), "--model", str(TINY_MODEL))
    done = groove(*arguments)
    assert done.returncode == 1
    assert "1 embedded, 0 known before, 1 failed" in done.stdout
    with np.load(out / "embeddings.npz") as data:
        assert data["utterance_id"].tolist() == ["a.wav"]
        assert np.linalg.norm(data["embedding"][0]) == pytest.approx(1, abs=1e-6)
    (line,) = (out / "failed.jsonl").read_text().splitlines()
    assert json.loads(line)["utterance_id"] == "bad.wav"
    (folder / "bad.wav").unlink()
    again = groove(*arguments, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["n_known"] == 1
    said = groove(*arguments).stdout.splitlines()
    assert said == ["0 embedded, 1 known before, 0 failed", str(out / "embeddings.npz")]


def test_embed_takes_files_and_manifests(tmp_path: Path) -> None:
    manifest = tmp_path / "list.jsonl"
    lines = [
        {"utterance_id": f"u{i}", "speaker_id": "张三", "path": path, "seconds": 4.0}
        for i, path in enumerate((A, B))
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for inputs, ids in (((str(manifest),), ["u0", "u1"]), ((A, B), [A, B])):
        out = tmp_path / f"out{len(inputs)}"
        done = groove("embed", *inputs, "--out", str(out), "--model", str(TINY_MODEL))
        assert done.returncode == 0, done.stderr
        with np.load(out / "embeddings.npz") as data:
            assert data["utterance_id"].tolist() == ids
            speakers = data["speaker_id"].tolist()
        assert speakers == (["张三"] * 2 if len(inputs) == 1 else ["", ""])


def test_models_list_and_show() -> None:
    listed = groove("models", "list").stdout
    assert "groove-ecapa (default)  in the package" in listed and "\ncampplus-zh-en  " in listed
    shown = groove("models", "show", "campplus-zh-en").stdout
    assert "Apache-2.0" in shown and "3D-Speaker" in shown and "SHA-256" in shown
    assert groove("models", "show", "nothing").returncode == 2
    rows = json.loads(groove("models", "list", "--json").stdout)
    assert [(row["name"], row["default"]) for row in rows] == [
        ("groove-ecapa", True),
        ("campplus-zh-en", False),
    ]
    shown = groove("models", "show", "groove-ecapa").stdout
    assert "in the package" in shown and "false matches 0.01: threshold" in shown
    known = json.loads(groove("models", "show", "groove-ecapa", "--json").stdout)["built_in"]
    assert file_hash(Path(known["path"])) == known["sha256"]
    pulled = groove("models", "pull", "groove-ecapa")
    assert pulled.returncode == 0 and pulled.stdout.strip() == known["path"]


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zeros", "dc", "tone", "noise", "ten_ms", "clicks"])
def test_what_is_not_speech_is_undecided_and_never_matches_itself(
    tmp_path: Path, kind: str, rng: np.random.Generator
) -> None:
    n = 48_000
    samples = {
        "zeros": np.zeros(n),
        "dc": np.full(n, 0.5),
        "tone": 0.5 * np.sin(2 * np.pi * 440 * np.arange(n) / 16_000),
        "noise": 0.1 * rng.standard_normal(n).clip(-3, 3),
        "ten_ms": 0.1 * np.ones(160),
        "clicks": (np.arange(n) % 4000 == 0) * 0.9,
    }[kind]
    path = tmp_path / f"{kind}.wav"
    path.write_bytes(wav(samples))
    done = compare(str(path), str(path), "--threshold", "-1")
    assert done.returncode == 2
    assert "undecided" in done.stdout


def test_embedding_what_is_not_there_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = groove("embed", str(tmp_path / "absent"), "--out", str(out), "--model", str(TINY_MODEL))
    assert done.returncode == 2 and "no such file or folder" in done.stderr
    assert done.stderr.count("\n") == 1 and not out.exists()
