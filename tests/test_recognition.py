"""Enrol, verify, identify, with the fake encoder whose embeddings one can predict."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import groove
from groove.audio import SAMPLE_RATE, read_audio
from groove.errors import ModelMismatch, NoSpeech, OtherVoice, SettingsError, StoreError
from groove.telephone import telephone
from groove.verifier import Verifier
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


def test_telephone_sound_is_judged_by_what_was_measured_on_it(tmp_path: Path) -> None:
    card = telephone_card()
    known = recognizer(tmp_path, narrow_band=card.narrow_band)
    known.enroll("a", [VOICE_A])
    call = (telephone(read_audio(VOICE_A2), "ulaw"), SAMPLE_RATE)
    for source, threshold, where in ((VOICE_A2, 0.90, "nothing"), (call, 0.99, "calls")):
        verified, identified = known.verify("a", source), known.identify(source)
        assert verified.threshold == threshold and where in verified.rule
        assert where in identified.rule and identified.threshold >= threshold
        calibration = card.calibration_for(narrow_band=source is call)
        assert calibration is not None and verified.score is not None
        shorter = min(verified.enrolled_speech_s, verified.test.speech.speech_s)
        assert verified.llr == pytest.approx(calibration.llr(verified.score, shorter))
        (candidate,) = identified.candidates
        odds = math.exp(calibration.llr(candidate.score, shorter))
        assert candidate.probability == pytest.approx(odds / (1 + odds), rel=1e-3)


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
