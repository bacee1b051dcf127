"""CN-Celeb in miniature, prepared: who is kept out, what is joined, what a kill does."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from groove.corpora.cnceleb import read_cnceleb
from groove.corpora.folder import read_folder
from groove.errors import CorpusError, SettingsError
from groove.manifest import read_manifest
from groove.preparation import (
    Options,
    check_list,
    check_prepared,
    plan_corpus,
    report_of,
    write_lists_of,
)
from groove.preparation.joining import join_short
from groove.preparation.lists import LISTS
from groove.preparation.probing import probe_files
from groove.preparation.splitting import choose_validation
from tests.conftest import ROOT
from tests.miniature import DEV, EVALUATION, SECOND, Miniature, build_cnceleb
from tests.test_corpora import reversed_listing


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    return build_cnceleb(tmp_path_factory.mktemp("cnceleb"))


def prepare(roots: Miniature, out: Path, *, workers: int = 1, **options: Any) -> dict[str, Any]:
    """What the command does without stored features."""
    corpus = read_cnceleb(roots.root, roots.root2)
    plan = plan_corpus(corpus, out, Options(**options), workers=workers)
    report = report_of(plan)
    write_lists_of(plan, report, out)
    return report.to_dict()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_no_evaluation_speaker_is_in_any_list(miniature: Miniature, tmp_path: Path) -> None:
    report = prepare(miniature, tmp_path)
    for path in tmp_path.iterdir():
        if path.name != "prepared.json":  # which names them as held out
            assert not any(s in path.read_text(encoding="utf-8") for s in EVALUATION), path
    assert set(report["held_out"]) == set(EVALUATION)
    assert report["n_held_out_files"] == 3 * miniature.n_utterances
    train, val = (read_manifest(tmp_path / name) for name in ("train.jsonl", "val.jsonl"))
    assert {u.speaker_id for u in train} | {u.speaker_id for u in val} == {*DEV, *SECOND}


def test_a_corpus_that_would_train_on_a_held_out_speaker_is_stopped(
    miniature: Miniature, tmp_path: Path
) -> None:
    corpus = read_cnceleb(miniature.root)
    object.__setattr__(corpus, "held_out", frozenset({"id00012"}))
    with pytest.raises(CorpusError, match="id00012 is an evaluation speaker"):
        plan_corpus(corpus, tmp_path)


def test_training_and_validation_share_no_speaker_and_cover_all_files(
    miniature: Miniature, tmp_path: Path
) -> None:
    prepare(miniature, tmp_path, val_speakers=3, seed=5)
    train, val = (read_manifest(tmp_path / name) for name in ("train.jsonl", "val.jsonl"))
    assert len({u.speaker_id for u in val}) == 3
    assert not {u.speaker_id for u in val} & {u.speaker_id for u in train}
    used = [str(u.path) for u in val if "parts" not in u.fields]
    for utterance in train:
        parts = utterance.fields.get("parts", [{"path": str(utterance.path)}])
        assert parts[0]["path"] == str(utterance.path)
        used += [part["path"] for part in parts]
    there = [*miniature.root.glob("data/*/*"), *miniature.root2.glob("data/*/*")]
    wanted = [str(p) for p in there if p.parent.name not in EVALUATION]
    assert sorted(used) == sorted(wanted)
    speakers = json.loads((tmp_path / "spk2id.json").read_text())
    assert list(speakers) == sorted({u.speaker_id for u in train})
    assert list(speakers.values()) == list(range(7))


def test_joined_utterances_are_of_one_speaker_and_genre_and_as_long_as_their_files(
    miniature: Miniature, tmp_path: Path
) -> None:
    prepare(miniature, tmp_path, join_s=3.0)
    n_joined = 0
    for utterance in read_manifest(tmp_path / "train.jsonl"):
        parts = utterance.fields.get("parts", [])
        lengths = [soundfile.info(part["path"]) for part in parts]
        assert [part["seconds"] for part in parts] == [i.frames / i.samplerate for i in lengths]
        if parts:
            n_joined += 1
            assert utterance.seconds == pytest.approx(sum(part["seconds"] for part in parts))
            assert utterance.seconds >= 3.0
            assert utterance.utterance_id.endswith(f"+{len(parts) - 1}")
        for part in parts:
            path = Path(part["path"])
            assert path.parent.name == utterance.speaker_id
            assert path.stem.rsplit("-", 2)[0] == utterance.fields["genre"]
    assert n_joined > 0
    assert not any("parts" in u.fields for u in read_manifest(tmp_path / "val.jsonl"))


def test_the_same_corpus_and_seed_give_the_same_bytes_however_they_are_read(
    miniature: Miniature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(miniature, tmp_path / "a")
    with reversed_listing(monkeypatch):
        prepare(miniature, tmp_path / "b")
    prepare(miniature, tmp_path / "c", workers=2)
    for name in (*LISTS, "prepared.json"):
        first = (tmp_path / "a" / name).read_bytes()
        assert (tmp_path / "b" / name).read_bytes() == first, name
        assert (tmp_path / "c" / name).read_bytes() == first, name
    prepare(miniature, tmp_path / "b", seed=1)
    assert (tmp_path / "b/val.jsonl").read_bytes() != (tmp_path / "a/val.jsonl").read_bytes()
    assert not list((tmp_path / "b").glob(".*"))


def test_every_bad_file_is_listed_with_its_reason_and_the_rest_is_done(tmp_path: Path) -> None:
    mini = build_cnceleb(tmp_path, n_utterances=6)
    folder = mini.root / "data" / "id00012"
    whole = (folder / "singing-01-001.flac").read_bytes()
    (folder / "singing-01-001.flac").write_bytes(whole[: len(whole) // 2])
    (folder / "singing-01-002.flac").write_bytes(b"")
    (folder / "interview-01-001.flac").write_text("no audio")
    (folder / "live_broadcast-01-001.flac").unlink()
    (folder / "live_broadcast-01-001.flac").symlink_to(tmp_path / "gone")
    soundfile.write(folder / "interview-01-002.flac", [0.0] * 16_000, 16_000)
    soundfile.write(folder / "vlog-01-001.flac", [0.1, -0.1] * 1_000, 16_000)
    (folder / "readme.txt").write_text("hello")
    report = prepare(mini, tmp_path / "out", seed=2)  # which leaves id00012 in training
    dropped = {Path(d["path"]).name: d for d in lines_of(tmp_path / "out/dropped.jsonl")}
    assert {name: one["kind"] for name, one in dropped.items()} == {
        "singing-01-001.flac": "damaged or not audio",
        "singing-01-002.flac": "empty",
        "interview-01-001.flac": "damaged or not audio",
        "live_broadcast-01-001.flac": "damaged or not audio",
        "interview-01-002.flac": "digital silence",
        "vlog-01-001.flac": "too short",
        "readme.txt": "not audio by name",
    }
    assert "header promises 0.90 s" in dropped["singing-01-001.flac"]["reason"]
    assert "no such file" in dropped["live_broadcast-01-001.flac"]["reason"]
    assert "0.12 s; wanted at least 0.5 s" in dropped["vlog-01-001.flac"]["reason"]
    assert report["dropped"]["damaged or not audio"] == 3 and sum(report["dropped"].values()) == 7
    assert report["train"]["n_files"] + report["val"]["n_files"] == 60 - 5
    (folder / "singing-01-001.flac").write_bytes(whole)  # cured: the same command takes it in
    cured = prepare(mini, tmp_path / "out", seed=2)
    assert cured["train"]["n_files"] + cured["val"]["n_files"] == 60 - 4


def test_validation_drops_what_no_model_can_embed_and_says_so(
    miniature: Miniature, tmp_path: Path
) -> None:
    report = prepare(miniature, tmp_path, min_s=1.0, val_utterances=5)
    kept = read_manifest(tmp_path / "val.jsonl")
    assert min(u.seconds for u in kept) >= 1.0
    assert len(kept) == 5 * report["val"]["n_speakers"]  # each had one of 0.9 s
    assert report["dropped"] == {"too short": report["val"]["n_speakers"]}


def test_the_report_names_each_number_that_differs_from_the_published(
    miniature: Miniature, tmp_path: Path
) -> None:
    corpus = read_cnceleb(miniature.root, miniature.root2)
    report = report_of(plan_corpus(corpus, tmp_path))
    assert "CN-Celeb1: speakers in dev.lst: 6 found, 797 published" in report.warnings
    assert "warning: CN-Celeb2: utterances: 24 found, 524,787 published" in report.text()
    assert "held out             3 speakers        18 files" in report.text()
    assert {name: part.n_files for name, part in report.genres.items()} == {
        "interview": 20,
        "live_broadcast": 20,
        "singing": 20,
    }
    true = [c for c in corpus.counts if c.found == c.published]
    assert not true and len(report.warnings) == len(corpus.counts)


def test_a_prepared_folder_knows_whether_it_is_whole(miniature: Miniature, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no prepared\.json"):
        check_prepared(tmp_path)
    prepare(miniature, tmp_path)
    values = check_prepared(tmp_path)
    assert values["options"]["seed"] == 0 and values["train"]["n_speakers"] == 8
    with (tmp_path / "val.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(CorpusError, match=r"val\.jsonl: not the list that prepared\.json"):
        check_prepared(tmp_path)
    (tmp_path / "prepared.json").write_text('{"version": 99}')
    with pytest.raises(CorpusError, match="version 99, this Groove reads 1"):
        check_prepared(tmp_path)


def test_a_kill_between_the_renames_leaves_a_folder_that_says_so(
    miniature: Miniature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(miniature, tmp_path)
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target == tmp_path / "spk2id.json":
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", replace)
        prepare(miniature, tmp_path, seed=1)
    with pytest.raises(CorpusError, match="not prepared to the end"):
        check_prepared(tmp_path)
    for name in ("train.jsonl", "val.jsonl"):  # the one is new, the other old
        with pytest.raises(CorpusError, match="not prepared to the end"):
            check_list(tmp_path / name)
    prepare(miniature, tmp_path, seed=1)
    check_list(tmp_path / "train.jsonl")
    (tmp_path / "mine.jsonl").write_bytes((tmp_path / "train.jsonl").read_bytes()[:-1])
    check_list(tmp_path / "mine.jsonl")
    (tmp_path / "mine.jsonl").replace(tmp_path / "train.jsonl")
    with pytest.raises(CorpusError, match=r"train\.jsonl: not the list .* name of its own"):
        check_list(tmp_path / "train.jsonl")
    check_list(tmp_path / "val.jsonl")  # a journal says that the folder was prepared:
    (tmp_path / "probed.jsonl").unlink()
    check_list(tmp_path / "train.jsonl")
    prepare(miniature, tmp_path, seed=1)
    assert check_prepared(tmp_path)["options"]["seed"] == 1


def test_a_second_run_opens_nothing_and_a_changed_file_alone_is_opened_again(
    tmp_path: Path,
) -> None:
    mini = build_cnceleb(tmp_path, evaluation=EVALUATION[:1], second=SECOND[:1])
    corpus = read_cnceleb(mini.root)
    first = probe_files(corpus.files, tmp_path / "out", verify=False)
    again = probe_files(corpus.files, tmp_path / "out", verify=False)
    assert (first.n_known, again.n_known) == (0, len(corpus.files))
    assert (first.seconds == again.seconds).all()
    strict = probe_files(corpus.files, tmp_path / "out", verify=True)
    assert strict.n_known == 0  # a short look does not stand in for decoding
    loose = probe_files(corpus.files, tmp_path / "out", verify=False)
    assert loose.n_known == len(corpus.files)
    soundfile.write(corpus.files[3].path, [0.1, -0.1] * 16_000, 16_000)
    changed = probe_files(corpus.files, tmp_path / "out")
    assert changed.n_known == len(corpus.files) - 1 and changed.seconds[3] == 2.0


def test_a_torn_line_in_the_journal_is_cut_off(miniature: Miniature, tmp_path: Path) -> None:
    corpus = read_cnceleb(miniature.root)
    probe_files(corpus.files, tmp_path)
    journal = tmp_path / "probed.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:10]) + lines[10][:20])
    probed = probe_files(corpus.files, tmp_path)
    assert probed.n_known == 10
    again = [json.loads(line)[0] for line in journal.read_text().splitlines()]
    assert sorted(again) == sorted(file.path for file in corpus.files)


def test_a_damaged_line_of_the_journal_costs_its_file_alone(
    miniature: Miniature, tmp_path: Path
) -> None:
    """As a power cut leaves it: a block of zeros, then whole lines again."""
    corpus = read_cnceleb(miniature.root)
    probe_files(corpus.files, tmp_path)
    journal = tmp_path / "probed.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    for damage in (bytes(40) + b"\n", b"\xff\xfe\n", b"7\n"):
        journal.write_bytes(b"".join([*lines[:3], damage, *lines[4:]]))
        probed = probe_files(corpus.files, tmp_path)
        assert probed.n_known == len(corpus.files) - 1
        assert probe_files(corpus.files, tmp_path).n_known == len(corpus.files)


def test_two_preparations_of_one_folder_do_not_mix(miniature: Miniature, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    from groove.preparation.journal import Journal

    with (
        Journal(tmp_path / "probed.jsonl"),
        pytest.raises(CorpusError, match="another preparation is writing"),
    ):
        prepare(miniature, tmp_path)
    prepare(miniature, tmp_path)


COMMAND = [sys.executable, "-m", "groove", "prepare", "cnceleb", "--features", "none"]
SLOWLY = """
import sys, time
from groove.preparation import probing, processes
from groove.cli import main
probe = probing.probe_audio
def slow(path, **options):
    time.sleep(0.02)
    return probe(path, **options)
