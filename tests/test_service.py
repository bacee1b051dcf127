"""What the web page shows, without a browser and without Gradio: cards in two languages."""

from __future__ import annotations

import math
import os
import re
import signal
import stat
import string
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from groove.errors import SettingsError
from groove.listening import Heard, Listener
from groove.service import answers, demo, pictures
from groove.service.temporary import delete_orphans
from groove.service.words import WORDS, language_of, say, warning_text
from groove.speech import SpeechDetector
from groove.verifier import Verifier
from groove.voiceprints.recognition import Recognizer
from groove.voiceprints.store import VoiceprintStore
from tests.conftest import ROOT, VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder
from tests.test_cli import wav

A, A2, B = str(VOICE_A), str(VOICE_A2), str(VOICE_B)


@pytest.fixture
def known(tmp_path: Path) -> Recognizer:
    return Recognizer(VoiceprintStore(tmp_path / "people.db"), Verifier(FakeEncoder(), fmr=0.1))


def test_every_word_has_both_languages_and_the_same_places() -> None:
    for key, pair in WORDS.items():
        assert len(pair) == 2 and all(pair), key
        places = [{name for _, name, _, _ in string.Formatter().parse(t) if name} for t in pair]
        assert places[0] == places[1], key
        assert re.search(r"[\u4e00-\u9fff]", pair[1]), key


def test_every_warning_code_has_words() -> None:
    codes = (
        "no_speech",
        "too_short",
        "short",
        "quiet",
        "clipped",
        "noisy",
        "narrow_band",
        "low_rate",
    )
    for code in (
        *codes,
        "not_for_telephone",
        "same_sound",
        "settings",
        "uncalibrated",
        "close_call",
    ):
        assert warning_text("en", code, None) != warning_text("zh", code, None)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("en-US,en;q=0.9", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("ZH-tw", "zh"),
        ("fr, zh;q=0.5, en;q=0.4", "zh"),
        ("en;q=0.3, zh;q=0.9", "zh"),
        ("de, fr", "en"),
        ("zh;q=nonsense, en", "en"),
    ],
)
def test_the_language_is_the_browsers(accepted: str, language: str) -> None:
    assert language_of(accepted) == language


def test_a_comparison_says_verdict_score_threshold_probability_and_why(known: Recognizer) -> None:
    answer = known.verifier.compare(A, A2)
    english, chinese = (answers.compare(known.verifier, A, A2, x) for x in ("en", "zh"))
    assert f"{answer.score:.2f}" in english and f"threshold {answer.threshold:.2f}" in english
    assert "at most 10 % of different voices" in english and "10,000 pairs" in english
    assert say("zh", answer.decision) in chinese and "依据" in chinese
    assert english.count("<figure") == 2 and "Why" in english
    assert answers.compare(known.verifier, A, None, "zh").count("请先提供两段录音") == 1


def test_warnings_and_silence_are_told_for_the_recording_they_concern(
    known: Recognizer, tmp_path: Path
) -> None:
    path = tmp_path / "silence.wav"
    path.write_bytes(wav(np.zeros(32_000)))
    shown = answers.compare(known.verifier, A, str(path), "en")
    assert "Undecided" in shown and "Second recording: nobody talks in it" in shown
    assert "needle" not in shown
    assert "第二段录音：没有人说话" in answers.compare(known.verifier, A, str(path), "zh")
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"bad")
    assert "That did not work" in answers.compare(known.verifier, A, str(bad), "en")


def test_enrol_identify_list_and_forget(known: Recognizer) -> None:
    assert "Give a name first" in answers.enroll(known, " ", "", A, "en")
    assert "请先提供一段录音" in answers.enroll(known, "张三", "", None, "zh")
    assert "Nobody is enrolled yet" in answers.identify(known, A, "en")
    assert "已登记：张三" in answers.enroll(known, "张三", "signed", A, "zh")
    shown = answers.identify(known, A, "en")
    assert "张三" in shown and "candidate accepted" in shown and "People enrolled: 1." in shown
    listed = answers.people(known.store.people(), "en")
    assert "signed" in listed and "张三" in listed
    asked = answers.ask_to_forget("张三", "en")
    assert "Forget 张三?" in asked and "cannot be undone" in asked
    assert [person.name for person in known.store.people()] == ["张三"]
    assert "请先选择" in answers.ask_to_forget(None, "zh")
    assert "已删除 张三" in answers.forget(known, "张三", "zh")
    assert "Nobody is enrolled yet" in answers.people(known.store.people(), "en")
    assert "Choose somebody" in answers.forget(known, None, "en")


