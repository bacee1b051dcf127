"""A small CN-Celeb tree, laid out as the release is: .wav in the lists, .flac on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from groove.corpora.cnceleb_eval import JOINED, MEAN, genre_of, read_cnceleb_eval, speaker_of
from groove.corpora.files import resolve_audio
from groove.embedder import Embedder
from groove.errors import ManifestError
from groove.evaluation.evaluate import evaluate
from groove.evaluation.refusals import refuse_missing
from groove.evaluation.report import write_report
from groove.evaluation.systems import Settings, System
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder

N_ENROLLED = 4  # recordings below data/
TESTS = [
    "id00800-singing-01-005",
    "id00800-live_broadcast-02-001",
    "id00801-interview-01-001",
    "id00805-drama-01-001",  # a speaker that is not enrolled
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "CN-Celeb_flac"
    lists = root / "eval" / "lists"
    lists.mkdir(parents=True)
    enrollments = {
        "id00800": ["singing-01-001", "singing-01-002"],
        "id00801": ["interview-01-002", "speech-03-001"],
    }
    for speaker, names in enrollments.items():
        for name in names:
            touch(root / "data" / speaker / f"{name}.flac")
        touch(root / "eval" / "enroll" / f"{speaker}-enroll.flac")
    for name in TESTS:
        touch(root / "eval" / "test" / f"{name}.flac")
    (lists / "enroll.lst").write_text(
        "".join(f"{s}-enroll enroll/{s}-enroll.wav\n" for s in enrollments)
    )
    (lists / "enroll.map").write_text(
        "".join(
            f"{s}-enroll {' '.join(f'{s}/{n}.wav' for n in names)}\n"
            for s, names in enrollments.items()
        )
    )
    (lists / "trials.lst").write_text(
        "".join(
            f"{s}-enroll test/{name}.wav {int(name.startswith(s))}\n"
            for s in enrollments
            for name in TESTS
        )
    )
    return root


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_both_protocols_over_the_same_trials(root: Path) -> None:
    mean, joined = read_cnceleb_eval(root)
    assert (mean.protocol, joined.protocol) == (MEAN, JOINED)
    assert mean.table is joined.table and len(mean.table) == 8 and mean.table.n_target == 3
    assert mean.enrollment_files[0] == (
        root / "data" / "id00800" / "singing-01-001.flac",
        root / "data" / "id00800" / "singing-01-002.flac",
    )
    assert joined.enrollment_files[0] == (root / "eval" / "enroll" / "id00800-enroll.flac",)
    assert [p and p.name for p in mean.test_files] == [f"{name}.flac" for name in TESTS]
    assert mean.enrollment_conditions == ("singing", "mixed")
    assert mean.test_conditions == ("singing", "live_broadcast", "interview", "drama")
    assert mean.speaker_names == ("id00800", "id00801", "id00805")
    assert mean.enrollment_speakers.tolist() == [0, 1]
    assert mean.test_speakers.tolist() == [0, 0, 1, 2]
    assert mean.available().all() and not mean.missing
    assert "NOT the official list" in mean.notes[0] and "8 trials" in mean.notes[0]


def test_the_eval_folder_will_do_and_without_data_the_mean_protocol_is_missing(root: Path) -> None:
    assert len(read_cnceleb_eval(root / "eval")) == 2
    (root / "data").rename(root / "elsewhere")
    mean, joined = read_cnceleb_eval(root)
    assert (mean.protocol, joined.protocol) == (MEAN, JOINED)
    assert joined.available().all() and not joined.missing
    assert not mean.available().any() and len(mean.missing) == N_ENROLLED
    with pytest.raises(ManifestError, match=rf"CN-Celeb.E: {N_ENROLLED} files are missing"):
        refuse_missing([mean, joined])
    (root / "eval" / "enroll").rename(root / "nowhere")
    with pytest.raises(ManifestError, match="no recording of the trials is there"):
        read_cnceleb_eval(root)


def test_a_protocol_without_its_files_stands_in_the_report(root: Path, tmp_path: Path) -> None:
    """Real voices under the names; the report is joined alone, and says what is not in it."""
    voices = [VOICE_A, VOICE_A2, VOICE_B]
    for i, path in enumerate(sorted((root / "eval").rglob("*.flac"))):
        path.write_bytes(voices[i % 3].read_bytes())
    (root / "data").rename(root / "elsewhere")
    systems = [System("fake", Embedder(FakeEncoder()))]
    report = evaluate(systems, read_cnceleb_eval(root), Settings(n_draws=2))
    (lost,) = report.unmeasured
    assert lost.protocol == MEAN and lost.exclusions.n_missing_trials == 8
    assert f"{N_ENROLLED} files are missing" in lost.reason
    assert [system.protocol for system in report.systems] == [JOINED]
    write_report(report, tmp_path / "out", figures=False)
    text = (tmp_path / "out" / "metrics.txt").read_text()
    assert "! NOT measured: fake, mean of embeddings: 0 target and 0 non-target trials" in text
    assert len((tmp_path / "out" / "missing.txt").read_text().splitlines()) == N_ENROLLED
    with pytest.raises(ManifestError, match="files are missing"):
        evaluate(systems, read_cnceleb_eval(root), Settings(n_draws=2, strict=True))


def test_a_missing_file_is_listed_and_its_trials_are_not_available(root: Path) -> None:
    (root / "eval" / "test" / f"{TESTS[2]}.flac").unlink()
    (root / "data" / "id00800" / "singing-01-002.flac").unlink()
    mean, joined = read_cnceleb_eval(root)
    assert joined.missing == (f"test/{TESTS[2]}.wav",)
    assert joined.available().tolist() == [True, True, False, True] * 2
    assert len(mean.missing) == 2
    assert mean.available().tolist() == [False] * 4 + [True, True, False, True]


def test_names() -> None:
    assert genre_of("test/id00800-live_broadcast-01-005.wav") == "live_broadcast"
    assert genre_of("id00012/singing-01-001.wav") == "singing"
    assert genre_of("enroll/id00800-enroll.wav") == "unknown"
    assert speaker_of("id00012/singing-01-001.wav") == speaker_of("id00012-enroll") == "id00012"
    with pytest.raises(ManifestError, match="no speaker id"):
        speaker_of("singing-01-001.wav")


def test_lists_that_do_not_fit_are_refused(root: Path) -> None:
    lists = root / "eval" / "lists"
    trials = (lists / "trials.lst").read_text()
    (lists / "trials.lst").write_text(trials + "id00900-enroll test/id00800-singing-01-005.wav 0\n")
    with pytest.raises(ManifestError, match=r"enroll.map: .*enrollment id00900-enroll"):
        read_cnceleb_eval(root)
    (lists / "trials.lst").write_text(
        trials.replace("singing-01-005.wav 1", "singing-01-005.wav 0")
    )
    with pytest.raises(ManifestError, match="the label disagrees with the names"):
        read_cnceleb_eval(root)
    (lists / "trials.lst").write_text(trials + "id00800-enroll 1\n")
    with pytest.raises(ManifestError, match=r"trials.lst:9: 2 fields"):
        read_cnceleb_eval(root)
    (lists / "trials.lst").unlink()
    with pytest.raises(ManifestError, match=r"no eval/lists/trials.lst"):
        read_cnceleb_eval(root)


def test_audio_is_found_under_another_suffix(tmp_path: Path) -> None:
    touch(tmp_path / "a.b.flac")
    assert resolve_audio(tmp_path / "a.b.wav") == tmp_path / "a.b.flac"
    assert resolve_audio(tmp_path / "a.b") == tmp_path / "a.b.flac"
    assert resolve_audio(tmp_path / "a.wav") is None
    touch(tmp_path / "a.b.wav")
    assert resolve_audio(tmp_path / "a.b.wav") == tmp_path / "a.b.wav"
