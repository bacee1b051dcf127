"""The store: what it keeps, what it refuses, and that deletion and kills leave nothing behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from groove.errors import ModelMismatch, SettingsError, StoreError, UnknownPerson
from groove.voiceprints import database, tables
from groove.voiceprints.database import SIDE_FILES
from groove.voiceprints.identification import Gallery
from groove.voiceprints.people import ModelTag, NewUtterance
from groove.voiceprints.store import VoiceprintStore, default_path
from tests.conftest import ROOT

D = 192
TAG = ModelTag("a" * 64, "f" * 16, "one 1", D)
OTHER = ModelTag("b" * 64, "f" * 16, "two 1", D)
OTHER_FRONT_END = ModelTag("a" * 64, "e" * 16, "one 1", D)


@pytest.fixture
def store(tmp_path: Path) -> VoiceprintStore:
    return VoiceprintStore(tmp_path / "people.db")


def unit(rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(D)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def utterances(rng: np.random.Generator, n: int = 1) -> list[NewUtterance]:
    return [NewUtterance(unit(rng), 4.0, 3.0 + i, f"{i}.wav") for i in range(n)]


def raw_bytes(path: Path) -> bytes:
    files = [path.with_name(path.name + suffix) for suffix in SIDE_FILES]
    return b"".join(file.read_bytes() for file in files if file.exists())


def holds(data: bytes, embedding: np.ndarray) -> bool:
    """Any sixteen of its bytes, at any place: the embedding must not survive in pieces, either."""
    blob = embedding.astype("<f4").tobytes()
    return any(blob[i : i + 16] in data for i in range(0, len(blob) - 15, 4))


def test_a_voiceprint_is_the_mean_scaled_to_length_1(
    store: VoiceprintStore, rng: np.random.Generator
) -> None:
    added = utterances(rng, 3)
    person, n_added = store.add("张三", added, TAG, consent="form 17")
    assert n_added == 3 and person.consent == "form 17" and person.speech_s == 12.0
    mean = np.mean([u.embedding.astype(np.float64) for u in added], axis=0)
    found = store.voiceprint("张三", TAG)
    np.testing.assert_allclose(found.embedding, mean / np.linalg.norm(mean), atol=1e-7)
    assert (found.n_utterances, found.speech_s) == (3, 12.0)
    (gallery_row,) = store.gallery(TAG).matrix
    np.testing.assert_allclose(gallery_row, found.embedding, atol=1e-6)


def test_one_utterance_can_be_taken_out(store: VoiceprintStore, rng: np.random.Generator) -> None:
    first, second = utterances(rng, 2)
    person, _ = store.add("a", [first, second], TAG)
    assert len(store.gallery(TAG)) == 1
    erased = store.remove_utterance("a", person.utterances[0].utterance_id)
    assert erased.n_utterances == 1 and not holds(raw_bytes(store.path), first.embedding)
    np.testing.assert_allclose(store.voiceprint("a", TAG).embedding, second.embedding, atol=1e-6)
    np.testing.assert_allclose(store.gallery(TAG).matrix[0], second.embedding, atol=1e-6)
    with pytest.raises(StoreError, match="only utterance of a"):
        store.remove_utterance("a", person.utterances[1].utterance_id)
    with pytest.raises(StoreError, match="has no utterance nothing"):
        store.remove_utterance("a", "nothing")


def test_enrolling_again_adds_and_the_same_utterance_is_not_added_twice(
    store: VoiceprintStore, rng: np.random.Generator
) -> None:
    first = utterances(rng, 2)
    before, _ = store.add("Jose\u0301", first, TAG)
    after, n_added = store.add("Jos\u00e9", first + utterances(rng), TAG)
    assert n_added == 1 and len(after.utterances) == 3
    assert after.person_id == before.person_id and len(store.people()) == 1


def test_names_ids_and_times(store: VoiceprintStore, rng: np.random.Generator) -> None:
    person, _ = store.add("李四", utterances(rng), TAG)
    assert len(person.person_id) == 16 and person.used_at is None
    assert store.person(person.person_id) == store.person("李四")
    store.record_use("verify", person.person_id, "same")
    assert store.person("李四").used_at is not None
    assert store.set_consent("李四", "withdrawn").consent == "withdrawn"
    with pytest.raises(UnknownPerson, match="王五: nobody of that name"):
        store.person("王五")


def test_deletion_is_in_the_bytes(store: VoiceprintStore, rng: np.random.Generator) -> None:
    kept, gone = utterances(rng, 5), utterances(rng, 40)
    store.add("kept", kept, TAG)
    for i, utterance in enumerate(gone):
        store.add(f"secret name {i % 8}", [utterance], TAG)
    idle = sqlite3.connect(store.path)  # another program: the log is not emptied by closing
    idle.execute("SELECT * FROM person").fetchall()
    before = raw_bytes(store.path)
    assert all(holds(before, u.embedding) for u in gone)  # the search itself works
    erased = store.forget([f"secret name {i}" for i in range(8)])
    assert (erased.n_people, erased.n_utterances) == (8, 40)
    after = raw_bytes(store.path)
    assert not any(holds(after, u.embedding) for u in gone)
    assert b"secret name" not in after
    assert all(holds(after, u.embedding) for u in kept)
    assert [p.name for p in store.people()] == ["kept"]
    idle.close()


def test_the_same_recording_under_two_names_stays_where_it_belongs(
    store: VoiceprintStore, rng: np.random.Generator
) -> None:
    twin = utterances(rng)
    store.add("a", twin, TAG)
    store.add("b", twin, TAG)
    store.forget(["a"])
    assert holds(raw_bytes(store.path), twin[0].embedding)
    store.forget(["b"])
    assert not holds(raw_bytes(store.path), twin[0].embedding)


def forget_and_die(path: Path, name: str) -> None:
    """Another process deletes the rows and is killed before the file is rewritten."""
    code = f"""
