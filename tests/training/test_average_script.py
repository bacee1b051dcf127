"""scripts/average.py: the mean of two networks, in the precision of the first."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from groove.fbank import FbankConfig  # noqa: E402
from groove.training.checkpoint import Checkpoint, load, save  # noqa: E402
from groove.training.networks import Network, build_encoder, new_card  # noqa: E402
from tests.conftest import ROOT  # noqa: E402

pytestmark = pytest.mark.torch
FBANK, NETWORK = FbankConfig(n_mels=16), Network("ecapa", 8, 16)


def average(*paths: Path, out: Path) -> subprocess.CompletedProcess[str]:
    given = [item for path in paths for item in ("--ckpt", str(path))]
    command = [sys.executable, str(ROOT / "scripts" / "average.py"), *given, "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_mean_of_a_run_and_its_beginning(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_encoder(NETWORK, FBANK).backbone.state_dict()
    head = {"weight": torch.ones(1, 8)}
    run = Checkpoint(new_card(NETWORK, FBANK, name="x"), NETWORK, model, {}, ["a"], head)
    halves = {k: (v + 1).half() if v.is_floating_point() else v + 4 for k, v in model.items()}
    save(run, tmp_path / "run.pt")
    save(replace(run, model=halves, head={}), tmp_path / "slim.pt")
    done = average(tmp_path / "run.pt", tmp_path / "slim.pt", out=tmp_path / "mean.pt")
    assert done.returncode == 0, done.stderr
    mean = load(tmp_path / "mean.pt")
    assert mean.speakers == ["a"] and not mean.head
    for name, value in model.items():
        wanted = (value.double() + halves[name].double()) / 2
        assert mean.model[name].dtype == value.dtype
        torch.testing.assert_close(mean.model[name].double(), wanted, rtol=0, atol=1e-3)


def test_what_has_no_mean_is_refused(tmp_path: Path) -> None:
    for name, channels in (("a.pt", 16), ("b.pt", 24)):
        network = Network("ecapa", 8, channels)
        model = build_encoder(network, FBANK).backbone.state_dict()
        save(Checkpoint(new_card(network, FBANK, name="x"), network, model, {}), tmp_path / name)
    other = average(tmp_path / "a.pt", tmp_path / "b.pt", out=tmp_path / "mean.pt")
    assert other.returncode and "different networks" in other.stderr
    alone = average(tmp_path / "a.pt", out=tmp_path / "mean.pt")
    assert alone.returncode and "give --ckpt twice" in alone.stderr
    assert not (tmp_path / "mean.pt").exists()
