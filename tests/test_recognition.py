"""Enrol, verify, identify, with the fake encoder whose embeddings one can predict."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import groove
from groove.audio import SAMPLE_RATE, read_audio
from groove.errors import ModelMismatch, NoSpeech, OtherVoice, SettingsError, StoreError
from groove.telephone import telephone
from groove.verifier import Verifier
from groove.voiceprints.identification import threshold_for
from groove.voiceprints.people import StoredUtterance
from groove.voiceprints.recognition import Recognizer
from groove.voiceprints.store import VoiceprintStore
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder, telephone_card

SILENCE = (np.zeros(2 * SAMPLE_RATE, np.float32), SAMPLE_RATE)


class Fixed(FakeEncoder):
    """The fake with a loose threshold, so that any voice may be enrolled beside any other."""

    def __init__(self, **changes: object) -> None:
        super().__init__(**changes)
        self.model_hash = str(changes.get("version", "0")).ljust(64, "0")


def recognizer(tmp_path: Path, threshold: float | None = None, **changes: object) -> Recognizer:
    store = VoiceprintStore(tmp_path / "people.db")
    return Recognizer(store, Verifier(Fixed(**changes), threshold=threshold))


def test_verify_scores_against_the_mean_with_the_shorter_side(tmp_path: Path) -> None:
    known = recognizer(tmp_path, threshold=-1.0)
    enrolled = known.enroll("张三", [VOICE_A, VOICE_B], consent="form 17")
    assert enrolled.n_added == 2 and enrolled.person.consent == "form 17"
    assert [u.label for u in enrolled.person.utterances] == [VOICE_A.name, VOICE_B.name]
    embed = known.verifier.embedder.embed
    a, b, test = (embed(v).astype(np.float64) for v in (VOICE_A, VOICE_B, VOICE_A2))
    mean = (a + b) / np.linalg.norm(a + b)
    answer = known.verify("张三", VOICE_A2)
    assert answer.score == pytest.approx(float(mean @ test), abs=1e-6)
    assert answer.decision == "same" and answer.n_utterances == 2
    shorter = min(answer.enrolled_speech_s, answer.test.speech.speech_s)
    assert shorter == answer.test.speech.speech_s
    calibration = known.verifier.card.calibration
    assert calibration is not None and answer.score is not None
    assert answer.llr == pytest.approx(calibration.llr(answer.score, shorter))
    assert known.store.person("张三").used_at is not None
    json.dumps(answer.to_dict())


def test_silence_is_nobodys_voice_and_cannot_be_enrolled(tmp_path: Path) -> None:
    known = recognizer(tmp_path, threshold=-1.0)
    with pytest.raises(NoSpeech, match="nothing was enrolled"):
        known.enroll("a", [VOICE_A, SILENCE])
    assert known.store.people() == []
    known.enroll("a", [VOICE_A])
    assert known.verify("a", SILENCE).decision == "undecided"
    answer = known.identify(SILENCE)
    assert (answer.decision, answer.name, answer.candidates) == ("undecided", None, ())


def test_one_recording_that_is_no_list_is_told_apart_from_a_list_of_letters(tmp_path: Path) -> None:
    known = recognizer(tmp_path)
    for source in (str(VOICE_A), VOICE_A, VOICE_A.read_bytes()):
        with pytest.raises(SettingsError, match=r"one recording; wanted a list, as \[path\]"):
            known.enroll("x", source)  # type: ignore[arg-type]


def test_another_voice_is_refused_unless_one_insists(tmp_path: Path) -> None:
    known = recognizer(tmp_path, threshold=1.0)
    with pytest.raises(
        OtherVoice,
        match=f"^{re.escape(str(VOICE_A))}: not the voice of the other rec.*Leave it out",
    ):
        known.enroll("a", [VOICE_A, VOICE_B])
    known.enroll("a", [VOICE_A])
    with pytest.raises(OtherVoice, match="not the voice of a as enrolled .*another name"):
        known.enroll("a", [VOICE_B])
    assert len(known.store.person("a").utterances) == 1
    assert known.enroll("a", [VOICE_B], same_person=True).n_added == 1


def test_identify_ranks_everybody_and_names_only_who_passes(tmp_path: Path) -> None:
    known = recognizer(tmp_path, threshold=0.9)
    for name, voice in (("a", VOICE_A), ("b", VOICE_B)):
        known.enroll(name, [voice])
    answer = known.identify(VOICE_A, top=5)
    assert (answer.decision, answer.name) == ("named", "a")
    assert answer.candidates[0].score == pytest.approx(1, abs=1e-6)
    assert [c.name for c in answer.candidates] == ["a", "b"] and answer.n_people == 2
    chances = [c.probability for c in answer.candidates]
    assert sum(chances) + answer.nobody_probability == pytest.approx(1, abs=1e-5)  # type: ignore[operator, arg-type]
    assert answer.candidates[1].score == pytest.approx(known.verify("b", VOICE_A).score, abs=1e-12)
    assert len(known.identify(VOICE_A, top=1).candidates) == 1
    strict = Recognizer(known.store, Verifier(Fixed(), threshold=1.0))
    nobody = strict.identify(VOICE_A2)
    assert (nobody.decision, nobody.name, nobody.probability) == ("nobody", None, None)
    json.dumps(nobody.to_dict())


def test_the_threshold_follows_the_population(tmp_path: Path) -> None:
    known = recognizer(tmp_path)  # rows 0.1: 0.80, 0.01: 0.90, 0.005: 0.95
    known.enroll("a", [VOICE_A])
    assert known.identify(VOICE_A).threshold == 0.90
    known.enroll("b", [VOICE_B])
    answer = known.identify(VOICE_A)
    assert answer.threshold == 0.95 and answer.measured and "among 2 people" in answer.rule


def by_telephone(path: Path) -> tuple[np.ndarray, int]:
    return telephone(read_audio(path), "ulaw"), SAMPLE_RATE


def test_telephone_sound_on_both_sides_is_judged_by_what_was_measured_on_it(
    tmp_path: Path,
) -> None:
    """Enrolled by telephone or not, asked by telephone or not."""
    card = telephone_card()
    known = recognizer(tmp_path, narrow_band=card.narrow_band)
    known.enroll("wide", [VOICE_A])
    known.enroll("call", [by_telephone(VOICE_A)])
    known.enroll("both", [VOICE_A, by_telephone(VOICE_A)], same_person=True)
    stored = [u.narrow_band for name in ("wide", "call", "both") for u in _utterances(known, name)]
    assert stored == [False, True, False, True]
    for name, source, channel in (
        ("wide", VOICE_A2, "wide band"),
        ("call", VOICE_A2, "mixed"),
        ("wide", by_telephone(VOICE_A2), "mixed"),
        ("both", by_telephone(VOICE_A2), "mixed"),
        ("call", by_telephone(VOICE_A2), "telephone"),
    ):
        is_call = channel == "telephone"
        verified = known.verify(name, source)
        assert verified.channel == channel and verified.threshold == (0.99 if is_call else 0.90)
        assert ("calls" if is_call else "nothing") in verified.rule
        assert ("mixed_channels" in {w.code for w in verified.warnings}) is (channel == "mixed")
        calibration = card.calibration_for(narrow_band=is_call)
        shorter = min(verified.enrolled_speech_s, verified.test.speech.speech_s)
        assert calibration is not None and verified.score is not None
        assert verified.llr == pytest.approx(calibration.llr(verified.score, shorter))


def test_identifying_weighs_each_person_by_how_they_were_enrolled(tmp_path: Path) -> None:
    card = telephone_card()
    known = recognizer(tmp_path, narrow_band=card.narrow_band)
    known.enroll("wide", [VOICE_A])
    known.enroll("call", [by_telephone(VOICE_A)])
    for source, channels in (
        (VOICE_A2, {"wide": "wide band", "call": "mixed"}),
        (by_telephone(VOICE_A2), {"wide": "mixed", "call": "telephone"}),
    ):
        answer = known.identify(source)
        assert {c.name: c.channel for c in answer.candidates} == channels
        thresholds, llrs = {}, {}
        for name, channel in channels.items():
            narrow = channel == "telephone"
            thresholds[name] = threshold_for(
                card, answer.test.speech.speech_s, 2, narrow_band=narrow
            ).value
            (candidate,) = [c for c in answer.candidates if c.name == name]
            assert candidate.accepted == (candidate.score >= thresholds[name])
            calibration = card.calibration_for(narrow_band=narrow)
            assert calibration is not None
            shorter = min(answer.test.speech.speech_s, known.store.person(name).speech_s)
            llrs[name] = calibration.llr(candidate.score, shorter)
        odds = {name: math.exp(llr) for name, llr in llrs.items()}
        for candidate in answer.candidates:
            chance = odds[candidate.name] / (sum(odds.values()) + 2)
            assert candidate.probability == pytest.approx(chance, rel=1e-3)
        first = answer.candidates[0]
        margins = [c.score - thresholds[c.name] for c in answer.candidates]
        assert margins == sorted(margins, reverse=True)
        assert answer.threshold == pytest.approx(thresholds[first.name])
    assert thresholds["call"] > thresholds["wide"]


def test_a_new_recording_of_somebody_enrolled_by_telephone_is_judged_as_what_both_are(
    tmp_path: Path,
) -> None:
    """A telephone threshold of 1, which nothing reaches, stands for a strict one."""
    narrow = telephone_card().narrow_band
    assert narrow is not None
    rows = tuple(replace(row, threshold=1.0) for row in narrow.thresholds[0].rows)
    strict = replace(narrow, thresholds=(replace(narrow.thresholds[0], rows=rows),))
    known = recognizer(tmp_path, narrow_band=strict)
    with pytest.raises(OtherVoice, match=r"threshold 1.00"):  # one by the other
        known.enroll("a", [by_telephone(VOICE_A), by_telephone(VOICE_A2)])
    known.enroll("a", [by_telephone(VOICE_A)])
    with pytest.raises(OtherVoice, match=r"threshold 1.00"):
        known.enroll("a", [by_telephone(VOICE_A2)])
    score = known.verify("a", VOICE_A2).score
    assert score is not None and score >= 0.90
    known.enroll("a", [VOICE_A2])  # a wide-band one is judged by the ordinary threshold


def _utterances(known: Recognizer, name: str) -> tuple[StoredUtterance, ...]:
    return known.store.person(name).utterances


def test_the_rule_says_where_a_mean_was_asked_that_nobody_measured(tmp_path: Path) -> None:
    known = recognizer(tmp_path)
    known.enroll("a", [VOICE_A])
    for answer in (known.verify("a", VOICE_A2), known.identify(VOICE_A2)):
        assert "strangers score higher" not in answer.rule
    known.enroll("a", [VOICE_A2, VOICE_B], same_person=True)
    for answer in (known.verify("a", VOICE_A2), known.identify(VOICE_A2)):
        assert answer.rule.endswith("against a mean of 3 strangers score higher")
    given = Recognizer(known.store, Verifier(Fixed(), threshold=0.5))
    for answer in (given.verify("a", VOICE_A2), given.identify(VOICE_A2)):
        assert answer.rule == "the threshold that you gave"


def test_strangers_do_score_higher_against_a_mean(rng: np.random.Generator) -> None:
    """Utterances of a person: a direction, and as much again of something else."""
    person, stranger = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 192)))
    stranger = 0.6 * person + 0.8 * stranger  # a voice that is like the person's
    utterances = person + rng.standard_normal((500, 192)) / np.sqrt(192)
    utterances /= np.linalg.norm(utterances, axis=1, keepdims=True)
    mean = utterances.mean(axis=0)
    assert np.linalg.norm(mean) < 0.8
    assert mean @ stranger / np.linalg.norm(mean) > 1.2 * np.mean(utterances @ stranger)


def test_an_empty_store_and_bad_settings_are_refused(tmp_path: Path) -> None:
    known = recognizer(tmp_path)
    with pytest.raises(StoreError, match="nobody is enrolled; enrol first"):
        known.identify(VOICE_A)
    with pytest.raises(SettingsError, match="top is 0"):
        known.identify(VOICE_A, top=0)
    with pytest.raises(SettingsError, match="at least one"):
        known.enroll("a", [])
    with pytest.raises(SettingsError, match="between 0 and 1"):
        Recognizer(known.store, known.verifier, fpir=0.0)


def test_moving_to_another_model(tmp_path: Path) -> None:
    old = recognizer(tmp_path, threshold=-1.0)
    before = old.enroll("a", [VOICE_A], consent="yes").person
    new = recognizer(tmp_path, threshold=-1.0, version="2")
    for act in (lambda: new.verify("a", VOICE_A), lambda: new.identify(VOICE_A)):
        with pytest.raises(ModelMismatch, match="fake 1 .*asked with fake 2"):
            act()
    with pytest.raises(ModelMismatch, match="groove reembed"):
        new.enroll("a", [VOICE_A2])
    after = new.reembed("a", [VOICE_A, VOICE_A2]).person
    assert (after.person_id, after.consent) == (before.person_id, "yes")
    assert new.identify(VOICE_A).name == "a"
    with pytest.raises(ModelMismatch):
        old.verify("a", VOICE_A)


def test_the_public_store_takes_an_encoder(tmp_path: Path) -> None:
    store = groove.VoiceprintStore(tmp_path / "x.db", model=Fixed(), threshold=0.99)
    store.enroll("a", [VOICE_A])
    assert store.verify("a", VOICE_A).decision == "same"
    assert store.identify(VOICE_A, top=2).name == "a"
    assert store.reembed("a", [VOICE_B]).n_added == 1
    assert store.forget(["a"]).n_people == 1