import os
from groove.voiceprints.database import Database
from groove.voiceprints.store import VoiceprintStore
import sqlite3
store = VoiceprintStore({str(path)!r})
Database.erase = lambda *_, **__: os.kill(os.getpid(), 9)
reader = sqlite3.connect({str(path)!r}, isolation_level=None)
reader.execute("BEGIN"); reader.execute("SELECT * FROM person").fetchall()
store.forget([{name!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL


def tokens(path: Path) -> list[tuple[str]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT key FROM meta WHERE key LIKE 'erasure_due%'").fetchall()
    connection.close()
    return found


def test_a_deletion_that_was_cut_short_is_completed_at_the_next_opening(
    store: VoiceprintStore, rng: np.random.Generator
) -> None:
    """The rows are deleted and the process dies before the file is rewritten: open log and all."""
    (gone,) = utterances(rng)
    store.add("a", [gone], TAG)
    forget_and_die(store.path, "a")
    assert holds(raw_bytes(store.path), gone.embedding)
    idle = sqlite3.connect(store.path)  # with it open, closing a connection empties no log
    idle.execute("SELECT * FROM person").fetchall()
    assert VoiceprintStore(store.path).people() == []
    assert not holds(raw_bytes(store.path), gone.embedding)
    idle.close()


def test_who_finishes_an_erasure_leaves_a_later_one_due(
    store: VoiceprintStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between one process's rewriting and its end another one deletes, and is killed."""
    first, second = utterances(rng, 2)
    store.add("first", [first], TAG)
    store.add("second", [second], TAG)
    idle = sqlite3.connect(store.path)  # with it open, closing a connection empties no log
    idle.execute("SELECT * FROM person").fetchall()
    empty = database._emptied_log

    def emptied_and_overtaken(connection: sqlite3.Connection, wait_s: float | None) -> bool:
        emptied = empty(connection, wait_s)
        assert len(tokens(store.path)) == 1
        forget_and_die(store.path, "second")
        return emptied

    with monkeypatch.context() as patched:
        patched.setattr(database, "_emptied_log", emptied_and_overtaken)
        store.forget(["first"])
    assert holds(raw_bytes(store.path), second.embedding)
    assert len(tokens(store.path)) == 1
    assert VoiceprintStore(store.path).people() == []
    assert not holds(raw_bytes(store.path), second.embedding)
    assert tokens(store.path) == []
    idle.close()


def test_an_erasure_that_failed_stays_due(
    store: VoiceprintStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gone,) = utterances(rng)
    store.add("a", [gone], TAG)
    with monkeypatch.context() as patched:
        patched.setattr(database.Database, "_search", lambda _, probes: (0, list(probes)))
        with pytest.raises(StoreError, match="still in the file"):
            store.forget(["a"])
    assert len(tokens(store.path)) == 1
    VoiceprintStore(store.path)
    assert tokens(store.path) == []


def test_the_search_finds_what_lies_across_two_blocks(
    store: VoiceprintStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept,) = utterances(rng)
    store.add("a", [kept], TAG)
    blob = kept.embedding.astype("<f4").tobytes()
    probes = [blob[i : i + database.PROBE] for i in range(len(blob) - database.PROBE + 1)]
    monkeypatch.setattr(database, "BLOCK", 64)
    n_bytes, found = store._database._search([*probes, bytes(range(16))])
    assert n_bytes == len(raw_bytes(store.path)) and set(found) == set(probes)


def test_forgetting_says_so_when_another_process_keeps_the_bytes(
    store: VoiceprintStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groove.voiceprints.database.BUSY_S", 0.05)
    (gone,) = utterances(rng)
    store.add("a", [gone], TAG)
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM person").fetchall()
    with pytest.raises(StoreError, match="another process"):
        store.forget(["a"])
    reader.close()
    VoiceprintStore(store.path)
    assert not holds(raw_bytes(store.path), gone.embedding)


def test_who_only_asks_is_not_held_up_by_an_erasure_that_is_due(
    store: VoiceprintStore,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While a reader holds the log: opening says so and goes on, deleting fails."""
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    monkeypatch.setattr(database, "OPENING_S", 0.05, raising=False)
    gone, kept = utterances(rng, 2)
    store.add("a", [gone], TAG)
    store.add("b", [kept], TAG)
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM person").fetchall()
    with pytest.raises(StoreError, match="another process"):
        store.forget(["a"])
    n_bytes = len(raw_bytes(store.path))
    for _ in range(2):
        opened = VoiceprintStore(store.path)
        assert "not erased yet, because another process" in capsys.readouterr().err
    assert len(raw_bytes(store.path)) == n_bytes  # the file was not rewritten in vain
    assert [p.name for p in opened.people()] == ["b"]
    with pytest.raises(StoreError, match="another process"):
        opened.forget(["b"])
    reader.close()
    assert VoiceprintStore(store.path).people() == [] and tokens(store.path) == []
    assert capsys.readouterr().err == ""
    assert not any(holds(raw_bytes(store.path), u.embedding) for u in (gone, kept))


def test_other_models_are_refused_with_the_way_out(
    store: VoiceprintStore, rng: np.random.Generator
) -> None:
    old = utterances(rng, 2)
    store.add("a", old, TAG)
    for tag in (OTHER, OTHER_FRONT_END):
        for act in (
            lambda tag=tag: store.voiceprint("a", tag),
            lambda tag=tag: store.gallery(tag),
            lambda tag=tag: store.add("a", utterances(rng), tag),
        ):
            with pytest.raises(ModelMismatch, match="groove reembed"):
                act()
    before = store.person("a")
    after, _ = store.add("a", utterances(rng), OTHER, replace=True)
    assert (after.person_id, after.created_at) == (before.person_id, before.created_at)
    assert len(after.utterances) == 1 and store.voiceprint("a", OTHER).n_utterances == 1
    assert not any(holds(raw_bytes(store.path), u.embedding) for u in old)
    with pytest.raises(UnknownPerson, match="nobody"):
        store.add("b", utterances(rng), OTHER, replace=True)


def test_the_gallery_follows_every_change_also_another_process(
    store: VoiceprintStore, rng: np.random.Generator
) -> None:
    store.add("a", utterances(rng), TAG)
    gallery = store.gallery(TAG)
    assert store.gallery(TAG) is gallery
    VoiceprintStore(store.path).add("b", utterances(rng), TAG)
    assert len(store.gallery(TAG)) == 2
    store.forget(["a"])
    assert len(store.gallery(TAG)) == 1
    assert store.entries([int(gallery.keys[0])]) == {}


def test_a_gallery_that_another_thread_lets_go_of_meanwhile_is_still_given(
    store: VoiceprintStore, rng: np.random.Generator
) -> None:
    class Interrupted(ModelTag):
        @property
        def hashes(self) -> tuple[str, str]:
            store._gallery = None  # as another thread's `forget` or reload does
            return super().hashes

    store.add("a", utterances(rng), TAG)
    gallery = store.gallery(TAG)
    assert store.gallery(Interrupted(*TAG.hashes, TAG.name, TAG.size)) is gallery


def test_threads_that_ask_at_once_share_one_loading(
    store: VoiceprintStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one asks while the first one loads; as soon as it may, it is given the same."""
    store.add("a", utterances(rng), TAG)
    load, galleries, threads = tables.load_gallery, [], []

    def overtaken(*arguments: object) -> Gallery:
        assert store._gallery_lock.locked()
        threads.append(threading.Thread(target=lambda: galleries.append(store.gallery(TAG))))
        threads[-1].start()
        return load(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tables, "load_gallery", overtaken)
    gallery = store.gallery(TAG)
    (thread,) = threads
    thread.join()
    assert len(threads) == 1 and galleries == [gallery]


def test_the_log_holds_no_names_and_no_numbers_of_voices(
    store: VoiceprintStore, rng: np.random.Generator
) -> None:
    person, _ = store.add("张三", utterances(rng), TAG)
    store.record_use("verify", person.person_id, "same")
    store.forget(["张三"])
    log = store.audit_log()
    assert [entry.action for entry in log] == ["enroll", "verify", "forget"]
    assert {entry.person_id for entry in log} == {person.person_id}
    assert "张三" not in repr(log)
    assert "张三".encode() not in raw_bytes(store.path)


@pytest.mark.skipif(sys.platform == "win32", reason="rights of Unix")
def test_only_the_owner_may_read(store: VoiceprintStore, rng: np.random.Generator) -> None:
    store.add("a", utterances(rng), TAG)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    store.path.chmod(0o644)
    VoiceprintStore(store.path)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert os.listdir(store.path.parent) == [store.path.name]


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("nothing but text, long enough to be looked at\n" * 10)
    sqlite3.connect(tmp_path / "foreign.db").execute("CREATE TABLE t (x)").connection.close()
    newer = VoiceprintStore(tmp_path / "newer.db").path
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for name, message in (
        ("text", "not a voiceprint store"),
        ("foreign.db", "not a voiceprint store"),
        ("newer.db", "version 99, this Groove reads 2"),
        (".", "a folder"),
        ("text/below.db", "cannot be made"),
    ):
        with pytest.raises(StoreError, match=message):
            VoiceprintStore(tmp_path / name)
    with pytest.raises(StoreError, match="no such store; enrol somebody first"):
        VoiceprintStore(tmp_path / "absent.db", must_exist=True)


def test_a_store_of_version_1_is_brought_up_to_date_and_keeps_everybody(
    store: VoiceprintStore, rng: np.random.Generator
) -> None:
    """Version 1 had no mark for telephone sound: what it holds counts as wide-band."""
    store.add("a", utterances(rng), TAG, consent="form 1")
    before = store.person("a"), store.voiceprint("a", TAG).embedding
    connection = sqlite3.connect(store.path)
    connection.execute("ALTER TABLE utterance DROP COLUMN narrow_band")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    opened = [VoiceprintStore(store.path) for _ in range(2)][1]
    assert opened.person("a") == before[0]
    np.testing.assert_array_equal(opened.voiceprint("a", TAG).embedding, before[1])
    assert not opened.voiceprint("a", TAG).narrow_band
    call = dataclasses.replace(utterances(rng, 1)[0], narrow_band=True)
    opened.add("b", [call], TAG)
    assert opened.voiceprint("b", TAG).narrow_band
    assert sorted(opened.gallery(TAG).narrow_band.tolist()) == [False, True]
    assert sqlite3.connect(store.path).execute("PRAGMA user_version").fetchone() == (2,)


def test_bad_embeddings_and_empty_lists_are_refused_and_leave_nothing(
    store: VoiceprintStore, rng: np.random.Generator
) -> None:
    good = utterances(rng)[0]
    for vector in (np.zeros(D), np.ones(D), np.full(D, np.nan), unit(rng)[:-1]):
        with pytest.raises(StoreError, match="wanted \\[192\\] and 1"):
            store.add("a", [good, NewUtterance(vector.astype(np.float32), 1, 1)], TAG)
    with pytest.raises(StoreError, match="at least one"):
        store.add("a", [], TAG)
    with pytest.raises(SettingsError, match="0 characters"):
        store.add("", [good], TAG)
    assert store.people() == []


def test_where_the_store_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GROOVE_DB", str(tmp_path / "x.db"))
    assert default_path() == tmp_path / "x.db"
    monkeypatch.delenv("GROOVE_DB")
    assert default_path().name == "people.db"


# A process that enrols, extends, replaces and forgets, and kills itself in the middle of a
# statement: after so many steps of SQLite's virtual machine.
WORKER = """
import os, sqlite3, sys
import numpy as np
path, steps = sys.argv[1], int(sys.argv[2])
connect, left = sqlite3.connect, [steps]
def counted(*arguments, **options):
    connection = connect(*arguments, **options)
    def step():
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), 9)
    connection.set_progress_handler(step, 1)
    return connection
sqlite3.connect = counted
from groove.voiceprints.people import ModelTag, NewUtterance
from groove.voiceprints.store import VoiceprintStore
tag, rng = ModelTag("a" * 64, "f" * 16, "one 1", 192), np.random.default_rng(steps)
def three():
    rows = rng.standard_normal((3, 192))
    return [NewUtterance((r / np.linalg.norm(r)).astype(np.float32), 4.0, 3.0) for r in rows]
store = VoiceprintStore(path)
for i in range(1000):
    store.add(f"{i}", three(), tag)
    store.record_use("verify", store.person(f"{i}").person_id)
    if i % 3 == 1:
        store.add(f"{i}", three(), tag, replace=True)
    if i % 3 == 2:
        store.forget([f"{i}"])
"""


def test_a_kill_in_the_middle_of_anything_leaves_a_whole_store(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    n_seen = 0
    for steps in (3, 120, 700, 1500, 2600, 4800, 7000):
        done = subprocess.run([sys.executable, "-c", WORKER, str(path), str(steps)], cwd=ROOT)
        assert done.returncode == -signal.SIGKILL, steps
        store = VoiceprintStore(path)
        for person in store.people():  # whole, or not there
            assert len(person.utterances) == 3
            n_seen += 1
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
        assert tokens(path) == []
        path.unlink()
    assert n_seen > 3


def test_processes_share_a_store(tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
from groove.voiceprints.people import ModelTag, NewUtterance
from groove.voiceprints.store import VoiceprintStore
tag, me = ModelTag("a" * 64, "f" * 16, "one 1", 192), int(sys.argv[2])
for i in range(10):
    v = np.random.default_rng(100 * me + i).standard_normal(192)
    u = NewUtterance((v / np.linalg.norm(v)).astype(np.float32), 4.0, 3.0)
    store = VoiceprintStore(sys.argv[1])
    store.add(f"{me}-{i}", [u], tag)
    store.add("shared", [u], tag)
    if i == 5:
        store.forget([f"{me}-0"])
"""
    path = tmp_path / "people.db"
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(me)], cwd=ROOT)
        for me in range(4)
    ]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    store = VoiceprintStore(path)
    assert len(store.people()) == 4 * 9 + 1
    assert len(store.person("shared").utterances) == 40
