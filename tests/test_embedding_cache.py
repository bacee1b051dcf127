"""Nothing is embedded twice, nothing stale is used, and a kill loses a second of work."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from groove.audio import read_audio
from groove.bench import wav_bytes
from groove.embedder import Embedder
from groove.errors import SettingsError
from groove.evaluation.cache import EmbeddingCache, embed_files
from groove.telephone import telephone
from tests.conftest import ROOT, VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder


def copies(folder: Path, *sources: Path) -> list[Path]:
    found = []
    for i, source in enumerate(sources):
        found.append(folder / f"{i}.wav")
        found[-1].write_bytes(source.read_bytes())
    return found


def embed(paths: list[Path], path: Path | None, encoder: FakeEncoder, **cutting: int) -> dict:
    with EmbeddingCache(path) as cache:
        return embed_files(paths, Embedder(encoder, **cutting), cache, workers=2)


def test_a_second_run_computes_nothing_and_gives_the_same_bits(tmp_path: Path) -> None:
    paths = copies(tmp_path, VOICE_A, VOICE_B, VOICE_A)
    encoder = FakeEncoder()
    first = embed(paths, tmp_path / "cache.sqlite", encoder)
    assert len(encoder.shapes) == 2  # two of the three are the same bytes
    paths[0].rename(tmp_path / "renamed.wav")
    again = embed([tmp_path / "renamed.wav", *paths[1:]], tmp_path / "cache.sqlite", encoder)
    assert len(encoder.shapes) == 2
    for path in paths[1:]:
        np.testing.assert_array_equal(first[path].embedding, again[path].embedding)
        assert first[path].speech_s == again[path].speech_s > 0
    np.testing.assert_array_equal(
        first[paths[1]].embedding, Embedder(FakeEncoder()).embed(paths[1])
    )


def test_telephone_sound_is_remembered(tmp_path: Path) -> None:
    wide, call = copies(tmp_path, VOICE_A, VOICE_A)
    narrow = telephone(read_audio(VOICE_A), "alaw")
    call.write_bytes(wav_bytes(narrow))
    for _ in range(2):  # measured, and then from the file
        found = embed([wide, call], tmp_path / "cache.sqlite", FakeEncoder())
        assert [found[path].narrow_band for path in (wide, call)] == [False, True]


def test_other_content_model_or_cutting_is_computed_anew(tmp_path: Path) -> None:
    (path,) = copies(tmp_path, VOICE_A)
    base = tmp_path / "cache.sqlite"
    encoder = FakeEncoder()
    embed([path], base, encoder)
    other = FakeEncoder()
    other.model_hash = "1" * 64
    embed([path], base, other)
    limited = FakeEncoder(min_speech_s=0.25)
    embed([path], base, limited)
    embed([path], base, encoder, num_crops=2)
    path.write_bytes(VOICE_A2.read_bytes())
    embed([path], base, encoder)
    assert (len(encoder.shapes), len(other.shapes), len(limited.shapes)) == (3, 1, 1)


def test_silence_is_remembered_and_a_damaged_file_tried_again(tmp_path: Path) -> None:
    import wave

    silence, damaged = tmp_path / "silence.wav", tmp_path / "damaged.wav"
    with wave.open(str(silence), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(64_000))
    damaged.write_bytes(b"RIFF")
    found = embed([silence, damaged, tmp_path / "absent.wav"], tmp_path / "c.sqlite", FakeEncoder())
    assert all(row.embedding is None for row in found.values())
    assert "no speech" in found[silence].reason
    assert "absent.wav" in found[tmp_path / "absent.wav"].reason
    again = embed([silence, damaged], tmp_path / "c.sqlite", FakeEncoder())
    assert again[silence] == found[silence]
    damaged.write_bytes(VOICE_A.read_bytes())
    assert embed([damaged], tmp_path / "c.sqlite", FakeEncoder())[damaged].embedding is not None


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from groove.evaluation.cache import Embedded, EmbeddingCache
cache = EmbeddingCache(sys.argv[1])
cache._committed_at = 0.0                      # the first row is committed at once
for i in range(1000):
    cache.add(f"{i:064d}", "model", "cut", Embedded(np.full(8, i, np.float32), 1.0, 2.0, 1.0))
print("added", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_the_file_is_whole_and_what_was_committed_is_there(tmp_path: Path) -> None:
    base = tmp_path / "cache.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(base)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "added\n" and done.returncode == -signal.SIGKILL, done.stderr
    with EmbeddingCache(base) as cache:
        found = cache.find([f"{i:064d}" for i in range(1000)], "model", "cut")
    assert found[f"{0:064d}"].embedding is not None
    for name, row in found.items():
        np.testing.assert_array_equal(row.embedding, np.full(8, int(name), np.float32))


@pytest.mark.skipif(sys.platform == "win32", reason="rights of Unix")
def test_only_the_owner_may_read(tmp_path: Path) -> None:
    embed([VOICE_A], tmp_path / "report" / "cache.sqlite", FakeEncoder())
    assert stat.S_IMODE((tmp_path / "report" / "cache.sqlite").stat().st_mode) == 0o600


def test_what_is_no_cache_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    other.write_bytes(b"something else entirely" * 100)
    with pytest.raises(SettingsError, match=r"other.sqlite: cannot be used as a cache .*--cache"):
        EmbeddingCache(other)
    newer = tmp_path / "newer.sqlite"
    with EmbeddingCache(newer) as cache:
        cache._base.execute("PRAGMA user_version = 99")
    with pytest.raises(SettingsError, match="a cache of format 99, this Groove writes 2"):
        EmbeddingCache(newer)
