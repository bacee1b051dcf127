"""A whole run on synthetic voices: it learns, it can be killed and goes on bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from groove.training.checkpoint import load, load_encoder  # noqa: E402
from groove.training.loop import train  # noqa: E402
from tests.training.tiny import config, curve, write_corpus  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    train(config(corpus, out, train={"epochs": 3}))
    return out


def test_a_run_learns_and_leaves_what_it_promises(finished: Path) -> None:
    lines = curve(finished)
    losses = [line["loss"] for line in lines if line["kind"] == "step"]
    assert losses[-1] < losses[0]
    for name in ("last.pt", "best.pt", "config.json", "curves.png", "log.jsonl"):
        assert (finished / name).is_file(), name
