from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from groove.bulk import Recording, embed_many, find_recordings, read_rows
from groove.embedder import Embedder
from groove.errors import ManifestError, SettingsError
from groove.parallel import run_parallel
from tests.conftest import ROOT, VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder

VOICES = [Recording(path.stem, path) for path in (VOICE_A, VOICE_A2, VOICE_B)]


def test_rows_are_in_the_order_asked_and_equal_to_embedding_one_by_one(tmp_path: Path) -> None:
    summary = embed_many(VOICES, Embedder(FakeEncoder()), tmp_path, workers=2)
    assert (summary.n_embedded, summary.n_known, summary.n_failed) == (3, 0, 0)
    with np.load(summary.result, allow_pickle=False) as data:
        assert data["utterance_id"].tolist() == [v.utterance_id for v in VOICES]
        one_by_one = [Embedder(FakeEncoder()).embed(v.path) for v in VOICES]
        assert np.array_equal(data["embedding"], one_by_one)
        assert json.loads(str(data["meta"]))["model"] == "fake 1"
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["embeddings.npz", "failed.jsonl"]


def test_a_bad_file_is_listed_with_its_reason_and_the_rest_is_done(tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("this is no audio")
    silent = tmp_path / "silent.wav"
    silent.write_bytes(wav_of_silence())
    work = [Recording("bad", bad), *VOICES, Recording("gone", tmp_path / "gone.wav")]
    work.append(Recording("silent", silent))
    summary = embed_many(work, Embedder(FakeEncoder()), tmp_path / "out", workers=2)
    assert (summary.n_embedded, summary.n_failed) == (3, 3)
    lines = (tmp_path / "out" / "failed.jsonl").read_text(encoding="utf-8").splitlines()
    reasons = {line["utterance_id"]: line["reason"] for line in map(json.loads, lines)}
    assert list(reasons) == ["bad", "gone", "silent"]  # as asked, not as threads finish
    assert "speech" in reasons["silent"] and "gone.wav" in reasons["gone"]


def test_an_unforeseen_fault_costs_one_recording(tmp_path: Path) -> None:
    class Faulty(FakeEncoder):
        def __call__(self, waveforms: np.ndarray) -> np.ndarray:
            if waveforms.shape[1] == N_OF_B:
                raise ZeroDivisionError("a bug")
            return super().__call__(waveforms)

    from groove.audio import read_audio

    N_OF_B = len(read_audio(VOICE_B))
    assert all(len(read_audio(other)) != N_OF_B for other in (VOICE_A, VOICE_A2))
    summary = embed_many(VOICES, Embedder(Faulty()), tmp_path, workers=2)
    assert (summary.n_embedded, summary.n_failed) == (2, 1)
    assert "unforeseen ZeroDivisionError: a bug" in (tmp_path / "failed.jsonl").read_text("utf-8")


@pytest.mark.parametrize("damage", ["text", "cut", "other"])
def test_a_damaged_result_is_a_clear_error_and_stays(tmp_path: Path, damage: str) -> None:
    result = embed_many(VOICES[:1], Embedder(FakeEncoder()), tmp_path, workers=1).result
    if damage == "other":
        np.savez(result, numbers=np.arange(3))
    else:
        content = result.read_bytes()
        result.write_bytes(b"junk" if damage == "text" else content[: len(content) // 2])
    before = result.read_bytes()
    with pytest.raises(SettingsError, match="not a result of `groove embed`, or damaged; move"):
        embed_many(VOICES, Embedder(FakeEncoder()), tmp_path, workers=1)
    assert result.read_bytes() == before


def wav_of_silence() -> bytes:
    import io
    import wave

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    return buffer.getvalue()


def test_a_second_run_listens_to_nothing_again(tmp_path: Path) -> None:
    embed_many(VOICES[:2], Embedder(FakeEncoder()), tmp_path, workers=1)
    encoder = FakeEncoder()
    summary = embed_many(VOICES, Embedder(encoder), tmp_path, workers=1)
    assert (summary.n_embedded, summary.n_known) == (1, 2)
    assert len(encoder.shapes) == 1
    assert [row.utterance_id for row in read_rows(tmp_path)] == [v.utterance_id for v in VOICES]


def test_a_changed_file_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(VOICE_A.read_bytes())
    work = [Recording("a", path)]
    embed_many(work, Embedder(FakeEncoder()), tmp_path / "out", workers=1)
    path.write_bytes(VOICE_B.read_bytes())
    summary = embed_many(work, Embedder(FakeEncoder()), tmp_path / "out", workers=1)
    assert summary.n_embedded == 1
    (row,) = read_rows(tmp_path / "out")
    assert np.array_equal(row.embedding, Embedder(FakeEncoder()).embed(VOICE_B))


def test_what_is_done_is_kept_when_the_run_breaks(tmp_path: Path) -> None:
    class Breaks(FakeEncoder):
        def __call__(self, waveforms):  # type: ignore[no-untyped-def]
            if len(self.shapes) == 2:
                raise KeyboardInterrupt
            return super().__call__(waveforms)

    with pytest.raises(KeyboardInterrupt):
        embed_many(VOICES, Embedder(Breaks()), tmp_path, workers=1)
    assert len(read_rows(tmp_path)) == 2
    assert embed_many(VOICES, Embedder(FakeEncoder()), tmp_path, workers=1).n_known == 2


def test_an_error_does_not_lose_what_was_finished_before_it() -> None:
    for _ in range(5):  # what is done comes as a set, in whatever order
        first, others = threading.Event(), threading.Semaphore(0)

        def work(item: int, first=first, others=others) -> int:  # type: ignore[no-untyped-def]
            if item == 5:
                for _ in range(4):
                    others.acquire()
                time.sleep(0.02)  # until their results are there
                raise ValueError("five")
            if item:
                first.wait(10)
                others.release()
            return item

        found = []
        with pytest.raises(ValueError, match="five"):
            for _, result in run_parallel(range(6), work, workers=6):
                found.append(result)
                first.set()
                time.sleep(0.1)  # the rest ends before it looks again
        assert sorted(found) == [0, 1, 2, 3, 4]


def test_another_model_or_cutting_is_refused_and_loses_nothing(tmp_path: Path) -> None:
    embed_many(VOICES[:1], Embedder(FakeEncoder()), tmp_path, workers=1)
    with pytest.raises(SettingsError, match="made with another crop_s, num_crops"):
        embed_many(VOICES, Embedder(FakeEncoder(), num_crops=2), tmp_path, workers=1)
    other = FakeEncoder()
    other.model_hash = "1" * 64
    with pytest.raises(SettingsError, match="made with another model_hash"):
        embed_many(VOICES, Embedder(other), tmp_path, workers=1)
    assert len(read_rows(tmp_path)) == 1


def test_two_recordings_with_one_id_are_refused(tmp_path: Path) -> None:
    work = [Recording("same", VOICE_A), Recording("same", VOICE_B)]
    with pytest.raises(ManifestError, match='two recordings are called "same"'):
        embed_many(work, Embedder(FakeEncoder()), tmp_path, workers=1)


def test_a_folder_gives_its_audio_files_and_says_when_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.FLAC", "b/1.wav", "notes.txt", "c.opus"):
        (tmp_path / name).touch()
    assert [r.utterance_id for r in find_recordings(tmp_path)] == ["b/1.wav", "b/2.FLAC", "c.opus"]
    with pytest.raises(ManifestError, match="no audio files"):
        find_recordings(tmp_path / "nothing")


SLOW_RUN = """
import sys, time
from pathlib import Path
import groove.bulk
from groove.bulk import Recording, embed_many
from groove.embedder import Embedder
from tests.fakes import FakeEncoder

class Slow(FakeEncoder):
    def __call__(self, waveforms):
        time.sleep(0.05)
        return super().__call__(waveforms)

groove.bulk.FLUSH_S = 0.2
voice = Path(sys.argv[1])
work = [Recording(str(i), voice) for i in range(200)]
embed_many(work, Embedder(Slow()), Path(sys.argv[2]), workers=1)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_in_the_middle_loses_at_most_what_was_not_flushed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, str(VOICE_A), str(out)], env=environment
    )
    try:
        deadline = time.monotonic() + 60
        while len(list(out.glob("embeddings.part-*.npz"))) < 2:
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    done = len(read_rows(out))
    assert 0 < done < 200
    work = [Recording(str(i), VOICE_A) for i in range(200)]
    summary = embed_many(work, Embedder(FakeEncoder()), out, workers=2)
    assert (summary.n_known, summary.n_embedded) == (done, 200 - done)
    assert len(read_rows(out)) == 200
    assert not list(out.glob("embeddings.part-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="rights of Unix")
def test_only_the_owner_may_read_the_embeddings(tmp_path: Path) -> None:
    recordings = [Recording("a", VOICE_A)]
    summary = embed_many(recordings, Embedder(FakeEncoder()), tmp_path, workers=1)
    assert stat.S_IMODE(summary.result.stat().st_mode) == 0o600


def test_where_nothing_can_be_embedded_every_reason_is_listed(tmp_path: Path) -> None:
    gone = Recording("gone", tmp_path / "gone.wav")
    summary = embed_many([gone], Embedder(FakeEncoder()), tmp_path / "out", workers=1)
    assert (summary.n_embedded, summary.n_failed) == (0, 1)
    assert read_rows(tmp_path / "out") == []
