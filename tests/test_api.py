"""`import groove`: what a Python program writes, with every kind of recording and model."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

import groove
from groove.audio import read_audio
from groove.errors import GrooveError, NoSpeech, SettingsError, UnreadableAudio
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder
from tests.modelfiles import TINY_MODEL


def test_compare_in_one_line() -> None:
    same = groove.compare(VOICE_A, VOICE_A2, model=TINY_MODEL)
    different = groove.compare(str(VOICE_A), str(VOICE_B), model=str(TINY_MODEL))
    assert (same.decision, different.decision) == ("same", "different")
    assert same.accepted and not different.accepted
    assert same.score is not None and same.probability is not None
    assert same.score >= same.threshold and 0.5 < same.probability < 1
    assert "1 % false matches" in same.rule and same.model == "tiny 1"


def test_a_verifier_keeps_its_rule_and_a_given_threshold_replaces_it() -> None:
    strict = groove.Verifier(TINY_MODEL, threads=1, fmr=0.005).compare(VOICE_A, VOICE_A2)
    assert strict.threshold == 0.95 and strict.decision == "different"
    given = groove.Verifier(TINY_MODEL, threshold=0.5).compare(VOICE_A, VOICE_A2)
    assert (given.threshold, given.rule) == (0.5, "the threshold that you gave")
    with pytest.raises(SettingsError, match="smallest measured: 0.005"):
        groove.Verifier(TINY_MODEL, fmr=0.001)
    with pytest.raises(SettingsError, match="not both"):
        groove.compare(VOICE_A, VOICE_B, model=TINY_MODEL, fmr=0.01, threshold=0.5)


def test_path_bytes_file_and_array_are_one_recording() -> None:
    embedder = groove.Embedder(TINY_MODEL, threads=1)
    wanted = embedder.embed(VOICE_A)
    assert wanted.shape == (16,) and np.linalg.norm(wanted) == pytest.approx(1, abs=1e-6)
    data = Path(VOICE_A).read_bytes()
    with open(VOICE_A, "rb") as file:
        for source in (str(VOICE_A), data, io.BytesIO(data), file, (read_audio(VOICE_A), 16_000)):
            assert np.array_equal(embedder.embed(source), wanted)


def test_either_order_gives_the_same_bits_for_every_kind_of_source() -> None:
    verifier = groove.Verifier(TINY_MODEL, threads=1)
    a, b = Path(VOICE_A).read_bytes(), (read_audio(VOICE_B), 16_000)
    for x, y in ((VOICE_A, VOICE_B), (a, b), (VOICE_A, b)):
        first, second = verifier.compare(x, y), verifier.compare(y, x)
        assert (first.score, first.llr, first.probability) == (
            second.score,
            second.llr,
            second.probability,
        )


def test_an_open_encoder_is_taken_as_it_is() -> None:
    encoder = FakeEncoder()
    assert groove.Embedder(encoder).encoder is encoder
    assert groove.compare(VOICE_A, VOICE_A2, model=encoder).model == "fake 1"
    opened = groove.open_encoder(TINY_MODEL)
    assert groove.Verifier(opened).embedder.encoder is opened


def test_silence_has_no_score_and_no_embedding() -> None:
    silence = (np.zeros(32_000, np.float32), 16_000)
    answer = groove.compare(VOICE_A, silence, model=TINY_MODEL, threshold=-1.0)
    assert (answer.decision, answer.score, answer.probability) == ("undecided", None, None)
    assert not answer.accepted and answer.warnings
    with pytest.raises(NoSpeech):
        groove.Embedder(TINY_MODEL).embed(silence)


def test_one_except_catches_every_error_of_ours() -> None:
    for call in (
        lambda: groove.compare("absent.wav", VOICE_A, model=TINY_MODEL),
        lambda: groove.compare(VOICE_A, VOICE_B, model="absent"),
        lambda: groove.compare(b"junk", VOICE_B, model=TINY_MODEL),
        lambda: groove.Embedder(TINY_MODEL, num_crops=0),
    ):
        with pytest.raises(GrooveError, match=r"absent|junk|num_crops|bytes"):
            call()
    with pytest.raises(UnreadableAudio):
        groove.compare(b"junk", VOICE_B, model=TINY_MODEL)
