"""Training on stored features: prepared by the command, trained on, one of them damaged."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from groove.cli import app  # noqa: E402
from groove.errors import ManifestError, SettingsError, UnreadableAudio  # noqa: E402
from groove.manifest import read_manifest, write_manifest  # noqa: E402
from groove.preparation.lists import feature_path  # noqa: E402
from groove.training.checkpoint import load, load_encoder  # noqa: E402
from groove.training.config import TrainConfig  # noqa: E402
from groove.training.loop import train  # noqa: E402
from groove.training.runlog import LOG, read_log  # noqa: E402
from tests.training.tiny import config, curve  # noqa: E402
from tests.training.voices import write_voices  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six speakers to train on and two to validate with, by `groove prepare`."""
    folder = tmp_path_factory.mktemp("prepared")
    write_voices(folder, "voices", range(8), 4)
    places = ["--root", str(folder / "voices"), "--out", str(folder / "out")]
    options = ["--features", "all", "--val-speakers", "2", "--workers", "1"]
    done = CliRunner().invoke(app, ["prepare", "folder", *places, *options])
    assert done.exit_code == 0, done.output
    return folder / "out"


def stored(prepared: Path, out: Path) -> TrainConfig:
    return config(
        prepared,
        out,
        train={"epochs": 3},
        data={"source": "fbank"},
        augment={"reverb_probability": 0.0},
        mask={"probability": 0.0},
        model={"n_mels": 80},
    )


def test_a_network_learns_from_stored_features_and_is_validated_on_sound(
    prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert train(stored(prepared, out)) == out / "best.pt"
    losses = [line["loss"] for line in curve(out) if line["kind"] == "step"]
    assert np.isfinite(losses).all() and np.mean(losses[-3:]) < np.mean(losses[:3])
    assert [line["n_unreadable"] for line in curve(out) if line["kind"] == "epoch"] == [0] * 3
    assert len(load(out / "last.pt").speakers) == 6
    module, card = load_encoder(out / "best.pt")
    assert module(torch.zeros(1, 8000)).shape == (1, card.embedding_size)


def test_one_damaged_feature_is_a_corrupt_utterance_and_many_stop_the_run(
    prepared: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(prepared, tmp_path / "prepared")
    first, *rest = read_manifest(folder / "train.jsonl")
    (folder / feature_path(first)).write_bytes(b"junk")
    train(stored(folder, tmp_path / "out"))
    (event,) = [x for x in read_log(tmp_path / "out" / LOG) if x["kind"] == "event"]
    assert event["text"].startswith(f"{first.utterance_id}: left out: ")
    assert "damaged; delete it and run groove prepare again" in event["text"]
    for utterance in rest[::2]:
        (folder / feature_path(utterance)).write_bytes(b"junk")
    with pytest.raises(UnreadableAudio, match="utterances are corrupt, more than 1 %"):
        train(stored(folder, tmp_path / "out2"))


def test_features_of_another_front_end_stop_the_run(prepared: Path, tmp_path: Path) -> None:
    other = config(
        prepared, tmp_path, data={"source": "fbank"}, augment={"reverb_probability": 0.0}
    )
    with pytest.raises(SettingsError, match="stores model.window=povey model.n_mels=80"):
        train(other)


def test_without_recordings_the_features_of_the_validation_list_are_used(
    prepared: Path, tmp_path: Path
) -> None:
    """The same EER as on the sound, but for one trial of twelve: crops begin at whole frames."""
    folder, out = shutil.copytree(prepared, tmp_path / "prepared"), tmp_path / "out"
    train(stored(folder, tmp_path / "on_sound"))
    wanted = [x["eer"] for x in curve(tmp_path / "on_sound") if x["kind"] == "epoch"]
    for name in ("train.jsonl", "val.jsonl"):
        moved = [
            replace(u, path=tmp_path / "gone" / u.utterance_id)
            for u in read_manifest(folder / name)
        ]
        write_manifest(moved, folder / name)
    (folder / "prepared.json").unlink(missing_ok=True)
    (folder / "probed.jsonl").unlink()  # no longer one piece, on purpose
    train(stored(folder, out))
    found = [x for x in curve(out) if x["kind"] == "epoch"]
    assert [x["n_unreadable"] for x in found] == [0, 0, 0]
    assert [x["eer"] for x in found] == pytest.approx(wanted, abs=0.09)
    by_sound = replace(
        stored(folder, tmp_path / "x"), data=replace(stored(folder, out).data, source="files")
    )
    with pytest.raises(ManifestError, match="none of its .* recordings is there"):
        train(by_sound)


def test_features_that_were_not_stored_by_the_last_preparation_are_refused(
    prepared: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(prepared, tmp_path / "prepared")
    (folder / "probed.jsonl").unlink()
    (folder / "train_fbank_list.txt").write_text("")
    with pytest.raises(ManifestError, match="prepared last without storing training features"):
        train(stored(folder, tmp_path / "out"))
    (folder / feature_path(read_manifest(folder / "train.jsonl")[3])).unlink()
    with pytest.raises(ManifestError, match=r"no stored features \(1 of 24 are missing\)"):
        train(stored(folder, tmp_path / "out"))
