from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from groove.audio import SAMPLE_RATE, read_audio
from groove.card import ThresholdTable
from groove.cli.compare import text, to_json
from groove.errors import SettingsError
from groove.telephone import telephone
from groove.verifier import Verifier
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder, fake_card, telephone_card

SILENCE = (np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)


def test_the_score_is_the_cosine_and_the_decision_follows_the_threshold() -> None:
    encoder = FakeEncoder()
    comparison = Verifier(encoder).compare(VOICE_A, VOICE_B)
    a, b = (Verifier(encoder).embedder.embed(v).astype(np.float64) for v in (VOICE_A, VOICE_B))
    assert comparison.score == pytest.approx(float(a @ b), abs=1e-6)
    score = comparison.score
    assert score is not None
    # accept if score >= threshold: equality accepts
    assert Verifier(encoder, threshold=score).compare(VOICE_A, VOICE_B).decision == "same"
    above = math.nextafter(score, 2.0)
    assert Verifier(encoder, threshold=above).compare(VOICE_A, VOICE_B).decision == "different"


def test_the_order_does_not_matter_to_the_last_bit() -> None:
    verifier = Verifier(FakeEncoder())
    there, back = verifier.compare(VOICE_A, VOICE_B), verifier.compare(VOICE_B, VOICE_A)
    assert (there.score, there.llr, there.probability) == (back.score, back.llr, back.probability)


def test_silence_never_matches_not_even_itself() -> None:
    comparison = Verifier(FakeEncoder()).compare(SILENCE, SILENCE)
    assert comparison.decision == "undecided"
    assert (comparison.score, comparison.llr, comparison.probability) == (None, None, None)
    assert not comparison.accepted
    assert "no_speech" in {w.code for w in comparison.warnings}
    one_side = Verifier(FakeEncoder(), threshold=-1.0).compare(VOICE_A, SILENCE)
    assert one_side.decision == "undecided"


def test_the_probability_takes_the_shorter_side_into_account() -> None:
    encoder = FakeEncoder()
    verifier = Verifier(encoder)
    comparison = verifier.compare(VOICE_A, VOICE_A2)
    shorter = min(comparison.a.speech.speech_s, comparison.b.speech.speech_s)
    calibration = encoder.card.calibration
    assert calibration is not None and comparison.score is not None
    q = math.log(shorter)
    llr = (20 + 2 * q) * comparison.score - q - 17
    assert comparison.llr == pytest.approx(llr, abs=1e-4)
    assert comparison.probability == pytest.approx(1 / (1 + math.exp(-llr)), rel=1e-6)


def test_the_same_sound_twice_is_told(tmp_path: Path) -> None:
    """The same file, a copy, the same samples as flac; not two recordings of one voice."""
    waveform, rate = soundfile.read(VOICE_A, dtype="int16")
    copy, flac = tmp_path / "copy.wav", tmp_path / "copy.flac"
    shutil.copy(VOICE_A, copy)
    soundfile.write(flac, waveform, rate)
    shorter = (waveform[:-160].astype(np.float32) / 32768, rate)
    verifier = Verifier(FakeEncoder())
    for other in (VOICE_A, copy, flac):
        values = json.loads(json.dumps(to_json(verifier.compare(VOICE_A, other))))
        (told,) = [w for w in values["warnings"] if w["code"] == "same_sound"]
        assert told["recording"] == "" and "the same sound" in told["text"]
        assert values["decision"] == "same"
    assert "are the same sound" in text(verifier.compare(VOICE_A, VOICE_A))
    for a, b in ((VOICE_A, VOICE_A2), (VOICE_A, VOICE_B), (VOICE_A, shorter), (SILENCE, SILENCE)):
        assert "same_sound" not in {w.code for w in verifier.compare(a, b).warnings}


