"""The pulled model, `campplus-zh-en`, on real recordings. `make test` pulls it; else: skipped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import groove
from groove import models
from groove.audio import SAMPLE_RATE, read_audio
from groove.bench import wav_bytes
from groove.metrics import eer
from tests.conftest import ROOT, VOICE_A, VOICE_A2, VOICE_B

pytestmark = pytest.mark.model
NAME = "campplus-zh-en"


@pytest.fixture(scope="module", autouse=True)
def pulled() -> None:
    if models.installed(NAME) is None:
        pytest.skip(f"{NAME} is not here: groove models pull {NAME}")


@pytest.fixture(scope="module")
def verifier() -> groove.Verifier:
    return groove.Verifier(NAME, threads=2)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "groove", *arguments], capture_output=True, text=True, cwd=ROOT
    )


def test_the_readmes_main_job_with_this_model() -> None:
    same = run("compare", str(VOICE_A), str(VOICE_A2), "--model", NAME)
    assert (same.returncode, same.stderr) == (0, "")
    different = run("compare", str(VOICE_A), str(VOICE_B), "--json", "--model", NAME)
    assert different.returncode == 1
    values = json.loads(different.stdout)
    assert values["decision"] == "different" and values["probability"] < 0.5


def test_what_is_installed_is_what_was_pulled_with_the_catalogues_card() -> None:
    assert models.verify_installed(NAME)
    card = groove.open_encoder(NAME).card
    entry = models.entry(NAME)
    assert card.licence == entry.licence == "Apache-2.0"
    assert card.calibration is not None and len(card.thresholds) > 2
    assert card.calibration.to_dict() == entry.card["calibration"]


def test_the_imported_weights_say_what_they_say_in_their_authors_network() -> None:
    """Frames of kaldi-native-fbank in FunASR's CAMPPlus; tests/data/backbones/make_golden.py."""
    golden = json.loads((ROOT / "tests/data/backbones" / f"{NAME}.json").read_text("utf-8"))
    assert golden["sha256"] == models.entry(NAME).sha256
    encoder, voice = groove.open_encoder(NAME, threads=1), read_audio(VOICE_A)
    wanted = np.array(golden["embeddings"])
    for seconds, theirs in zip((5.0, 0.73), wanted, strict=True):
        cut = voice[: round(seconds * SAMPLE_RATE)]
        level = 0.08 / np.sqrt(np.mean(cut.astype(np.float64) ** 2))
        ours = encoder((cut * np.float32(level))[None])[0].astype(np.float64)
        assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) >= 0.9999
    assert np.abs(np.corrcoef(wanted)[0, 1]) < 0.99  # the two cuts are not one


@pytest.mark.speech
def test_speakers_of_the_evaluation_pool_are_told_apart(
    verifier: groove.Verifier, eval_rows: list[dict[str, str]]
) -> None:
    """Two files each of twelve speakers: 12 target and 264 non-target trials."""
    by_speaker: dict[str, list[str]] = {}
    for row in eval_rows:
        by_speaker.setdefault(row["speaker"], []).append(row["path"])
    chosen = list(by_speaker.values())[::6][:12]
    embeddings = np.array([[verifier.embedder.embed(p) for p in paths[:2]] for paths in chosen])
    scores = np.einsum("itd,jud->itju", embeddings, embeddings)
    target = [scores[i, 0, i, 1] for i in range(len(chosen))]
    nontarget = [
        scores[i, t, j, u] for i in range(12) for j in range(i) for t in (0, 1) for u in (0, 1)
    ]
    assert eer(target, nontarget) < 0.10
    assert np.mean(target) > 0.55 and np.mean(nontarget) < 0.25


@pytest.mark.speech
def test_a_quiet_copy_is_the_same_voice(
    verifier: groove.Verifier, eval_rows: list[dict[str, str]]
) -> None:
    """-40 dB on samples in [-1, 1] would reach the logarithm's floor; the front end raises it."""
    for row in eval_rows[::60]:
        loud = read_audio(row["path"])
        a, b = (verifier.embedder.embed((loud * g, SAMPLE_RATE)) for g in (1.0, 0.01))
        assert float(a @ b) > 0.99


@pytest.mark.speech
def test_batching_changes_no_embedding(eval_rows: list[dict[str, str]]) -> None:
    encoder = groove.open_encoder(NAME, threads=1)
    crops = np.stack([read_audio(row["path"])[: 2 * SAMPLE_RATE] for row in eval_rows[:70:10]])
    together = encoder(crops)
    alone = np.concatenate([encoder(crop[None]) for crop in crops])
    cosines = (together * alone).sum(1) / np.linalg.norm(together, axis=1)
    cosines /= np.linalg.norm(alone, axis=1)
    assert cosines.min() > 0.999999


# VmHWM and not ru_maxrss, which a new process inherits from the one that started it.
MEASURE = """
import re, sys, groove
examined = groove.Embedder(sys.argv[1], threads=2).examine(sys.argv[2])
print(examined.speech.seconds, examined.embedding is not None)
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_one_hour_stays_under_500_mb(tmp_path: Path) -> None:
    """Somebody talks all the time, so that every window is embedded."""
    path = tmp_path / "hour.wav"
    path.write_bytes(wav_bytes(np.resize(read_audio(VOICE_A), 3600 * SAMPLE_RATE)))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "groove-ecapa", str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    first, peak_mib = done.stdout.splitlines()
    assert first == "3600.0 True"
    assert float(peak_mib) < 500