def test_what_goes_wrong_is_told_in_the_pages_language_and_without_its_folders(
    known: Recognizer, tmp_path: Path
) -> None:
    folder = tmp_path / "groove-demo-77-x" / "553343ab"
    folder.mkdir(parents=True)
    text, mute, cut = folder / "说明.md", folder / "mute.wav", folder / "cut.wav"
    text.write_text("no audio", encoding="utf-8")
    mute.write_bytes(wav(np.zeros(32_000, np.float32)))
    assert "还没有登记任何人" in answers.identify(known, A, "zh")
    known.enroll("张三", [A])
    strict = Recognizer(known.store, Verifier(FakeEncoder(), threshold=1.0))
    shown = {
        "不是音频": answers.compare(known.verifier, str(text), A, "zh"),
        "not audio": answers.compare(known.verifier, str(text), A, "en"),
        "这不像此姓名": answers.enroll(strict, "张三", "", B, "zh"),
        "another name": answers.enroll(strict, "张三", "", B, "en"),
        "没有语音": answers.enroll(known, "李四", "", str(mute), "zh"),
    }
    assert "说明.md: " in shown["不是音频"]  # which of two
    for said, card in shown.items():
        assert said in card and "groove-demo" not in card and "--" not in card, said
    other = answers.failure(SettingsError(f"{folder}/a b.wav: odd; {cut}: too"), "en")
    assert "a b.wav: odd; cut.wav: too" in other and "groove-demo" not in other


def test_live_sound_is_mixed_down(known: Recognizer, rng: np.random.Generator) -> None:
    """Who speaks into the second channel only is heard as well."""
    heard = []

    class Kept(Listener):
        def __init__(self) -> None:
            self.sample_rate, self.shown = (
                16_000,
                Heard(0, "silence", None, None, None, None, False),
            )

        def push(self, block: np.ndarray) -> list[Heard]:
            heard.append(block)
            return []

    voice = rng.integers(-20_000, 20_000, 800).astype(np.int16)
    for sound in (np.stack([np.zeros_like(voice), 2 * (voice // 2)], axis=1), voice // 2):
        demo._listen(known, (16_000, sound), Kept(), "en")
    assert heard[0].dtype == np.int16
    np.testing.assert_array_equal(heard[0], heard[1])


def test_what_people_typed_cannot_become_html(known: Recognizer) -> None:
    evil = "<img src=x onerror=alert(1)>"
    for shown in (
        answers.enroll(known, evil, evil, A, "en"),
        answers.identify(known, A, "en"),
        answers.people(known.store.people(), "en"),
        answers.ask_to_forget(evil, "en"),
        answers.live(Heard(1.0, "named", evil, "x", 0.9, 0.9, True), "en"),
    ):
        assert "<img" not in shown and "&lt;img" in shown


def test_the_needle_points_where_the_score_lies() -> None:
    """-0.2 is far left (-90 degrees), 1.0 far right, the middle 0.4 upright."""
    for score, angle in ((-0.2, -90.0), (0.4, 0.0), (1.0, 90.0), (-1.0, -90.0), (0.7, 45.0)):
        shown = pictures.gauge(score, 0.4, ("score", "threshold"))
        (turn,) = re.findall(r"--turn:(-?[\d.]+)deg", shown)
        assert float(turn) == pytest.approx(angle)
    refused, accepted = re.findall(r'class="(?:refused|accepted)" d="([^"]+)"', shown)
    ends = [float(x) for x in refused.split()[-2:]]
    assert ends == pytest.approx([0.0, -88.0]) and accepted.split()[1:3] == refused.split()[-2:]
    assert math.hypot(*ends) == pytest.approx(88)


def test_a_trace_holds_peaks_and_speech_whatever_the_blocks(rng: np.random.Generator) -> None:
    samples = np.concatenate([np.zeros(51_200), 0.5 * np.ones(51_200)]).astype(np.float32)
    stream = SpeechDetector().stream()
    stream.push(samples)
    probabilities = np.zeros(200, np.float32)
    probabilities[100:] = 1.0
    whole, pieces = pictures.Tracer(), pictures.Tracer()
    whole.push(samples)
    for part in np.array_split(samples, 37):
        pieces.push(part)
    for trace in (whole.trace(probabilities), pieces.trace(probabilities)):
        assert len(trace.peaks) == pictures.N_BARS
        np.testing.assert_allclose(trace.peaks, np.repeat([0.0, 1.0], pictures.N_BARS // 2))
        assert trace.is_speech.tolist() == [i >= pictures.N_BARS // 2 for i in range(160)]
    assert not pictures.Tracer().trace(np.zeros(0, np.float32)).peaks.any()


def test_uploads_go_with_the_program_however_it_ends(tmp_path: Path) -> None:
    """Ended by SIGTERM it deletes its folder; killed, the next one does."""
    code = """
import sys
import urllib.request
from groove.service.temporary import upload_folder
with upload_folder() as folder:
    (folder / "voice.wav").write_bytes(b"voice")
    print(folder, flush=True)
    sys.stdin.read()
"""
    for number, is_left in ((signal.SIGTERM, False), (signal.SIGKILL, True)):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            folder = Path(process.stdout.readline().strip())
            assert (folder / "voice.wav").exists()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert delete_orphans(tmp_path) == 0  # its owner lives
            process.send_signal(number)
        assert folder.exists() is is_left
    assert delete_orphans(tmp_path) == 1 and not folder.exists()


def test_the_page_is_served_at_the_address_that_is_printed(tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'groove-sv[demo]'")
    with subprocess.Popen(
        [sys.executable, "demos/app.py", "--port", "0", "--db", str(tmp_path / "people.db")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[0]
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert answer.status == 200 and b"Groove" in answer.read()
        finally:
            server.terminate()
