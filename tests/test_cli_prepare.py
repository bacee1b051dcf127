"""`groove prepare` and the seed's script as a user types them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from groove.manifest import read_manifest
from groove.preparation import check_prepared
from tests.conftest import ROOT, VOICE_A, VOICE_A2, VOICE_B
from tests.miniature import EVALUATION, Miniature, build_cnceleb

SCRIPT = ROOT / "processed" / "preprocess_cnceleb2_train.py"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds CN-Celeb_flac and CN-Celeb2_flac, as the repository's root would."""
    folder = tmp_path_factory.mktemp("home")
    build_cnceleb(folder)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=240,
    )


def groove(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "-m", "groove", "prepare", *words)


@pytest.mark.torch
def test_the_seeds_script_works_bare_and_writes_what_the_seed_names(
    home: Path, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    for name in ("CN-Celeb_flac", "CN-Celeb2_flac"):
        (tmp_path / name).symlink_to(home / name)
    done = run(tmp_path, str(SCRIPT))
    assert done.returncode == 0, done.stderr
    out = tmp_path / "processed" / "cn_celeb2"
    assert {p.name for p in out.iterdir()} == {
        *("train.jsonl", "val.jsonl", "val_meta.jsonl", "spk2id.json", "train_fbank_list.txt"),
        *("dropped.jsonl", "prepared.json", "probed.jsonl", "stored.jsonl", "fbank_pt"),
    }
    assert "8 speakers" in done.stdout and "live_broadcast" in done.stdout
    assert "dropped 0 files" in done.stdout and "126,532 published" in done.stdout
    assert not any(speaker in done.stdout for speaker in EVALUATION)
    val = {u.utterance_id: u for u in read_manifest(out / "val.jsonl")}
    meta = [json.loads(line) for line in (out / "val_meta.jsonl").read_text().splitlines()]
    assert [line["utterance_id"] for line in meta] == list(val)
    for line in meta:
        stored = torch.load(out / line["feat"], weights_only=True)
        assert stored["utterance_id"] == line["utterance_id"]
        assert stored["speaker_id"] == line["speaker_id"]
        n_samples = round(line["seconds"] * 16_000)
        assert stored["fbank"].shape == (1 + (n_samples - 400) // 160, 80)
        assert Path(line["audio"]) == val[line["utterance_id"]].path
    assert len(list(out.glob("fbank_pt/*/*.pt"))) == len(meta)
    assert (out / "train_fbank_list.txt").read_text() == ""
    assert check_prepared(out)["stored"]["part"] == "val"


@pytest.mark.torch
def test_all_features_are_listed_with_their_speakers_number(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    roots = ("--root", "CN-Celeb_flac", "--out", str(tmp_path / "out"))
    done = groove(home, "cnceleb", *roots, "--features", "all", "--val-speakers", "2", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["stored"]["n_utterances"] == 12 + report["train"]["n_utterances"]
    assert re.search(r"features of \d+ utterances: \d\.\d MB in .*fbank_pt", done.stderr)
    speakers = json.loads((tmp_path / "out/spk2id.json").read_text())
    lines = (tmp_path / "out/train_fbank_list.txt").read_text().splitlines()
    train = read_manifest(tmp_path / "out/train.jsonl")
    for line, utterance in zip(lines, train, strict=True):
        path, number = line.rsplit(" ", 1)
        assert (tmp_path / "out" / path).is_file()
        assert Path(path).stem == utterance.utterance_id
        assert int(number) == speakers[utterance.speaker_id]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "CN-Celeb_flac: no such folder; download cn-celeb_v2.tar.gz from https://"),
        (("--root", "{home}/CN-Celeb_flac"), "CN-Celeb2_flac: no such folder; download cn-celeb2"),
    ],
)
def test_without_the_corpus_the_script_says_what_to_download(
    home: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    words = tuple(word.format(home=home) for word in words)
    done = run(tmp_path, str(SCRIPT), "--features", "none", *words)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_the_list_of_training_speakers_nothing_is_guessed(
    home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home / "CN-Celeb_flac", tmp_path / "CN-Celeb_flac")
    (tmp_path / "CN-Celeb_flac/dev/dev.lst").unlink()
    done = groove(tmp_path, "cnceleb", "--root", "CN-Celeb_flac", "--out", "o", "--features=none")
    assert done.returncode == 2 and "only it says who may be trained on" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "o").exists()


def test_any_folder_of_speakers_is_prepared(home: Path, tmp_path: Path) -> None:
    data = home / "CN-Celeb2_flac" / "data"
    words = ("--out", str(tmp_path / "out"), "--features", "none", "--val-speakers", "2")
    done = groove(home, "folder", "--root", str(data), *words)
    assert done.returncode == 0, done.stderr
    train = read_manifest(tmp_path / "out/train.jsonl")
    assert {u.utterance_id.split("/")[0] for u in train} == {u.speaker_id for u in train}
    assert len(train) == 12 and not any("parts" in u.fields for u in train)
    again = groove(home, "folder", "--root", str(data), *words, "--join-s", "5", "--seed", "1")
    assert "24 files known before" in again.stdout
    assert any("parts" in u.fields for u in read_manifest(tmp_path / "out/train.jsonl"))
    inside = groove(
        home, "folder", "--root", str(data), "--out", str(data / "out"), "--features", "none"
    )
    assert inside.returncode == 2 and "lies inside --root" in inside.stderr


def test_a_folder_of_speakers_is_listed_whole_for_an_evaluation(home: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "voices", tmp_path / "test.jsonl"
    for speaker, voices in {"甲": (VOICE_A, VOICE_A2), "乙": (VOICE_B,)}.items():
        (root / speaker).mkdir(parents=True)
        for voice in voices:
            (root / speaker / voice.name).write_bytes(voice.read_bytes())
    (root / "乙" / "bad.wav").write_bytes(b"no sound")
    done = groove(home, "list", "--root", str(root), "--out", str(out), "--json")
    assert done.returncode == 0 and "bad.wav: left out: " in done.stderr, done.stderr
    told = json.loads(done.stdout)
    assert (told["speakers"], told["utterances"], told["dropped"]) == (2, 3, 1)
    listed = read_manifest(out)
    assert [u.speaker_id for u in listed] == ["乙", "甲", "甲"]
    assert all(abs(u.seconds - soundfile.info(u.path).duration) < 1e-3 for u in listed)
    voice = root / "甲" / VOICE_A.name
    for wrong in (voice, root):
        refused = groove(home, "list", "--root", str(root), "--out", str(wrong))
        assert refused.returncode == 2 and "not a list's name" in refused.stderr
    assert voice.read_bytes() == VOICE_A.read_bytes()
    nowhere = groove(home, "list", "--root", str(root), "--out", str(tmp_path / "no" / "t.jsonl"))
    assert nowhere.returncode == 2 and "no such folder" in nowhere.stderr
    for path in root.rglob("voice*.wav"):
        path.write_bytes(b"none either")
    done = groove(home, "list", "--root", str(root), "--out", str(tmp_path / "none.jsonl"))
    assert done.returncode == 2 and "no file can be used" in done.stderr
    assert not (tmp_path / "none.jsonl").exists()


def test_the_base_install_prepares_lists_and_says_what_features_need(
    home: Path, tmp_path: Path
) -> None:
    code = "import sys; sys.modules['torch'] = None; from groove.cli import main; main()"
    words = ("-c", code, "prepare", "cnceleb", "--root", "CN-Celeb_flac", "--out", str(tmp_path))
    done = run(home, *words)
    assert done.returncode == 2 and "--features none" in done.stderr
    assert not list(tmp_path.iterdir())
    done = run(home, *words, "--features", "none", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "val_meta.jsonl").read_text().splitlines()[0])["feat"] is None


def test_the_script_is_thin() -> None:
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) <= 40


