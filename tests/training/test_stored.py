"""Stored features against the waveform path, and what storing does when it is stopped."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")

from groove.audio import read_audio  # noqa: E402
from groove.errors import CorpusError, ManifestError, SettingsError  # noqa: E402
from groove.fbank import FbankConfig, log_mel  # noqa: E402
from groove.manifest import Utterance  # noqa: E402
from groove.training.stored import (  # noqa: E402
    frames_to_store,
    read_features,
    stored_bytes,
    write_features,
)
from groove.training.storing import refuse_too_large, store_features  # noqa: E402
from tests.conftest import VOICE_A, VOICE_B  # noqa: E402

pytestmark = pytest.mark.torch
CONFIG = FbankConfig()
HALF_STEP = 2**-7 * 1.01  # of float16 between 16 and 32


def store(path: Path, waveform: Any, config: FbankConfig = CONFIG) -> None:
    frames = frames_to_store(waveform, config)
    write_features(path, frames, config, speaker_id="s", utterance_id="s-1")


def test_a_stored_crop_less_its_mean_is_what_the_waveform_gives(tmp_path: Path) -> None:
    waveform = read_audio(VOICE_A)
    store(tmp_path / "a.pt", waveform)
    frames = read_features(tmp_path / "a.pt", CONFIG)  # [T, M]
    assert frames.dtype == torch.float32 and frames.shape == (CONFIG.n_frames(len(waveform)), 80)
    crop = frames[50:250].numpy()
    cut = waveform[50 * 160 : 50 * 160 + 400 + 199 * 160]
    wanted = log_mel(cut, CONFIG)  # the mean of this crop is subtracted
    assert np.abs(crop - crop.mean(axis=0) - wanted).max() < 2 * HALF_STEP
    whole = log_mel(waveform, replace(CONFIG, subtract_mean=False))
    assert np.abs(frames.numpy() - whole).max() < HALF_STEP


def test_a_file_holds_what_the_contract_says(tmp_path: Path) -> None:
    store(tmp_path / "deep/er/a.pt", read_audio(VOICE_A))
    values = torch.load(tmp_path / "deep/er/a.pt", weights_only=True)
    assert values.pop("fbank").dtype == torch.float16
    assert values == {
        "front_end_hash": CONFIG.hash,
        "speaker_id": "s",
        "utterance_id": "s-1",
        "version": 1,
    }
    assert [p.name for p in (tmp_path / "deep/er").iterdir()] == ["a.pt"]


@pytest.mark.parametrize("change", [{"window": "hamming"}, {"n_mels": 64}, {"sample_scale": 1.0}])
def test_another_front_end_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    store(tmp_path / "a.pt", read_audio(VOICE_A))
    other = replace(CONFIG, **change)
    cure = "groove prepare stores model.window=povey model.n_mels=80 .*or set data.source=files"
    said = f"end {CONFIG.hash}, the model's is {other.hash}; {cure}"
    with pytest.raises(SettingsError, match=said):
        read_features(tmp_path / "a.pt", other)
    store(tmp_path / "b.pt", read_audio(VOICE_A), other)
    with pytest.raises(SettingsError, match=f"is {CONFIG.hash}; run groove prepare again$"):
        read_features(tmp_path / "b.pt", CONFIG)


def test_a_front_end_that_acts_per_crop_is_not_stored() -> None:
    with pytest.raises(SettingsError, match=r"min_rms 0\.01 acts per crop"):
        frames_to_store(read_audio(VOICE_A), replace(CONFIG, min_rms=0.01))


def test_what_is_not_stored_features_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with pytest.raises(ManifestError, match="No such file"):
        read_features(path, CONFIG)
    store(path, read_audio(VOICE_A))
    whole = path.read_bytes()
    for content in (b"", b"junk", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ManifestError, match="not stored features, or damaged"):
            read_features(path, CONFIG)
    for values in ({"version": 2}, {"version": 1, "fbank": torch.zeros(1)}):
        torch.save(values, path)
        with pytest.raises(ManifestError, match="stored features of version"):
            read_features(path, CONFIG)
    torch.save(CONFIG, path)  # code, not data
    with pytest.raises(ManifestError, match="not stored features"):
        read_features(path, CONFIG)


@pytest.mark.parametrize("seconds", [0.5, 2.0, 7.5, 60.0])
def test_the_announced_size_is_the_size(tmp_path: Path, seconds: float) -> None:
    rng = np.random.default_rng(1)
    store(tmp_path / "a.pt", 0.1 * rng.standard_normal(round(seconds * 16_000)))
    size = (tmp_path / "a.pt").stat().st_size
    assert -4096 < size - stored_bytes(seconds, CONFIG) <= 0


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    """One as it is, one joined of two, one that is no audio."""
    joined = {"parts": [{"path": str(p), "seconds": 1.0} for p in (VOICE_A, VOICE_B)]}
    (tmp_path / "bad.flac").write_text("no audio")
    return [
        Utterance("s-1", "s", VOICE_A, 3.0),
        Utterance("s-2+1", "s", VOICE_A, 6.0, joined),
        Utterance("t/bad", "t", tmp_path / "bad.flac", 1.0),
    ]


def test_storing_joins_parts_lists_the_bad_and_does_nothing_twice(
    tmp_path: Path, utterances: list[Utterance]
) -> None:
    out = tmp_path / "out"
    done = store_features(utterances, 3, CONFIG, out)
    assert (done.n_made, done.n_known) == (2, 0)
    assert done.failed["t/bad"][0] == "damaged or not audio"
    assert done.failed["t/bad"][1].startswith("not audio")
    frames = read_features(out / "fbank_pt/s/s-2+1.pt", CONFIG)
    both = np.concatenate([read_audio(VOICE_A), read_audio(VOICE_B)])
    assert np.abs(frames.numpy() - frames_to_store(both, CONFIG)).max() < HALF_STEP
    made_at = (out / "fbank_pt/s/s-1.pt").stat().st_mtime_ns
    again = store_features(utterances, 3, CONFIG, out)
    assert (again.n_made, again.n_known) == (0, 2)
    assert (out / "fbank_pt/s/s-1.pt").stat().st_mtime_ns == made_at
    (out / "fbank_pt/s/s-1.pt").unlink()  # lost: made again
    assert store_features(utterances, 3, CONFIG, out).n_made == 1
    hamming = store_features(utterances, 3, replace(CONFIG, window="hamming"), out)
    assert hamming.n_made == 2  # another front end: all of them


def test_what_a_killed_preparation_was_writing_goes(
    tmp_path: Path, utterances: list[Utterance]
) -> None:
    folder = tmp_path / "out" / "fbank_pt" / "s" / "session"
    folder.mkdir(parents=True)
    for name in (f".{os.getppid()}.part", "1.part"):  # of whoever: the journal is locked
        (folder / name).touch()
    store_features(utterances, 3, CONFIG, tmp_path / "out")
    assert [path.name for path in folder.iterdir()] == ["1.part"]


def test_a_changed_recording_is_stored_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    mine = [Utterance("s-1", "s", tmp_path / "a.wav", 1.0)]
    store_features(mine, 1, CONFIG, tmp_path / "out")
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(32_000), 16_000)
    assert store_features(mine, 1, CONFIG, tmp_path / "out").n_made == 1
    assert len(read_features(tmp_path / "out/fbank_pt/s/s-1.pt", CONFIG)) == 198


def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    utterances[0] = replace(utterances[0], seconds=91.0)
    wanted = sum(stored_bytes(u.seconds, CONFIG) for u in utterances)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, wanted + 99_999_999))
    with pytest.raises(CorpusError, match=r"storing features takes 1\.6 MB, and 101\.6 MB are"):
        refuse_too_large(utterances, CONFIG, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, wanted + 100_000_000))
    assert refuse_too_large(utterances, CONFIG, tmp_path / "out") == wanted


def test_a_disk_that_fills_leaves_no_half_file(
    tmp_path: Path, utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CorpusError, match="the disk is full or a limit reached"):
        store_features(utterances[:1], 1, CONFIG, tmp_path / "out")
    left = [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert left == ["stored.jsonl"]
    monkeypatch.undo()
    assert store_features(utterances[:1], 1, CONFIG, tmp_path / "out").n_made == 1
