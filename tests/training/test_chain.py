"""CN-Celeb in miniature, from the corpus to its official trials, each step by its command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from groove.audio import SAMPLE_RATE, read_audio  # noqa: E402
from groove.cli import app  # noqa: E402
from groove.corpora.cnceleb_eval import JOINED, MEAN  # noqa: E402
from groove.manifest import read_manifest  # noqa: E402
from groove.training.checkpoint import load  # noqa: E402
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B  # noqa: E402
from tests.miniature import build_cnceleb  # noqa: E402
from tests.training.test_doors import overrides  # noqa: E402

pytestmark = pytest.mark.torch


def groove(*words: object) -> None:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_every_command_works_on_what_the_one_before_has_left(tmp_path: Path) -> None:
    mini, lists = build_cnceleb(tmp_path, n_utterances=9), tmp_path / "lists"
    # Only speech is evaluated, and the miniature's voices hum.
    for speaker, sound in zip(mini.evaluation, (VOICE_A, VOICE_B, VOICE_A2), strict=True):
        for path in mini.root.rglob("*.flac"):
            if speaker in str(path):
                soundfile.write(path, read_audio(sound), SAMPLE_RATE)
    roots = ("--root", mini.root, "--root2", mini.root2, "--out", lists)
    groove("prepare", "cnceleb", *roots, "--val-speakers", 2, "--join-s", 2, "--workers", 1)
    utterances = read_manifest(lists / "train.jsonl")
    assert {"parts" in u.fields for u in utterances} == {True, False}

    first, tuned = tmp_path / "first", tmp_path / "tuned"
    groove("train", *overrides(lists, first), "data.speeds=[1.0,0.9]")
    start = f"train.init={first / 'best.pt'}"
    groove("train", "--config-name", "finetune", *overrides(lists, tuned), start)
    before, after = load(first / "last.pt"), load(tuned / "best.pt")
    assert after.speakers == before.speakers == sorted({u.speaker_id for u in utterances})
    assert len(after.speakers) == 8 and len(before.head["weight"]) == 16
    assert after.card.parent == str(first / "best.pt") and len(after.head["weight"]) == 8

    out = tmp_path / "report"
    few = ("--out", out, "--draws", 5, "--no-figures", "--workers", 1)
    groove("evaluate", "--cnceleb", mini.root, "--model", tuned / "best.pt", *few)
    systems = json.loads((out / "metrics.json").read_text("utf-8"))["systems"]
    assert {s["protocol"] for s in systems} == {MEAN, JOINED}
    for system in systems:
        assert (system["n_target"], system["n_nontarget"]) == (14, 32)  # all of the official list
        assert system["familiar"] == []  # nobody of it was trained on, or chose the epoch