def test_the_miniature_is_laid_out_as_the_corpus_is(home: Path) -> None:
    """What evaluation reads: lists say .wav, files are .flac, the last speaker has no model."""
    mini: Miniature = build_cnceleb(home / "again", n_utterances=4)
    lists = mini.root / "eval" / "lists"
    tests = lists.joinpath("test.lst").read_text().split()
    assert all(line.endswith(".wav") for line in tests)
    assert all((mini.root / "eval" / line).with_suffix(".flac").is_file() for line in tests)
    models = [line.split() for line in lists.joinpath("enroll.lst").read_text().splitlines()]
    assert [name for name, _ in models] == [f"{s}-enroll" for s in EVALUATION[:-1]]
    for line in lists.joinpath("enroll.map").read_text().splitlines():
        for original in line.split()[1:]:
            assert (mini.root / "data" / original).with_suffix(".flac").is_file()
    trials = [line.split() for line in lists.joinpath("trials.lst").read_text().splitlines()]
    assert len(trials) == len(models) * len(tests)
    assert {label for *_, label in trials} == {"0", "1"}
    assert all((m[:7] in t) == (label == "1") for m, t, label in trials)


def test_noise_is_packed_and_the_settings_that_use_it_are_said(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "musan" / "noise"
    folder.mkdir(parents=True)
    sources = sorted((home / "CN-Celeb_flac/data/id00012").iterdir())[:3]
    for source in sources:
        shutil.copy(source, folder)
    done = groove(tmp_path, "noise", "musan", "--out", "musan.i16", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["files"] == 3 and told["failed"] == {}
    assert told["settings"] == ["augment.noise_folders=[musan]", "augment.noise_pack=musan.i16"]
    seconds = sum(soundfile.info(source).frames for source in sources)
    assert (tmp_path / "musan.i16").stat().st_size == 2 * seconds
    text = groove(tmp_path, "noise", "musan", "--out", "musan.i16").stdout
    assert "3 files in musan.i16" in text and "'augment.noise_folders=[musan]'" in text


def test_noise_that_cannot_be_decoded_is_named_and_the_rest_packed(
    home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    whole, cut = sorted((home / "CN-Celeb_flac/data/id00012").iterdir())[:2]
    shutil.copy(whole, folder)
    (folder / "cut.flac").write_bytes(cut.read_bytes()[:2000])
    done = groove(tmp_path, "noise", "sounds", "--out", "sounds.i16")
    assert done.returncode == 1 and "1 files in sounds.i16" in done.stdout
    assert re.search(r"^groove: sounds/cut\.flac: left out: .+; remove or replace", done.stderr)
    missing = groove(tmp_path, "noise", "nowhere", "--out", "sounds.i16")
    assert missing.returncode == 2 and "nowhere: the folder for noise does not" in missing.stderr
    full = groove(tmp_path, "noise", "sounds", "--out", "/dev/full/x.i16")
    assert full.returncode == 2 and "/dev/full/x.i16: cannot be written" in full.stderr
