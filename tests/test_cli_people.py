"""The commands around known voices, as a user types them."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groove.cli import main
from groove.voiceprints.database import Database
from groove.voiceprints.store import VoiceprintStore
from tests.test_cli import A2, TINY_MODEL, A, B, wav

MODEL = ("--model", str(TINY_MODEL))


@pytest.fixture
def db(tmp_path: Path) -> tuple[str, str]:
    return "--db", str(tmp_path / "people.db")


@pytest.fixture
def done(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the command in this process; give what it prints, or its error for status 2."""

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["groove", *arguments])
        ended = 0
        try:
            main()
        except SystemExit as left:
            ended = int(left.code or 0)
        shown = capsys.readouterr()
        assert ended == status, shown.err
        if status == 2:
            assert shown.out == "" and shown.err.count("\n") == 1
            return shown.err
        return shown.out

    return run


def test_from_enrolling_to_forgetting(
    done: Callable[..., str], db: tuple[str, str], tmp_path: Path
) -> None:
    loose = ("--threshold", "-1")
    shown = done("enroll", "张三", A, A2, "--consent", "form 17", *loose, *MODEL, *db)
    assert "张三" in shown and "2 new" in shown
    values = json.loads(done("enroll", "José", B, "--json", *loose, *MODEL, *db))
    assert values["name"] == "José" and values["n_added"] == 1
    assert "same voice" in done("verify", "张三", A, *loose, *MODEL, *db)
    refused = json.loads(
        done("verify", "张三", B, "--threshold", "1", "--json", *MODEL, *db, status=1)
    )
    assert refused["decision"] == "different" and refused["name"] == "张三"
    found = json.loads(done("identify", A, "--top", "1", "--json", *loose, *MODEL, *db))
    assert found["decision"] == "named" and len(found["candidates"]) == 1
    assert "nobody" in done("identify", A2, "--threshold", "1", *MODEL, *db, status=1)
    listed = json.loads(done("people", "--json", *db))["people"]
    assert {p["name"] for p in listed} == {"张三", "José"}
    assert "consent: form 17" in done("people", *db)
    out = tmp_path / "export.jsonl"
    done("export-people", "张三", "--out", str(out), "--audit", "--embeddings", *db)
    exported = json.loads(out.read_text("utf-8"))
    assert len(exported["utterances"][0]["embedding"]) > 3
    assert [entry["action"] for entry in exported["audit"]][0] == "enroll"
    assert sys.platform == "win32" or stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "embedding" not in done("export-people", *db)
    log = VoiceprintStore(db[1]).audit_log()
    handed = [(e.person_id, e.detail) for e in log if e.action == "export"]
    ids = sorted(p["person_id"] for p in listed)
    assert handed[0] == (exported["person_id"], "embeddings")
    assert sorted(handed[1:]) == [(person_id, "") for person_id in ids]
    utterance = exported["utterances"][0]["utterance_id"]
    done("forget", "张三", "--utterance", utterance, "--yes", *db)
    gone = json.loads(done("forget", "张三", "José", "--yes", "--json", *db))
    assert gone["n_people"] == 2 and len(gone["forgotten"]) == 2
    assert json.loads(done("people", "--json", *db)) == {"people": []}


def test_reembedding_by_manifest_goes_on_and_says_who_is_left(
    done: Callable[..., str], db: tuple[str, str], tmp_path: Path
) -> None:
    for name, file in (("a", A), ("b", B), ("c", A2)):
        done("enroll", name, file, *MODEL, *db, "--threshold", "-1")
    # the same model, but for one byte at its end that protobuf ignores as an unknown field
    other = tmp_path / "other.onnx"
    other.write_bytes(TINY_MODEL.read_bytes() + b"\xa0\x1f\x01")
    newer = ("--model", str(other), "--threshold", "-1")
    assert "groove reembed" in done("verify", "a", A, *newer, *db, status=2)
    manifest = tmp_path / "list.jsonl"
    rows = [
        {"utterance_id": f"u{i}", "speaker_id": name, "path": path, "seconds": 4.0}
        for i, (name, path) in enumerate((("a", A), ("a", A2), ("b", B), ("stranger", B)))
    ]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done("reembed", "a", A, *newer, *db)
    values = json.loads(done("reembed", str(manifest), "--json", *newer, *db))
    assert values == {"moved": 1, "left": ["c"], "failed": {}}
    done("verify", "b", B, *newer, *db)


def test_reembedding_gets_past_people_whose_recordings_are_bad(
    done: Callable[..., str],
    db: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, file in (("silent", A), ("gone", A2), ("y", B), ("z", A)):
        done("enroll", name, file, *MODEL, *db, "--threshold", "-1")
    other, silence = tmp_path / "other.onnx", tmp_path / "silence.wav"
    other.write_bytes(TINY_MODEL.read_bytes() + b"\xa0\x1f\x01")
    silence.write_bytes(wav(np.zeros(32_000)))
    manifest = tmp_path / "list.jsonl"
    absent = tmp_path / "absent.wav"
    rows = [
        {"utterance_id": name, "speaker_id": name, "path": str(path), "seconds": 4.0}
        for name, path in (("silent", silence), ("gone", absent), ("y", A2), ("z", B))
    ]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    n_erased = []
    erase = Database.erase

    def counted(self: Database, deleted: list[bytes], **options: Any) -> int:
        n_erased.append(len(deleted))
        return erase(self, deleted, **options)

    monkeypatch.setattr(Database, "erase", counted)
    asked = ["groove", "reembed", str(manifest), "--json", "--model", str(other), *db]
    monkeypatch.setattr(sys, "argv", [*asked, "--threshold", "-1"])
    with pytest.raises(SystemExit) as left:
        main()
    shown = capsys.readouterr()
    values = json.loads(shown.out)
    failed = values.pop("failed")
    assert left.value.code == 2 and values == {"moved": 2, "left": ["gone", "silent"]}
    assert sorted(failed) == ["gone", "silent"] and "absent.wav: no such file" in failed["gone"]
    assert "silence.wav: no speech" in failed["silent"]
    assert all(f"groove: {name}: {reason}\n" in shown.err for name, reason in failed.items())
    assert n_erased == [2]  # both old embeddings, at once


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("enroll", "a", "absent.wav"), "absent.wav: no such file"),
        (("enroll", " ", A), "0 characters"),
        (("verify", "nobody", A), "nobody: nobody of that name or id"),
        (("identify", A, "--fpir", "2"), "between 0 and 1"),
        (("forget", "nobody", "--yes"), "nobody of that name"),
        (("forget", "known"), "cannot be undone; add --yes"),
        (("reembed", "known"), "give the recordings of known"),
        (("export-people", "nobody"), "nobody of that name"),
    ],
)
def test_errors_are_one_line_and_status_2(
    done: Callable[..., str], db: tuple[str, str], arguments: tuple[str, ...], message: str
) -> None:
    done("enroll", "known", A, *MODEL, *db)
    model = MODEL if arguments[0] in ("enroll", "verify", "identify", "reembed") else ()
    assert message in done(*arguments, *model, *db, status=2)


def test_asking_makes_no_store(done: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "absent.db"
    for arguments in (("people",), ("identify", A, *MODEL), ("forget", "a", "--yes")):
        assert "no such store" in done(*arguments, "--db", str(path), status=2)
    assert not path.exists()
