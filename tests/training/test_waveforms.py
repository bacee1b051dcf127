"""Sources: crops of files, parts back to back, packs made, stopped, resumed and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from groove.audio import SAMPLE_RATE, read_audio
from groove.errors import CorpusError, EmptyAudio, ManifestError, UnreadableAudio
from groove.manifest import Utterance, read_manifest, write_manifest
from groove.training import packing
from groove.training.packing import PackedSource, pack
from groove.training.waveforms import CachedSource, FileSource, to_int16
from tests.training.sounds import corpus, write_noise, write_tone


@pytest.fixture
def tones(tmp_path: Path) -> list[Utterance]:
    return corpus(tmp_path / "audio", [2, 1, 3])[0]


def joined_utterance(folder: Path, seconds: list[float]) -> Utterance:
    """Files of noise in one utterance, named as manifests name them."""
    parts = []
    for i, length in enumerate(seconds):
        write_noise(folder / "wav" / f"{i}.flac", length, seed=i)
        parts.append({"path": f"wav/{i}.flac", "seconds": length})
    first = folder / "wav" / "0.flac"
    return Utterance("joined", "s", first, sum(seconds), {"parts": parts})


# ---- files --------------------------------------------------------------------------------------


def test_a_crop_is_a_slice_of_the_file(tones):
    source = FileSource(tones)
    whole = read_audio(tones[3].path)
    assert source.seconds(3) == 1.5
    np.testing.assert_array_equal(source.read(3, 0.25, 0.5), whole[4000:12_000])
    np.testing.assert_array_equal(source.read(3, 0, 99), whole)
    with pytest.raises(EmptyAudio, match=r"0.flac: no sample from 1.50 s on"):
        source.read(3, 1.5, 0.5)


def test_parts_are_read_back_to_back(tmp_path):
    utterance = joined_utterance(tmp_path, [1.0, 0.5, 2.0])
    pieces = [read_audio(tmp_path / "wav" / f"{i}.flac") for i in range(3)]
    whole = np.concatenate(pieces)
    source = FileSource([utterance])
    for start, length in [
        (0.0, 3.5),
        (0.0, 60.0),
        (0.75, 1.0),
        (1.0, 0.5),
        (1.25, 2.0),
        (3.0, 9.0),
    ]:
        first, n_samples = round(start * SAMPLE_RATE), round(length * SAMPLE_RATE)
        np.testing.assert_array_equal(
            source.read(0, start, length), whole[first : first + n_samples]
        )


def test_parts_survive_a_manifest_that_moves(tmp_path):
    utterance = joined_utterance(tmp_path / "here", [1.0, 1.0])
    write_manifest([utterance], tmp_path / "here" / "train.jsonl")
    (tmp_path / "here").rename(tmp_path / "there")
    (moved,) = read_manifest(tmp_path / "there" / "train.jsonl")
    assert len(FileSource([moved]).read(0, 0, 9)) == 32_000
    absolute = replace(
        moved,
        fields={
            "parts": [
                {"path": str(tmp_path / "there" / part["path"]), "seconds": part["seconds"]}
                for part in moved.fields["parts"]
            ]
        },
    )
    assert len(FileSource([absolute]).read(0, 0, 9)) == 32_000


@pytest.mark.parametrize("parts", ["x", [], [{"path": "a"}], [{"path": "a", "seconds": "b"}]])
def test_damaged_parts_are_refused(parts):
    utterance = Utterance("u", "s", Path("a"), 1.0, {"parts": parts})
    with pytest.raises(ManifestError, match='u: "parts" is damaged'):
        FileSource([utterance])


def test_parts_that_do_not_begin_with_the_utterance_are_refused():
    parts = [{"path": "wav/b.flac", "seconds": 1.0}]
    with pytest.raises(ManifestError, match=r'parts begin with "wav/b.flac" but its path is'):
        FileSource([Utterance("u", "s", Path("/x/wav/a.flac"), 1.0, {"parts": parts})])


def test_a_cache_gives_the_same_samples_kept_or_not(tones, tmp_path):
    write_tone(tmp_path / "x.wav", 300, 1.5, rate=44_100)
    utterances = [*tones, Utterance("x", "x", tmp_path / "x.wav", 1.5)]
    n_bytes = 2 * 24_000
    sources = [
        CachedSource(FileSource(utterances), len(utterances), budget)
        for budget in (0, 3 * n_bytes, 100 * n_bytes)
    ]
    for i in (0, 4, 6, 0, 4):
        one, other, third = (source.read(i, 0.5, 0.5) for source in sources)
        np.testing.assert_array_equal(other, one)
        np.testing.assert_allclose(third, one, atol=2 / 32768)
        np.testing.assert_allclose(one, FileSource(utterances).read(i, 0.5, 0.5), atol=1 / 32768)
    assert [len(source._kept) for source in sources] == [0, 1, 3]


def test_sixteen_bits_clip_at_full_scale():
    got = to_int16(np.array([0, 1, -1, 2, -2, 0.5, 1 / 32768], dtype=np.float32))
    np.testing.assert_array_equal(got, [0, 32767, -32768, 32767, -32768, 16384, 1])


# ---- packs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pack_holds_what_the_files_hold(workers, tones, tmp_path):
    utterances = [*tones, joined_utterance(tmp_path, [1.0, 0.5])]
    seen = []
    path = tmp_path / "made" / "train.i16"
    failed = pack(utterances, path, workers=workers, progress=lambda *n: seen.append(n))
    assert failed == []
    assert seen == [(i, 7) for i in range(1, 8)]
    assert sorted(p.name for p in path.parent.iterdir()) == ["train.i16", "train.i16.jsonl"]
    packed, files = PackedSource(path, utterances), FileSource(utterances)
    for i in range(7):
        assert packed.seconds(i) == utterances[i].seconds
        for start, length in [(0, 9), (0.25, 0.5), (1.4, 0.3)]:
            np.testing.assert_array_equal(
                packed.read(i, start, length), files.read(i, start, length)
            )


def test_a_pack_serves_any_part_of_its_manifest_in_any_order(tones, tmp_path):
    pack(tones, tmp_path / "p")
    some = [tones[4], tones[1]]
    np.testing.assert_array_equal(
        PackedSource(tmp_path / "p", some).read(1, 0.1, 0.5), FileSource(some).read(1, 0.1, 0.5)
    )
    stranger = Utterance("new", "s", tones[0].path, 1.0)
    with pytest.raises(ManifestError, match='1 utterances are not in it, "new" the first'):
        PackedSource(tmp_path / "p", [*tones, stranger])


def test_a_corrupt_file_does_not_stop_a_pack(tones, tmp_path):
    Path(tones[2].path).write_bytes(b"not audio")
    failed = pack(tones, tmp_path / "p")
    assert [utterance_id for utterance_id, _ in failed] == [tones[2].utterance_id]
    assert "0.flac" in failed[0][1]
    source = PackedSource(tmp_path / "p", tones)
    with pytest.raises(UnreadableAudio, match=r"0.flac"):
        source.read(2, 0, 1)
    assert len(source.read(3, 0, 1)) == 16_000


def test_a_finished_pack_is_left_alone_and_a_changed_file_makes_it_new(tones, tmp_path):
    path = tmp_path / "p"
    pack(tones, path)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    pack(tones, path)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    write_tone(Path(tones[0].path), 900, 0.7)
    pack(tones, path)
    source = PackedSource(path, tones)
    assert source.seconds(0) == 0.7
    np.testing.assert_array_equal(source.read(5, 0, 9), FileSource(tones).read(5, 0, 9))


class Stopped(Exception):
    pass


def stop_after(n_utterances: int):
    def progress(done: int, _: int) -> None:
        if done == n_utterances:
            raise Stopped

    return progress


def test_packing_goes_on_where_it_was_stopped(tones, tmp_path, monkeypatch):
    whole, path = tmp_path / "whole", tmp_path / "p"
    pack(tones, whole)
    monkeypatch.setattr(packing, "FLUSH_BYTES", 1)
    with pytest.raises(Stopped):
        pack(tones, path, progress=stop_after(3))
    assert not path.exists()
    part = tmp_path / "p.part"
    with part.open("ab") as file:
        file.write(b"samples that no line names")
    with (tmp_path / "p.jsonl.part").open("ab") as file:
        file.write(b'{"utterance_id": "half a li')
    decoded = []
    monkeypatch.setattr(
        packing, "_decode", lambda u, real=packing._decode: decoded.append(u) or real(u)
    )
    pack(tones, path)
    assert decoded == tones[3:]
    assert path.read_bytes() == whole.read_bytes()
    assert Path(f"{path}.jsonl").read_bytes() == Path(f"{whole}.jsonl").read_bytes()


def test_a_part_of_another_manifest_is_not_continued(tones, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "FLUSH_BYTES", 1)
    with pytest.raises(Stopped):
        pack(tones, tmp_path / "p", progress=stop_after(4))
    turned = [tones[0], *reversed(tones[1:])]
    pack(turned, tmp_path / "p")
    source, files = PackedSource(tmp_path / "p", tones), FileSource(tones)
    for i in range(len(tones)):
        np.testing.assert_array_equal(source.read(i, 0, 9), files.read(i, 0, 9))


def test_kill_at_any_moment(tones, tmp_path):
    """A process that is killed within `pack` leaves what the next one finishes."""
    write_manifest(tones, tmp_path / "m.jsonl")
    code = (
        "import os, signal, sys\n"
        "from groove.manifest import read_manifest\n"
        "from groove.training import packing\n"
        "packing.FLUSH_BYTES = 1\n"
        "def progress(done, n):\n"
        "    if done == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "packing.pack(read_manifest(sys.argv[1]), sys.argv[2], progress=progress)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.jsonl"), str(tmp_path / "p")]
    assert subprocess.run(command, cwd=os.getcwd()).returncode == -9
    pack(tones, tmp_path / "whole")
    pack(tones, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == (tmp_path / "whole").read_bytes()


class Told(Utterance):
    """An utterance that does something to the process which takes it up."""

    def __reduce__(self):
        return _told, (self.utterance_id, self.path, self.seconds)


def _told(utterance_id, path, seconds):
    if utterance_id == "dies":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGINT)
    return Utterance(utterance_id, "s", path, seconds)


def test_ctrl_c_is_left_to_the_process_that_packs(tones, tmp_path):
    """A terminal sends it to the workers too."""
    told = Told("told to stop", "s", tones[0].path, tones[0].seconds)
    assert pack([*tones, told], tmp_path / "p", workers=2) == []
    assert len(PackedSource(tmp_path / "p", [told]).read(0, 0, 9)) == 24_000


def test_a_worker_that_dies_is_one_clear_line(tones, tmp_path):
    dies = Told("dies", "s", tones[0].path, tones[0].seconds)
    with pytest.raises(CorpusError, match="a worker process died .*or with data.source=files"):
        pack([*tones, dies], tmp_path / "p", workers=2)
    assert not (tmp_path / "p").exists()


def test_damaged_packs_are_refused(tones, tmp_path):
    path = tmp_path / "p"
    with pytest.raises(ManifestError, match=r"p.jsonl: No such file.*pack the manifest first"):
        PackedSource(path, tones)
    pack(tones, path)
    index = Path(f"{path}.jsonl")
    good = index.read_bytes()
    index.write_bytes(good[:-30])
    with pytest.raises(ManifestError, match=r"damaged .*pack again"):
        PackedSource(path, tones)
    index.write_bytes(good.replace(b'"version": 1', b'"version": 9', 1))
    with pytest.raises(ManifestError, match="not the index of a pack of version 1"):
        PackedSource(path, tones)
    index.write_bytes(good)
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ManifestError, match="1000 bytes but its index names 288000"):
        PackedSource(path, tones)


def test_two_do_not_pack_the_same_file_at_once(tones, tmp_path):
    """The second one comes while the first is at its third utterance."""
    path, told = tmp_path / "p", []

    def meanwhile(done, n_all):
        if done == 3:
            with pytest.raises(
                CorpusError, match="another process packs it; start again"
            ) as second:
                pack(tones, path)
            told.append(str(second.value))

    pack(tones, path, progress=meanwhile)
    assert len(told) == 1
    assert sorted(p.name for p in tmp_path.glob("*p*")) == ["p", "p.jsonl"]
    packed, files = PackedSource(path, tones), FileSource(tones)
    for i in range(len(tones)):
        np.testing.assert_array_equal(packed.read(i, 0, 9), files.read(i, 0, 9))


def test_a_pack_whose_pieces_overlap_or_that_is_too_long_is_refused(tones, tmp_path):
    path = tmp_path / "p"
    pack(tones, path)
    index = Path(f"{path}.jsonl")
    first, *lines = index.read_text().splitlines()
    entry = json.loads(lines[2]) | {"start": 7}
    index.write_text("\n".join([first, *lines[:2], json.dumps(entry), *lines[3:]]) + "\n")
    with pytest.raises(ManifestError, match="does not begin where the one before it ends"):
        PackedSource(path, tones)
    index.write_text("\n".join([first, *lines]) + "\n")
    PackedSource(path, tones)
    with path.open("ab") as file:
        file.write(b"xx")
    with pytest.raises(ManifestError, match="bytes but its index names"):
        PackedSource(path, tones)


def test_what_cannot_be_packed_is_refused(tones, tmp_path):
    with pytest.raises(ManifestError, match="no utterance to pack"):
        pack([], tmp_path / "p")
    with pytest.raises(ManifestError, match="two utterances have one id"):
        pack([tones[0], tones[0]], tmp_path / "p")


@pytest.mark.speech
def test_real_speech_packs_as_it_reads(speech_root, tmp_path):
    paths = sorted((speech_root / "train").rglob("*.opus"))[:3]
    utterances = [
        Utterance(p.name, p.parent.name, p, len(read_audio(p)) / SAMPLE_RATE) for p in paths
    ]
    pack(utterances, tmp_path / "p")
    source = PackedSource(tmp_path / "p", utterances)
    for i, path in enumerate(paths):
        np.testing.assert_allclose(source.read(i, 0, 99), read_audio(path), atol=0.51 / 32768)
