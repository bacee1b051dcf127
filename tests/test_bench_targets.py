"""One run times every form of a model; what cannot run is said, not left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from groove import bench_targets
from groove.bench_targets import EAGER, Target, find_targets
from groove.errors import SettingsError
from tests.test_cli import TINY_MODEL, groove


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model.onnx", "model.fp16.onnx"):
        shutil.copy(TINY_MODEL, tmp_path / name)
    (tmp_path / "model.int8.onnx").write_bytes(b"junk")
    return tmp_path


def test_the_full_precision_file_comes_first(folder: Path) -> None:
    for name in ("model.mnn", "model.plan"):
        (folder / name).write_bytes(b"")
    (folder / "tensorrt.waveform.onnx").write_bytes(b"")
    names = [target.name for target in find_targets(folder)]
    assert names == ["model.onnx", "model.fp16.onnx", "model.int8.onnx", "model.mnn", "model.plan"]


def test_every_figure_is_there_and_a_broken_target_is_named(folder: Path) -> None:
    told: list[str] = []
    found = bench_targets.run(find_targets(folder), rounds=2, progress=told.append)
    assert [m.target for m in found.targets if m.failed] == ["model.int8.onnx"]
    assert "not an ONNX graph" in found.targets[2].failed
    assert [(t.target, t.threads) for t in found.timed] == [
        (name, threads) for threads in (1, 2) for name in ("model.onnx", "model.fp16.onnx")
    ]
    for t in found.timed:
        assert set(t.audio_s_per_s) == {1, 16} and all(x > 0 for x in t.audio_s_per_s.values())
        assert t.latency_ms[50] <= t.latency_ms[90] <= t.latency_ms[99]
        assert t.gemm_fraction is None  # nothing to count operations with
    for m in found.targets[:2]:
        assert m.min_cosine == pytest.approx(1.0)
        assert m.peak_mib is not None and 20 < m.peak_mib < 1000
        assert m.load_s is not None and m.file_mb == pytest.approx(0.123374)
    text = bench_targets.to_text(found)
    assert "model.int8.onnx" in text and "not measured: " in text
    assert json.loads(bench_targets.to_json(found))["reference"] == "model.onnx"
    assert any("round 2 of 2" in line for line in told)


def test_the_throughput_is_that_of_the_timed_calls(folder: Path) -> None:
    found = bench_targets.run(find_targets(folder)[:1], threads=(1,), rounds=1)
    (timed,) = found.timed
    median_s = timed.latency_ms[50] / 1000
    assert timed.audio_s_per_s[1] == pytest.approx(bench_targets.SECONDS / median_s)


def test_what_cannot_be_timed_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(SettingsError, match="no model.onnx or model.mnn in it"):
        find_targets(TINY_MODEL.parent)
    with pytest.raises(SettingsError, match="torch.compile wants torch and"):
        find_targets(folder, compiled=True)
    with pytest.raises(SettingsError, match="no target could be opened: .*not an ONNX graph"):
        bench_targets.run([Target("junk", folder / "model.int8.onnx")])
    for arguments, message in (
        (("--all", str(tmp_path / "absent")), "no such folder"),
        (("--all", str(folder), "x.wav"), "give nothing else"),
        (("--compile",), "--compile goes with --all"),
    ):
        done = groove("bench", *arguments)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert EAGER.startswith("groove.training")
