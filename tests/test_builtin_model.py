"""The model in the package: what it promises, in the base install, without a network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import groove
from groove.metrics import eer
from groove.models import BUILT_IN
from tests.conftest import ROOT, VOICE_A, VOICE_A2, VOICE_B

LARGEST = 25e6  # bytes of all built-in model files together


def run(*arguments: str, model: str | None = None) -> subprocess.CompletedProcess[str]:
    """`groove`, where nothing was pulled and every connection is refused."""
    start = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a connection was tried')\n"
        "socket.socket.connect = socket.create_connection = refuse\n"
        "from groove.cli import main\n"
        "main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", start, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "", "GROOVE_MODELS": str(ROOT / "absent")},
        timeout=120,
    )


def test_the_readmes_main_job_needs_nothing_else() -> None:
    same = run("compare", str(VOICE_A), str(VOICE_A2))
    assert (same.returncode, same.stderr) == (0, "")
    assert "decision     same voice" in same.stdout and "groove-ecapa" in same.stdout
    different = run("compare", str(VOICE_A), str(VOICE_B), "--json")
    assert different.returncode == 1, different.stderr
    values = json.loads(different.stdout)
    assert values["decision"] == "different" and values["probability"] < 0.5
    assert values["model"].startswith("groove-ecapa")


def test_the_package_stays_small() -> None:
    files = [path for path in (Path(groove.__file__).parent / "assets").glob("groove-*.onnx")]
    assert {path.stem for path in files} == set(BUILT_IN) and len(files) <= 2
    assert sum(path.stat().st_size for path in files) <= LARGEST


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_card_says_whose_child_it_is_and_is_measured(name: str) -> None:
    card = groove.open_encoder(name, threads=1).card
    assert (card.name, card.licence, card.embedding_size) == (name, "Apache-2.0", 192)
    assert "campplus-zh-en" in card.parent and "3D-Speaker" in card.parent
    assert card.input == "waveform" and card.architecture == "ECAPA-TDNN C256"
    assert card.calibration is not None and len(card.thresholds) > 3
    assert 0.3 <= card.min_speech_s < card.short_speech_s <= 4
    for table in card.thresholds:
        assert table.row_for(0.01).n_nontarget > 30 / 0.01  # false matches behind the promise


@pytest.mark.speech
def test_strangers_of_the_evaluation_pool_are_told_apart(
    eval_rows: list[dict[str, str]],
) -> None:
    """Two files each of thirty speakers; the whole table is in RESULTS.md, section 6."""
    by_speaker: dict[str, list[str]] = {}
    for row in eval_rows:
        by_speaker.setdefault(row["speaker"], []).append(row["path"])
    pairs = [paths[:2] for paths in by_speaker.values() if len(paths) >= 2][:30]
    embedder = groove.Embedder(threads=2)
    first, second = (np.array([embedder.embed(p[i]) for p in pairs]) for i in (0, 1))
    scores = first @ second.T
    same = np.eye(len(pairs), dtype=bool)
    assert eer(scores[same], scores[~same]) < 0.08
    assert np.mean(scores[same]) - np.mean(scores[~same]) > 0.4
