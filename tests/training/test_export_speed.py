"""PyTorch beside the exported files: opened from the split parts, and its operations counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from groove.bench_targets import EAGER, Target, find_targets, run
from groove.errors import ModelError
from groove.fbank import FbankConfig
from groove.parity import bundled_voices
from groove.training.export import Request, export_all, split
from groove.training.export.speed import gemm_gflops, gflop_per_audio_s, open_eager
from groove.training.export.split import open_split
from groove.training.networks import Network, build_encoder, new_card
from tests.data.model.make_tiny_model import tiny_card, tiny_module
from tests.seeded import fill

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    network, fbank = Network("ecapa", 32, 16), FbankConfig()
    module = build_encoder(network, fbank)
    fill(module.backbone, 3)
    card = new_card(network, fbank, name="small")
    request = Request(onnx=False, split=True)
    export_all(module, card, folder, request, voices=bundled_voices())
    wave = bundled_voices().rows(1.0, 2)
    with torch.inference_mode():
        assert np.array_equal(open_split(folder / "model.pt")(wave), module(torch.from_numpy(wave)))
    return folder


def test_operations_are_those_counted_by_hand(parts: Path) -> None:
    """Multiply-adds of every layer of ECAPA-TDNN C16, D 32, over the frames of 10 s."""
    t, c, a, b = 998, 16, 1536, 128
    bins = 2 * 255  # real and imaginary; of 257 no triangle touches the first and the last
    front_end = t * 400 * bins + t * bins * 80  # the folded transform, the triangles
    stem = t * 80 * c * 5
    block = 2 * t * c * c + 7 * t * (c // 8) ** 2 * 3 + 2 * c * b
    aggregate = t * 3 * c * a
    pooling = t * a * b + 2 * a * b + t * b * a  # context once per utterance, not per frame
    linear = 2 * a * 32
    total = front_end + stem + 3 * block + aggregate + pooling + linear
    assert gflop_per_audio_s(parts / "model.pt") == pytest.approx(2 * total / 10 / 1e9, rel=1e-6)


def test_eager_torch_stands_in_the_table_with_its_share_of_the_peak(parts: Path) -> None:
    targets = [t for t in _with_a_file(parts) if t.opener == EAGER]
    found = run(targets, threads=(1,), rounds=1)
    (timed,) = found.timed
    assert found.reference == "PyTorch eager" and timed.gemm_fraction is not None
    best = max(timed.audio_s_per_s.values())
    assert found.gflop_per_audio_s is not None
    expected = best * found.gflop_per_audio_s / found.gemm_gflops[1]
    assert timed.gemm_fraction == pytest.approx(expected)


def test_each_call_runs_with_its_own_number_of_threads(parts: Path) -> None:
    before = torch.get_num_threads()
    try:
        assert gemm_gflops(1) > 0.1
        wave = bundled_voices().rows(0.5, 1)
        for threads in (2, 1):
            open_eager(parts / "model.pt", threads=threads)(wave)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_parts_that_do_not_belong_together_are_refused(parts: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not the parts of a split export"):
        open_split(tmp_path / "model.pt")
    meta = json.loads((parts / "meta.json").read_text())
    meta["network"]["channels"] = 32
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "model.pt").write_bytes((parts / "model.pt").read_bytes())
    with pytest.raises(ModelError, match="not the parts of a split export .*size mismatch"):
        open_split(tmp_path / "model.pt")
    request = Request(onnx=False, split=True)
    export_all(tiny_module(), tiny_card(), tmp_path, request, voices=bundled_voices())
    with pytest.raises(ModelError, match="is no network that Groove builds"):
        open_split(tmp_path / "model.pt")


def test_parts_of_two_exports_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after ``model.pt``: the new weights lie beside the old card."""
    network, fbank = Network("ecapa", 32, 16), FbankConfig()

    def write(seed: int) -> None:
        module = build_encoder(network, fbank)
        fill(module.backbone, seed)
        head = {"weight": torch.full((2, 32), float(seed))}
        split.split(module, new_card(network, fbank, name=f"card {seed}"), head, tmp_path)

    def kill_at_head(path: Path, _: object) -> None:
        if path.name == "head.pt":
            raise KeyboardInterrupt

    model, head = tmp_path / "model.pt", tmp_path / "head.pt"
    write(3)
    assert open_split(model).card.name == "card 3"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(split, "_reads_back", kill_at_head)
        write(4)
    with pytest.raises(ModelError, match=r"model.pt: not the file that meta.json names by its SHA"):
        open_split(model)
    old_head = head.read_bytes()
    write(4)
    assert open_split(model).card.name == "card 4"
    head.write_bytes(old_head)
    with pytest.raises(ModelError, match=r"head.pt: not the file that meta.json names by its SHA"):
        open_split(model)
    head.unlink()
    assert open_split(model).card.name == "card 4"


def _with_a_file(parts: Path) -> list[Target]:
    (parts / "model.onnx").write_bytes(b"")
    return find_targets(parts)