probing.probe_audio = slow
processes.run_in_processes.__kwdefaults__["chunk"] = 2
main()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_leaves_nothing_half_written_and_nothing_is_done_twice(
    miniature: Miniature, tmp_path: Path
) -> None:
    out, straight = tmp_path / "out", tmp_path / "straight"
    roots = ["--root", str(miniature.root), "--root2", str(miniature.root2), "--workers", "1"]
    arguments = ["prepare", "cnceleb", "--features", "none", *roots, "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    journal = out / "probed.jsonl"
    run = subprocess.Popen([sys.executable, "-c", SLOWLY, *arguments], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not journal.exists() or journal.read_bytes().count(b"\n") < 10:
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    n_done = journal.read_bytes().count(b"\n")
    assert 10 <= n_done < 60
    assert [p.name for p in out.iterdir()] == ["probed.jsonl"]
    done = subprocess.run(
        [*COMMAND, *roots, "--out", str(out)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0 and f"{n_done} files known before" in done.stdout
    keys = [json.loads(line)[0] for line in journal.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 60
    prepare(miniature, straight)
    for name in (*LISTS, "prepared.json"):
        assert (out / name).read_bytes() == (straight / name).read_bytes(), name


STORING = """
import os, time
from pathlib import Path
rename, n_renamed = Path.replace, 0
def renamed(self, target):  # the third file of every process stays where it is written aside
    global n_renamed
    n_renamed += "fbank_pt" in self.parts
    if n_renamed == 3:
        Path(os.environ["HELD"], str(os.getpid())).touch()
        time.sleep(60)
    return rename(self, target)
Path.replace = renamed
if __name__ == "__main__":  # the workers take in what is above
    from groove.cli import main
    from groove.preparation import processes
    processes.run_in_processes.__kwdefaults__["chunk"] = 2
    main()
"""


@pytest.mark.torch
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_while_features_are_stored_leaves_no_part_behind(
    miniature: Miniature, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    out, straight, script = tmp_path / "out", tmp_path / "straight", tmp_path / "storing.py"
    script.write_text(STORING, encoding="utf-8")
    held = tmp_path / "held"
    held.mkdir()
    roots = ["--root", str(miniature.root), "--root2", str(miniature.root2), "--workers", "2"]
    arguments = ["prepare", "cnceleb", "--features", "val", *roots, "--out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(
        [sys.executable, str(script), *arguments, str(out)],
        env=environment | {"HELD": str(held)},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 100
        while len(list(held.iterdir())) < 2:
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert len(list(out.glob("fbank_pt/*/.*.part"))) == 2
    for folder in (out, straight):
        again = [sys.executable, "-m", "groove", *arguments, str(folder)]
        subprocess.run(again, env=environment, check=True, capture_output=True)
    assert not list(out.rglob("*.part"))
    made = sorted(path.relative_to(straight) for path in straight.glob("fbank_pt/*/*.pt"))
    assert made == sorted(path.relative_to(out) for path in out.glob("fbank_pt/*/*.pt"))
    assert len(made) == 12
    for name in made:
        ours, theirs = (torch.load(x / name, weights_only=True) for x in (out, straight))
        assert torch.equal(ours.pop("fbank"), theirs.pop("fbank")) and ours == theirs
    for name in (*LISTS, "prepared.json"):
        assert (out / name).read_bytes() == (straight / name).read_bytes(), name


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on the size of files")
@pytest.mark.parametrize("limit", [1_500, 9_000])  # in the journal; in the lists
def test_a_full_disk_is_said_and_the_work_goes_on_from_there(
    miniature: Miniature, tmp_path: Path, limit: int
) -> None:
    """A limit on the size of any file stands in for the disk: the same error at the same places."""
    out = tmp_path / "out"
    roots = ["--root", str(miniature.root), "--root2", str(miniature.root2), "--workers", "1"]
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from groove.cli import main; main()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    full = subprocess.run(
        [sys.executable, "-c", code, *COMMAND[3:], *roots, "--out", str(out)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert full.returncode == 2
    assert "the disk is full or a limit reached" in full.stderr.splitlines()[-1]
    assert "run the same command again" in full.stderr and "Traceback" not in full.stderr
    assert [p.name for p in out.iterdir()] == ["probed.jsonl"]
    prepare(miniature, out)
    prepare(miniature, tmp_path / "straight")
    for name in LISTS:
        assert (out / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


@given(
    lengths=st.lists(st.tuples(st.floats(0.1, 8.0), st.sampled_from("abc")), max_size=40),
    min_s=st.sampled_from([0.0, 2.0, 5.0]),
)
def test_joining_loses_nothing_mixes_nothing_and_reaches_its_length(
    lengths: list[tuple[float, str]], min_s: float
) -> None:
    indices = [10 + i for i in range(len(lengths))]
    groups = join_short(indices, [s for s, _ in lengths], [c for _, c in lengths], min_s)
    assert sorted(i for group in groups for i in group) == indices
    assert [g[0] for g in groups] == sorted(g[0] for g in groups)
    for condition in "abc":
        mine = [g for g in groups if lengths[g[0] - 10][1] == condition]
        sums = [sum(lengths[i - 10][0] for i in g) for g in mine]
        assert all(lengths[i - 10][1] == condition for g in mine for i in g)
        assert all(total >= min_s for total in sums) or len(mine) == 1
    for group in groups:
        parts = [lengths[i - 10][0] for i in group]
        assert group == sorted(group)
        assert len(group) == 1 or min(parts) < min_s


def test_the_join_by_hand() -> None:
    seconds = [2.0, 6.0, 2.0, 1.5, 3.0, 1.0, 7.0, 2.0]
    genres = ["a", "a", "a", "a", "b", "a", "c", "c"]
    groups = join_short(range(8), seconds, genres, 5.0)
    #   a: 2 + 2 + 1.5 reach 5; the rest of 1 s joins them; 6 s stands alone
    #   b: 3 s has nobody;  c: 2 s joins the long one
    assert groups == [[0, 2, 3, 5], [1], [4], [6, 7]]


def test_validation_speakers_are_the_first_by_hash_of_seed_and_name() -> None:
    counts = {f"s{i:03d}": 1 + i % 7 for i in range(60)}
    chosen = choose_validation(counts, seed=9, n_speakers=5, min_utterances=4)
    ranked = sorted(counts, key=lambda s: hashlib.sha256(f"9:{s}".encode()).hexdigest())
    assert chosen == set([s for s in ranked if counts[s] >= 4][:5])
    shuffled = dict(sorted(counts.items(), reverse=True))
    assert choose_validation(shuffled, seed=9, n_speakers=5, min_utterances=4) == chosen
    assert choose_validation(counts, seed=8, n_speakers=5, min_utterances=4) != chosen


@pytest.mark.parametrize(("n", "wanted"), [(10, 2), (60, 3), (2_793, 100)])
def test_without_a_number_a_twentieth_is_held_back(n: int, wanted: int) -> None:
    counts = dict.fromkeys(map(str, range(n)), 9)
    assert len(choose_validation(counts, seed=0, n_speakers=None, min_utterances=4)) == wanted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_speakers": 1}, "1 validation speakers; wanted at least 2"),
        ({"val_speakers": 11}, r"11 validation speakers wanted, but 10 of 10 have at least 4"),
        ({"val_speakers": 9}, "leave 1 to train on; wanted at least 2"),
        ({"val_utterances": 7}, "but 0 of 10 have at least 7 usable"),
        ({"val_utterances": 1}, "val_utterances 1; wanted at least 2"),
        ({"join_s": -1.0}, "join_s -1"),
        ({"min_s": 0.0}, "min_s 0"),
    ],
)
def test_impossible_options_are_refused(
    miniature: Miniature, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        prepare(miniature, tmp_path, **options)
    assert not {p.name for p in tmp_path.iterdir()} - {"probed.jsonl"}


def test_a_corpus_of_nothing_usable_is_refused(tmp_path: Path) -> None:
    for speaker in ("anna", "bob"):
        (tmp_path / "in" / speaker).mkdir(parents=True)
        (tmp_path / "in" / speaker / "a.wav").write_text("no audio")
    with pytest.raises(CorpusError, match=r"none of 2 files can be used, for instance .*a\.wav"):
        plan_corpus(read_folder(tmp_path / "in"), tmp_path / "out")


@pytest.mark.speech
def test_real_speech_in_cn_celebs_folders(speech_root: Path, tmp_path: Path) -> None:
    mini = build_cnceleb(tmp_path, pool=speech_root / "train")
    report = prepare(mini, tmp_path / "out")
    assert report["dropped"] == {} or set(report["dropped"]) == {"too short"}
    assert report["train"]["n_files"] + report["val"]["n_files"] > 55
