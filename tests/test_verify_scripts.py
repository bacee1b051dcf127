"""verify.py, verify_pairs.py and `groove evaluate` as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from groove.bench import wav_bytes
from groove.embedder import Embedder
from groove.errors import ManifestError
from groove.evaluation.pairs import score_pairs
from tests.conftest import ROOT, VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder
from tests.test_cli import TINY_MODEL, groove


def script(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / name), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
    )


@pytest.fixture
def val_meta(tmp_path: Path) -> Path:
    path = tmp_path / "val_meta.jsonl"
    recordings = {"张三": (VOICE_A, VOICE_A2), "李四": (VOICE_B,)}
    lines = [
        {"speaker_id": who, "utterance_id": audio.stem, "feat": "", "audio": str(audio)}
        | {"seconds": 4.0}
        for who, files in recordings.items()
        for audio in files
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["verify.py", "verify_pairs.py"])
def test_missing_inputs_are_status_2_and_name_the_command_that_makes_them(
    name: str, tmp_path: Path, val_meta: Path
) -> None:
    done = script(name, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "python processed/preprocess_cnceleb2_train.py" in done.stderr
    done = script(name, "--val_meta", str(val_meta), cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "outputs/best.pt: no such file; make it with  python train.py" in done.stderr
    assert not (tmp_path / "outputs_eval").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one of --manifest, --trials"),
        (("--manifest", "absent.jsonl"), "absent.jsonl: No such file"),
        (("--trials", "t.txt"), "--trials needs --audio FOLDER or --manifest FILE"),
        (("--cnceleb", "."), "no eval/lists/trials.lst"),
        (("--val-meta", "absent.jsonl"), "absent.jsonl: No such file"),
    ],
)
def test_an_error_is_one_line_and_nothing_is_written(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = groove(
        "evaluate", "--model", str(TINY_MODEL), *arguments, "--out", str(tmp_path / "out")
    )
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not TINY_MODEL.is_file(), reason="tests/data/model/tiny.onnx is not there")
def test_verify_writes_what_the_seed_says(tmp_path: Path, val_meta: Path) -> None:
    done = script(
        "verify.py", "--val_meta", str(val_meta), "--ckpt", str(TINY_MODEL),
        "--out_dir", "outputs_eval", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = tmp_path / "outputs_eval"
    names = {path.name for path in out.iterdir()}
    assert {"metrics.txt", "metrics.json", "report.md", "report.html"} <= names
    text = (out / "metrics.txt").read_text(encoding="utf-8")
    assert "EER" in text and "minDCF, P_target 0.01" in text
    if pytest.importorskip("matplotlib"):
        assert {"roc.png", "det.png", "score_hist.png"} <= names


def test_pairs_are_scored_with_or_without_labels(tmp_path: Path) -> None:
    embedder = Embedder(FakeEncoder())
    bare = tmp_path / "pairs.txt"
    bare.write_text(f"{VOICE_A} {VOICE_B}\n\n{VOICE_A} absent.wav\n")
    summary = score_pairs(embedder, tmp_path / "out" / "scores.tsv", bare, bare)
    assert (summary.n_pairs, summary.n_without_score) == (2, 1)
    header, first, second = (tmp_path / "out" / "scores.tsv").read_text().splitlines()
    assert header == "enrollment\ttest\tscore\treason"
    wanted = embedder.embed(VOICE_A) @ embedder.embed(VOICE_B)
    assert float(first.split("\t")[2]) == pytest.approx(float(wanted), abs=1e-6)
    assert second.split("\t") == [str(VOICE_A), "absent.wav", "", "no such file"]
    labelled = tmp_path / "trials.txt"
    labelled.write_text(f"1 {VOICE_A} {VOICE_A2}\n0 {VOICE_A} {VOICE_B}\n")
    score_pairs(embedder, tmp_path / "scores.tsv", labelled, bare)
    rows = [line.split("\t") for line in (tmp_path / "scores.tsv").read_text().splitlines()]
    assert rows[0] == ["enrollment", "test", "score", "target", "reason"]
    assert [row[3] for row in rows[1:]] == ["1", "0"]


def test_every_pair_of_val_meta_is_scored(tmp_path: Path, val_meta: Path) -> None:
    summary = score_pairs(Embedder(FakeEncoder()), tmp_path / "s.tsv", None, val_meta)
    assert summary.n_pairs == 3 and str(summary).startswith("3 pairs: ")
    (tmp_path / "none.txt").write_text("absent.wav other.wav\n")
    with pytest.raises(ManifestError, match="no pair can be scored: no such file"):
        score_pairs(Embedder(FakeEncoder()), tmp_path / "n.tsv", tmp_path / "none.txt", val_meta)
    assert not (tmp_path / "n.tsv").exists()


def test_models_of_one_name_are_told_apart_by_their_paths(tmp_path: Path, val_meta: Path) -> None:
    paths = [tmp_path / folder / "best.onnx" for folder in ("a", "b", "c")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(TINY_MODEL.read_bytes())
    models = [word for path in paths for word in ("--model", str(path))]
    out = tmp_path / "report"
    done = groove(
        "evaluate", "--val-meta", str(val_meta), *models, "--draws", "2", "--out", str(out)
    )
    assert done.returncode == 0, done.stderr
    text = (out / "report.md").read_text(encoding="utf-8")
    assert all(f"({path})" in text for path in paths[1:]) and f"({paths[0]})" not in text


def test_every_recording_is_scored_where_that_is_asked(tmp_path: Path, val_meta: Path) -> None:
    """Other toolkits have no speech detection; their published numbers hold all trials."""
    mute = tmp_path / "mute.wav"
    mute.write_bytes(wav_bytes(np.zeros(48_000, np.float32)))
    line = {"speaker_id": "李四", "utterance_id": "mute", "audio": str(mute), "seconds": 3.0}
    with val_meta.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    scored = {}
    for flags in ((), ("--every-recording",)):
        out = tmp_path / f"report{len(flags)}"
        done = groove(
            "evaluate", "--val-meta", str(val_meta), "--draws", "2", "--json", "--no-figures",
            "--out", str(out), "--cache", str(tmp_path / "both.sqlite"), *flags,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (system,) = json.loads(done.stdout)["systems"]
        scored[flags] = system["n_target"] + system["n_nontarget"]
        assert ("every recording" in system["cutting"]) == bool(flags)
    assert scored[()] == 3 and scored[("--every-recording",)] == 6