@pytest.mark.parametrize(
    ("threshold", "bias", "decision", "is_close"),
    [
        (-1.0, -40.0, "same", True),
        (-1.0, 40.0, "same", False),
        (1.0, 40.0, "different", True),
        (1.0, -40.0, "different", False),
    ],
)
def test_a_decision_that_the_probability_doubts_is_a_close_call(
    threshold: float, bias: float, decision: str, is_close: bool
) -> None:
    calibration = fake_card().calibration
    assert calibration is not None
    encoder = FakeEncoder(calibration=replace(calibration, bias=bias))
    comparison = Verifier(encoder, threshold=threshold).compare(VOICE_A, VOICE_A2)
    assert comparison.decision == decision and comparison.probability is not None
    assert (comparison.probability > 0.5) is ((decision == "same") is not is_close)
    assert ("close_call" in {w.code for w in comparison.warnings}) is is_close
    assert ("decision and probability disagree" in text(comparison)) is is_close


def test_a_warning_about_one_file_given_twice_is_said_once() -> None:
    waveform, rate = soundfile.read(VOICE_A, dtype="float32")
    short = (waveform[: 3 * rate // 2], rate)
    codes = [w.code for w in Verifier(FakeEncoder()).compare(short, short).warnings]
    assert "short" in codes and len(codes) == len(set(codes))


def test_the_rule_behind_the_threshold_is_told() -> None:
    comparison = Verifier(FakeEncoder()).compare(VOICE_A, VOICE_B)
    assert comparison.threshold == 0.90
    assert "at most 1 % false matches: 100 of 10,000 pairs" in comparison.rule
    assert Verifier(FakeEncoder(), fmr=0.1).compare(VOICE_A, VOICE_B).threshold == 0.80
    given = Verifier(FakeEncoder(), threshold=0.5).compare(VOICE_A, VOICE_B)
    assert given.rule == "the threshold that you gave"


def by_telephone(path: Path) -> tuple[np.ndarray, int]:
    return telephone(read_audio(path), "alaw"), SAMPLE_RATE


def test_telephone_sound_on_both_sides_is_judged_by_what_was_measured_on_it() -> None:
    card = telephone_card()
    verifier = Verifier(FakeEncoder(narrow_band=card.narrow_band))
    call, other_call = by_telephone(VOICE_A2), by_telephone(VOICE_A)
    answer = verifier.compare(call, other_call)
    assert answer.channel == "telephone"
    assert answer.threshold == 0.99 and "calls" in answer.rule
    assert card.narrow_band is not None and answer.score is not None
    shorter = min(answer.a.speech.speech_s, answer.b.speech.speech_s)
    wanted = card.narrow_band.calibration.llr(answer.score, shorter)
    assert answer.llr == pytest.approx(wanted)
    codes = {w.code for w in answer.warnings}
    assert "narrow_band" in codes and not codes & {"not_for_telephone", "mixed_channels"}
    assert json.loads(json.dumps(to_json(answer)))["channel"] == "telephone"


def test_telephone_sound_on_one_side_keeps_the_ordinary_threshold_and_is_told() -> None:
    """Where the sides differ strangers are not more alike: see RESULTS.md, section 2."""
    verifier = Verifier(FakeEncoder(narrow_band=telephone_card().narrow_band))
    call = by_telephone(VOICE_A2)
    for a, b in ((VOICE_A, call), (call, VOICE_A)):
        answer = verifier.compare(a, b)
        assert answer.channel == "mixed" and answer.threshold == 0.90
        (told,) = [w for w in answer.warnings if w.code == "mixed_channels"]
        assert "missed more often" in told.text and told.recording == ""
        assert "not_for_telephone" not in {w.code for w in answer.warnings}
    wide = verifier.compare(VOICE_A, VOICE_A2)
    assert wide.channel == "wide band" and wide.threshold == 0.90
    assert not {w.code for w in wide.warnings} & {"narrow_band", "mixed_channels"}


def test_a_card_that_knows_no_telephone_says_so_where_it_promises() -> None:
    calls = by_telephone(VOICE_A), by_telephone(VOICE_A2)
    answer = Verifier(FakeEncoder()).compare(*calls)
    assert answer.threshold == 0.90
    assert {"narrow_band", "not_for_telephone"} <= {w.code for w in answer.warnings}
    given = Verifier(FakeEncoder(), threshold=0.5).compare(*calls)
    assert "not_for_telephone" in {w.code for w in given.warnings}  # of the probability
    nothing = Verifier(FakeEncoder(calibration=None), threshold=0.5).compare(*calls)
    assert "not_for_telephone" not in {w.code for w in nothing.warnings}


def test_a_rate_must_be_measured_for_telephone_sound_too() -> None:
    card = telephone_card()
    assert card.narrow_band is not None
    (table,) = card.narrow_band.thresholds
    few = replace(card.narrow_band, thresholds=(replace(table, rows=table.rows[:1]),))
    with pytest.raises(SettingsError, match="smallest measured: 0.1"):
        Verifier(FakeEncoder(narrow_band=few))


def test_other_crops_than_the_cards_are_marked_as_not_measured() -> None:
    comparison = Verifier(FakeEncoder(), crop_sec=1.0).compare(VOICE_A, VOICE_B)
    assert "not measured for these settings" in comparison.rule
    assert "settings" in {w.code for w in comparison.warnings}
    given = Verifier(FakeEncoder(), crop_sec=1.0, threshold=0.5).compare(VOICE_A, VOICE_B)
    said = {w.code: w.text for w in given.warnings}
    assert said["settings"] == "the probability was not measured for these settings"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fmr": 0.001}, "smallest measured: 0.005"),
        ({"fmr": 0.0}, "between 0 and 1"),
        ({"fmr": 0.01, "threshold": 0.5}, "not both"),
        ({"threshold": 1.5}, "between -1 and 1"),
        ({"threshold": float("nan")}, "between -1 and 1"),
    ],
)
def test_promises_that_cannot_be_kept_are_refused_before_listening(
    settings: dict[str, float], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        Verifier(FakeEncoder(), **settings)  # type: ignore[arg-type]


def test_a_card_without_thresholds_needs_one_given() -> None:
    bare = FakeEncoder(thresholds=(), calibration=None)
    with pytest.raises(SettingsError, match="no measured thresholds; give --threshold"):
        Verifier(bare)
    comparison = Verifier(bare, threshold=0.0).compare(VOICE_A, VOICE_B)
    assert comparison.decision == "same" and comparison.probability is None
    assert "uncalibrated" in {w.code for w in comparison.warnings}


def test_json_has_the_promised_keys_and_plain_values() -> None:
    for other in (VOICE_B, SILENCE):
        values = json.loads(json.dumps(to_json(Verifier(FakeEncoder()).compare(VOICE_A, other))))
        wanted = ["score", "threshold", "decision", "probability"]
        wanted += ["llr", "warnings", "model", "seconds"]
        assert list(values)[: len(wanted)] == wanted
        assert {"rule", "a", "b"} <= set(values)


def test_the_text_says_everything_that_a_decision_needs() -> None:
    shown = text(Verifier(FakeEncoder()).compare(VOICE_A, VOICE_B))
    for word in ("decision", "score", "threshold", "probability", "model", "warning", "of speech"):
        assert word in shown
    undecided = text(Verifier(FakeEncoder()).compare(VOICE_A, SILENCE))
    assert "undecided" in undecided and "none" in undecided


def test_a_rate_that_one_table_did_not_measure_is_refused() -> None:
    """Which table is used is known only after listening, so all must hold the row."""
    (table,) = FakeEncoder().card.thresholds
    fewer = ThresholdTable(9.0, "fewer trials", table.rows[:1])
    with pytest.raises(SettingsError, match="smallest measured: 0.1"):
        Verifier(FakeEncoder(thresholds=(table, fewer)))
    assert Verifier(FakeEncoder(thresholds=(table, fewer)), fmr=0.1)
