from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from groove.errors import ManifestError
from groove.manifest import Utterance, read_manifest, write_manifest

GOOD = {"utterance_id": "u1", "speaker_id": "张三", "path": "wav/a.flac", "seconds": 4}


def written(folder: Path, *lines: object, name: str = "train.jsonl") -> Path:
    path = folder / name
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def test_a_line_is_an_utterance(tmp_path: Path) -> None:
    path = written(tmp_path, {**GOOD, "genre": "singing", "take": 3})
    (utterance,) = read_manifest(path)
    assert utterance == Utterance(
        "u1", "张三", tmp_path / "wav/a.flac", 4.0, {"genre": "singing", "take": 3}
    )
    assert isinstance(utterance.seconds, float)
    assert len({utterance, utterance}) == 1


def test_relative_paths_start_at_the_manifest_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corpus" / "wav").mkdir(parents=True)
    (tmp_path / "corpus" / "wav" / "a.flac").write_bytes(b"x")
    written(tmp_path / "corpus", GOOD)
    monkeypatch.chdir(tmp_path)
    (utterance,) = read_manifest("corpus/train.jsonl")
    assert utterance.path.read_bytes() == b"x"
    absolute = {**GOOD, "path": str(tmp_path / "b.flac")}
    assert read_manifest(written(tmp_path, absolute))[0].path == tmp_path / "b.flac"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    utterances = [
        Utterance("u1", "张三", tmp_path / "wav" / "a.flac", 4.25, {"genre": "唱歌"}),
        Utterance("u2", "s", tmp_path.parent / "elsewhere" / "b.flac", 1.0, {}),
    ]
    path = tmp_path / "list.jsonl"
    write_manifest(iter(utterances), path)
    assert read_manifest(path) == utterances
    first, second = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    assert first["path"] == "wav/a.flac" and Path(second["path"]).is_absolute()
    assert "唱歌" in path.read_text("utf-8")


def test_a_corpus_can_be_moved_with_its_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_manifest([Utterance("u", "s", Path("old/wav/a.flac"), 1.0)], "old/list.jsonl")
    (tmp_path / "old").rename(tmp_path / "new")
    assert read_manifest("new/list.jsonl")[0].path == Path("new/wav/a.flac")


def test_a_failed_write_leaves_the_old_list_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "list.jsonl"
    write_manifest([Utterance("old", "s", tmp_path / "a", 1.0)], path)

    def full(fd: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_manifest([Utterance("new", "s", tmp_path / "a", 1.0)], path)
    assert [u.utterance_id for u in read_manifest(path)] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in GOOD.items() if k != key}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"utt": "u", "path": "a"}', r'no "utterance_id" \(keys: utt, path\)\. See docs/'),
        (without("speaker_id"), r'no "speaker_id" \(keys: utterance_id, path, seconds\)'),
        (without("seconds"), 'no "seconds"'),
        ({**GOOD, "speaker_id": 12}, '"speaker_id" is 12; wanted text'),
        ({**GOOD, "utterance_id": " "}, "\"utterance_id\" is ' '; wanted text"),
        ({**GOOD, "path": None}, '"path" is None; wanted text'),
        ({**GOOD, "seconds": "4"}, "\"seconds\" is '4'; wanted a positive number"),
        ({**GOOD, "seconds": True}, '"seconds" is True; wanted a positive number'),
        ({**GOOD, "seconds": 0}, '"seconds" is 0; wanted a positive number'),
        ({**GOOD, "seconds": float("nan")}, '"seconds" is nan; wanted a positive number'),
        ({**GOOD, "seconds": float("inf")}, '"seconds" is inf; wanted a positive number'),
        ("[1]", "not a JSON object"),
        ("u1 wav/a.flac", "not JSON"),
        ({**GOOD, "utterance_id": "u0"}, 'utterance_id "u0" stands in line 1 already'),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path: Path, line: object, message: str) -> None:
    path = written(tmp_path, {**GOOD, "utterance_id": "u0"}, "", line)
    with pytest.raises(ManifestError, match=f"^train.jsonl:3: {message}"):
        read_manifest(path)


def test_a_list_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nowhere\.jsonl: No such file"):
        read_manifest(tmp_path / "nowhere.jsonl")
    with pytest.raises(ManifestError, match="no utterance in it"):
        read_manifest(written(tmp_path, "", "  "))
    (tmp_path / "gbk.jsonl").write_bytes("张".encode("gbk"))
    with pytest.raises(ManifestError, match=r"gbk\.jsonl: not UTF-8 text"):
        read_manifest(tmp_path / "gbk.jsonl")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n")
    assert len(read_manifest(path)) == 1


def test_a_line_separator_inside_an_id_does_not_break_the_line(tmp_path: Path) -> None:
    odd = Utterance("a\u2028b", "s", tmp_path / "a", 1.0)
    write_manifest([odd], tmp_path / "list.jsonl")
    assert read_manifest(tmp_path / "list.jsonl") == [odd]


@pytest.mark.parametrize(
    ("utterances", "message"),
    [
        ([], "no utterance to write"),
        ([Utterance("u", "s", Path("a"), 1.0)] * 2, '"u" occurs twice'),
        ([Utterance("u", "s", Path("a"), 1.0, {"path": "b"})], r"fields \['path'\] are required"),
        ([Utterance("u", "s", Path("a"), 1.0, {"when": object()})], "not JSON serializable"),
        ([Utterance("u", "s", Path("a"), 1.0, {"snr": float("nan")})], "not JSON compliant"),
        ([Utterance("u", "", Path("a"), 1.0)], "\"speaker_id\" is ''; wanted text"),
        ([Utterance("u", "s", Path("a"), -1.0)], '"seconds" is -1.0'),
    ],
)
def test_what_could_not_be_read_is_not_written(
    tmp_path: Path, utterances: list[Utterance], message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        write_manifest(utterances, tmp_path / "list.jsonl")
    assert not list(tmp_path.iterdir())
