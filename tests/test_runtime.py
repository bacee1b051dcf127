"""The one door to onnxruntime: the same options for all, one line for what is broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from groove.errors import ModelError, SettingsError
from groove.runtime import open_session, profile_nodes
from groove.speech import asset

FEEDS = {
    "frames": np.random.default_rng(0).standard_normal((50, 640)).astype(np.float32),
    "h": np.zeros((1, 1, 128), np.float32),
    "c": np.zeros((1, 1, 128), np.float32),
}


def test_bytes_and_path_and_every_call_give_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(asset())
    sessions = [open_session(path, threads=1), open_session(asset(), threads=1)]
    answers = [s.run(None, FEEDS)[0] for s in sessions for _ in range(3)]
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
    assert sessions[0].get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flipped"])
def test_a_damaged_file_is_a_model_error_in_one_line(
    damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = asset()
    content = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "text": b"<!doctype html>",
        "flipped": bytes(b ^ 255 for b in whole[:4_000]) + whole[4_000:],
    }[damage]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(ModelError, match="not an ONNX graph that onnxruntime") as caught:
            open_session(source)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gone.onnx: no such model file"):
        open_session(tmp_path / "gone.onnx")


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads: int) -> None:
    with pytest.raises(SettingsError, match="wanted 1 or more"):
        open_session(asset(), threads=threads)


def test_the_profile_names_the_nodes_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(asset())
    monkeypatch.chdir(tmp_path)
    times = profile_nodes(path, FEEDS, threads=1, repeat=2)
    assert any("LSTM" in name for name in times) and len(times) > 5
    assert all(0 <= seconds < 1 for seconds in times.values())
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_so_many_threads_that_they_only_wait_are_refused() -> None:
    with pytest.raises(SettingsError, match="threads is 1000; wanted at most"):
        open_session(asset(), threads=1000)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    """onnxruntime would follow them, and the file's hash would not be that of the model."""
    path, location = tmp_path / "model.onnx", b"weights.bin"
    entry = b"\x0a\x08location\x12" + bytes([len(location)]) + location
    path.write_bytes(asset() + entry)
    with pytest.raises(ModelError, match="keeps weights in another file"):
        open_session(path)
