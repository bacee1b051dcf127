"""The seed's commands on a checkpoint of our own training, with recordings and with features."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from groove.audio import read_audio  # noqa: E402
from groove.bench import wav_bytes  # noqa: E402
from groove.embedder import Embedder  # noqa: E402
from groove.evaluation.pairs import score_pairs  # noqa: E402
from groove.evaluation.systems import System  # noqa: E402
from groove.evaluation.val_meta import read_val_meta  # noqa: E402
from groove.loading import open_encoder  # noqa: E402
from groove.training.checkpoint import save  # noqa: E402
from groove.training.stored import frames_to_store, write_features  # noqa: E402
from groove.training.stored_embedding import StoredEmbedder  # noqa: E402
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B  # noqa: E402
from tests.test_cli import groove  # noqa: E402
from tests.test_verify_scripts import script  # noqa: E402
from tests.training.test_checkpoint import checkpoint  # noqa: E402
from tests.training.test_stored import store  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What preprocessing and training leave: val_meta.jsonl, features, best.pt."""
    root = tmp_path_factory.mktemp("root")
    folder = root / "processed" / "cn_celeb2"
    save(checkpoint(), root / "outputs" / "best.pt")
    card = open_encoder(root / "outputs" / "best.pt").card
    lines = []
    for i, source in enumerate((VOICE_A, VOICE_A2, VOICE_B, VOICE_B)):
        waveform = read_audio(source)
        waveform = waveform[: len(waveform) * 2 // 3] if i == 3 else waveform
        audio = folder / f"{i}.wav"
        audio.parent.mkdir(parents=True, exist_ok=True)
        audio.write_bytes(wav_bytes(waveform))
        who = "李四" if i > 1 else "张三"
        write_features(
            folder / f"fbank_pt/{i}.pt",
            frames_to_store(waveform, card.fbank),
            card.fbank,
            speaker_id=who,
            utterance_id=str(i),
        )
        lines.append(
            {"speaker_id": who, "utterance_id": str(i), "feat": f"fbank_pt/{i}.pt"}
            | {"audio": str(audio), "seconds": len(waveform) / 16_000}
        )
    (folder / "val_meta.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def test_the_seeds_commands_bare(prepared: Path) -> None:
    done = script(
        "verify.py", "--val_meta", "processed/cn_celeb2/val_meta.jsonl", "--ckpt",
        "outputs/best.pt", "--out_dir", "outputs_eval", cwd=prepared,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = prepared / "outputs_eval"
    names = {path.name for path in out.iterdir()}
    assert {"metrics.txt", "roc.png", "det.png", "score_hist.png"} <= names
    found = json.loads((out / "metrics.json").read_text())["systems"][0]
    assert (found["n_target"], found["n_nontarget"]) == (2, 4)
    (chosen,) = found["familiar"]  # nobody was trained on, but they chose the epoch
    assert "chosen among its training's epochs on 2 of the 2 named speakers" in chosen
    done = script("verify_pairs.py", cwd=prepared)
    assert done.returncode == 0, done.stderr
    rows = (out / "scores.tsv").read_text().splitlines()
    assert len(rows) == 7 and rows[0].split("\t")[:3] == ["enrollment", "test", "score"]


def test_a_list_that_training_never_looked_at_chose_nothing(tmp_path: Path) -> None:
    for every, named in ((1, "val.jsonl"), (0, "")):
        trained = replace(
            checkpoint(), config={"data": {"val": "val.jsonl"}, "validate": {"every": every}}
        )
        save(trained, tmp_path / "last.pt")
        assert open_encoder(tmp_path / "last.pt").validated_on == named


def test_features_stand_in_for_recordings(prepared: Path, tmp_path: Path) -> None:
    folder = prepared / "processed" / "cn_celeb2"
    embedder = Embedder(open_encoder(prepared / "outputs" / "best.pt"))
    stored = StoredEmbedder(embedder)
    for i in range(4):
        row = stored(folder / f"fbank_pt/{i}.pt")
        assert row.embedding is not None
        assert float(row.embedding @ embedder.embed(folder / f"{i}.wav")) > 0.9999
        crops = Embedder(embedder.encoder, num_crops=3, crop_sec=1.0)
        found = StoredEmbedder(crops)(folder / f"fbank_pt/{i}.pt")
        assert float(found.embedding @ crops.embed(folder / f"{i}.wav")) > 0.999
    lines = (folder / "val_meta.jsonl").read_text().splitlines()
    text = "".join(json.dumps(json.loads(line) | {"audio": "gone.wav"}) + "\n" for line in lines)
    (folder / "features_only.jsonl").write_text(text)
    scores = []
    for name in ("val_meta.jsonl", "features_only.jsonl"):
        out = tmp_path / f"{name}.tsv"
        done = script(
            "verify_pairs.py", "--val_meta", f"processed/cn_celeb2/{name}", "--out", str(out),
            cwd=prepared,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        scores.append([float(line.split("\t")[2]) for line in out.read_text().splitlines()[1:]])
    np.testing.assert_allclose(*scores, atol=2e-3)
    done = groove(
        "evaluate", "--val-meta", str(folder / "features_only.jsonl"), "--model",
        str(prepared / "outputs" / "best.pt"), "--out", str(tmp_path / "out"), "--draws", "5",
        "--no-figures",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_recording_is_used_where_it_is_there_else_the_features(
    prepared: Path, tmp_path: Path
) -> None:
    """They hold different voices here: A is recorded, B's features are stored."""
    embedder = Embedder(open_encoder(prepared / "outputs" / "best.pt"))
    system = System("", embedder, StoredEmbedder(embedder))
    (tmp_path / "a.wav").write_bytes(VOICE_A.read_bytes())
    store(tmp_path / "b.pt", read_audio(VOICE_B), embedder.encoder.card.fbank)
    line = {"speaker_id": "s", "utterance_id": "s-1", "feat": "b.pt", "audio": "a.wav"}
    (tmp_path / "val_meta.jsonl").write_text(json.dumps(line) + "\n")
    a, b = embedder.embed(VOICE_A), embedder.embed(VOICE_B)
    assert float(a @ b) < 0.995
    for wanted in (a, b):
        (utterance,) = read_val_meta(tmp_path / "val_meta.jsonl")
        found = system.embed_one(utterance.path).embedding
        assert found is not None and float(found @ wanted) > 0.9999
        (tmp_path / "a.wav").unlink(missing_ok=True)


def test_a_feature_file_of_another_front_end_is_a_counted_failure(
    prepared: Path, tmp_path: Path
) -> None:
    embedder = Embedder(open_encoder(prepared / "outputs" / "best.pt"))
    own = embedder.encoder.card.fbank  # hamming
    other = replace(own, window="povey")
    lines = []
    for i, (who, fbank) in enumerate((("s", own), ("s", own), ("t", other))):
        store(tmp_path / f"{i}.pt", read_audio(VOICE_A), fbank)
        lines.append({"speaker_id": who, "utterance_id": str(i), "feat": f"{i}.pt"})
    (tmp_path / "val_meta.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = score_pairs(
        embedder, tmp_path / "s.tsv", None, tmp_path / "val_meta.jsonl", stored=StoredEmbedder
    )
    assert (done.n_pairs, done.n_without_score) == (3, 2)
    said = f"2.pt: stored by front end {other.hash}, the model's is {own.hash}; groove prepare"
    assert said in StoredEmbedder(embedder)(tmp_path / "2.pt").reason


def test_a_file_that_holds_no_features_is_a_failure_with_a_reason(
    prepared: Path, tmp_path: Path
) -> None:
    stored = StoredEmbedder(Embedder(open_encoder(prepared / "outputs" / "best.pt")))
    (tmp_path / "junk.pt").write_bytes(b"junk")
    found = stored(tmp_path / "junk.pt")
    assert found.embedding is None and "junk.pt: not stored features" in found.reason


def test_a_checkpoint_is_calibrated_as_a_checkpoint(prepared: Path, tmp_path: Path) -> None:
    folder = prepared / "processed" / "cn_celeb2"
    # The seed in `checkpoint` gives a network that scores the first of these highest.
    (tmp_path / "trials.txt").write_text("1 2.wav 3.wav\n0 0.wav 2.wav\n0 1.wav 3.wav\n")
    done = groove(
        "calibrate", "--model", str(prepared / "outputs" / "best.pt"), "--trials",
        str(tmp_path / "trials.txt"), "--audio", str(folder), "--out", str(tmp_path / "out.pt"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, after = (open_encoder(p) for p in (prepared / "outputs/best.pt", tmp_path / "out.pt"))
    assert before.card.calibration is None and after.card.calibration is not None
    waveform = np.random.default_rng(0).normal(0, 0.1, (1, 16_000)).astype(np.float32)
    np.testing.assert_array_equal(before(waveform), after(waveform))


def test_a_checkpoint_says_whom_it_was_trained_and_chosen_on(
    prepared: Path, tmp_path: Path
) -> None:
    val = tmp_path / "val.jsonl"
    line = {"utterance_id": "v", "speaker_id": "李四", "path": "v.wav", "seconds": 1.0}
    val.write_text(json.dumps(line) + "\n")
    config = {"data": {"val": str(val)}}
    save(checkpoint(speakers=["王五", "张三"], config=config), tmp_path / "best.pt")
    done = groove(
        "evaluate", "--val-meta", str(prepared / "processed/cn_celeb2/val_meta.jsonl"), "--model",
        str(tmp_path / "best.pt"), "--out", str(tmp_path / "out"), "--draws", "2", "--no-figures",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "metrics.txt").read_text()
    assert "was TRAINED on 1 of the 2 named speakers of val_meta.jsonl (张三)" in text
    assert "epochs on 1 of the 2 named speakers of val_meta.jsonl (李四)" in text
