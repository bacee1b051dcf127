"""The real-time mode on streams of voices and silence, and the command that shows it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from groove.audio import SAMPLE_RATE, read_audio
from groove.cli.listen import _show
from groove.errors import MissingExtra, SettingsError, StoreError
from groove.listening import Listener, microphone_blocks, pcm_blocks
from groove.telephone import telephone
from groove.verifier import Verifier
from groove.voiceprints.recognition import Recognizer
from groove.voiceprints.store import VoiceprintStore
from tests.conftest import ROOT, VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder


@pytest.fixture
def known(tmp_path: Path) -> Recognizer:
    """One person, whom every voice resembles: the threshold accepts all."""
    store = VoiceprintStore(tmp_path / "people.db")
    recognizer = Recognizer(store, Verifier(FakeEncoder(), threshold=-1.0))
    recognizer.enroll("张三", [VOICE_A])
    return recognizer


def pcm(*parts: np.ndarray) -> np.ndarray:
    return (np.concatenate(parts) * 32767).astype(np.int16)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def test_a_name_appears_after_two_windows_and_goes_with_the_voice(known: Recognizer) -> None:
    sound = pcm(silence(2), read_audio(VOICE_A), silence(5))
    heard = Listener(known, sample_rate=SAMPLE_RATE).push(sound)
    assert [h.at_s for h in heard] == [0.5 * (i + 1) for i in range(len(heard))]
    changes = [h for h in heard if h.changed]
    assert [h.state for h in changes] == ["named", "silence"]
    named, gone = changes
    assert named.name == "张三" and named.probability is not None and named.score is not None
    assert 3.0 <= named.at_s <= 5.5  # a second of speech and two windows
    used = [(e.action, e.person_id, e.detail) for e in known.store.audit_log()[1:]]
    assert used == [("listen", named.person_id, "named")]
    assert known.store.person("张三").used_at is not None
    assert gone.at_s > 2 + len(read_audio(VOICE_A)) / SAMPLE_RATE and gone.name is None


def test_telephone_sound_is_told(known: Recognizer, capsys: pytest.CaptureFixture[str]) -> None:
    voice = read_audio(VOICE_A)
    for sound, channel, said in (
        (voice, "wide band", ""),
        (telephone(voice, "alaw"), "mixed", "telephone sound on one side"),
    ):
        heard = Listener(known, sample_rate=SAMPLE_RATE).push(pcm(silence(2), sound, silence(5)))
        named, gone = [h for h in heard if h.changed]
        assert named.channel == channel and gone.channel is None
        _show(named, as_json=False)
        line = capsys.readouterr().out
        assert "张三" in line and said in line and ("telephone" in line) == bool(said)


def test_how_the_sound_is_cut_changes_nothing(known: Recognizer) -> None:
    sound = pcm(silence(1), read_audio(VOICE_A), silence(2))
    whole = Listener(known, sample_rate=SAMPLE_RATE).push(sound)
    pieces = Listener(known, sample_rate=SAMPLE_RATE)
    cut = [h for start in range(0, len(sound), 1111) for h in pieces.push(sound[start:][:1111])]
    assert cut == whole
    assert len(pieces._samples) <= 3 * SAMPLE_RATE + 1111  # an hour needs no more


def test_one_window_of_something_else_does_not_flicker(known: Recognizer) -> None:
    """The threshold refuses everybody for one window in the middle."""
    voice = np.tile(pcm(read_audio(VOICE_A)), 3)
    listener = Listener(known, sample_rate=SAMPLE_RATE)
    heard = []
    for i, start in enumerate(range(0, len(voice), SAMPLE_RATE // 2)):
        known.verifier = Verifier(FakeEncoder(), threshold=1.0 if i == 9 else -1.0)
        heard += listener.push(voice[start : start + SAMPLE_RATE // 2])
    assert [h.state for h in heard if h.changed] == ["named"]
    assert len({h.name for h in heard[6:]}) == 1


def test_other_rates_are_heard_as_well(known: Recognizer) -> None:
    twice = np.repeat(pcm(silence(1), read_audio(VOICE_A)), 3)  # crude, but speech
    heard = Listener(known, sample_rate=3 * SAMPLE_RATE).push(twice)
    assert "named" in {h.state for h in heard}


def test_pcm_comes_in_blocks_and_an_odd_byte_is_dropped() -> None:
    samples = np.arange(-500, 500, dtype="<i2")
    blocks = list(pcm_blocks(io.BytesIO(samples.tobytes() + b"x"), 1000, block_s=0.3))
    assert [len(b) for b in blocks] == [300, 300, 300, 100]
    np.testing.assert_array_equal(np.concatenate(blocks), samples)


def test_bad_settings_are_refused(known: Recognizer, tmp_path: Path) -> None:
    for settings, message in (
        ({"sample_rate": 100}, "sample rate 100 Hz"),
        ({"sample_rate": 16_000, "window_s": 0.2}, "windows of 0.2 s"),
        ({"sample_rate": 16_000, "hop_s": 9.0}, "every 9 s"),
    ):
        with pytest.raises(SettingsError, match=message):
            Listener(known, **settings)  # type: ignore[arg-type]
    empty = Recognizer(VoiceprintStore(tmp_path / "empty.db"), known.verifier)
    with pytest.raises(StoreError, match="nobody is enrolled"):
        Listener(empty, sample_rate=16_000)


def test_without_the_extra_the_command_to_install_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtra, match=r"groove-sv\[listen\]"):
        next(iter(microphone_blocks(16_000)))


def test_a_missing_system_library_is_told_by_its_own_name(tmp_path: Path) -> None:
    """Installing the extra once more would not bring it."""
    (tmp_path / "sounddevice.py").write_text('raise OSError("PortAudio library not found")')
    code = "import groove.listening as l; next(iter(l.microphone_blocks(16_000)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("groove.errors.SettingsError") and "apt install libportaudio2" in said


def test_the_command_names_two_people_and_a_stranger_in_turn(tmp_path: Path) -> None:
    db = ("--db", str(tmp_path / "people.db"))
    script = [sys.executable, "demos/real_time.py", "--stdin", *db]
    sound = pcm(read_audio(VOICE_A2), silence(4), read_audio(VOICE_B), silence(4))
    nobody = subprocess.run(script, input=sound.tobytes(), capture_output=True, cwd=ROOT)
    assert nobody.returncode == 2 and b"no such store" in nobody.stderr
    enroll = [sys.executable, "-m", "groove", "enroll", "张三", str(VOICE_A), *db]
    subprocess.run(enroll, check=True, cwd=ROOT, capture_output=True)
    done = subprocess.run(
        [*script, "--json"], input=sound.tobytes(), capture_output=True, cwd=ROOT, check=True
    )
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    # As a voice leaves the window "nobody" may come before "silence"; nobody else is named.
    states = [line["state"] for line in lines]
    assert states[0] == "named" and states.count("named") == 1
    assert states[-2:] == ["nobody", "silence"] and states.count("silence") == 2
    assert lines[0]["name"] == "张三" and lines[0]["probability"] > 0.5
    assert done.stderr == b""
