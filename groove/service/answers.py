"""What the web page answers: a recognizer's results as cards, in one language.

Knows nothing of Gradio; every answer is HTML. Errors that Groove raises on purpose become a card,
too.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache

from groove.audio import AudioSource, open_audio
from groove.cautions import Caution
from groove.errors import GrooveError
from groove.listening import Heard
from groove.service import pictures
from groove.service.temporary import PREFIX
from groove.service.words import WORDS, Language, say, warning_text
from groove.speech import SpeechDetector, SpeechReport
from groove.verifier import Comparison, Side, Verifier
from groove.voiceprints.answers import Enrollment, Identification
from groove.voiceprints.identification import fmr_of_comparison
from groove.voiceprints.people import Person
from groove.voiceprints.recognition import Recognizer

_UPLOAD = re.compile(
    rf"(?:{re.escape(tempfile.gettempdir())}[/\\]|[^\s:]*){PREFIX}[^/\\\s]+[/\\](?:[0-9a-f]+[/\\])?"
)
MAX_TRACE_S = 600.0  # longer recordings are drawn up to here


def compare(verifier: Verifier, a: str | None, b: str | None, language: Language) -> str:
    """Two recordings: waveforms, gauge, probability, why, warnings."""
    if not a or not b:
        return hint(language, "need_two")

    def work() -> str:
        answer = verifier.compare(a, b)
        waves = [
            _wave(path, say(language, key), side.speech, language)
            for path, key, side in ((a, "first", answer.a), (b, "second", answer.b))
        ]
        words = (say(language, "score"), say(language, "threshold"))
        gauge = pictures.gauge(answer.score, answer.threshold, words)
        body = pictures.beside(gauge, _why(verifier, answer, language)) + pictures.waves(waves)
        sub = ""
        if answer.probability is not None:
            sub = say(language, "probability_same", percent(answer.probability))
        return pictures.card(answer.decision, say(language, answer.decision), sub, body)

    return _guarded(work, language)


def enroll(
    recognizer: Recognizer, name: str, consent: str, recording: str | None, language: Language
) -> str:
    """One more recording of somebody."""
    if not name.strip():
        return hint(language, "need_name")
    if not recording:
        return hint(language, "need_one")

    def work() -> str:
        done: Enrollment = recognizer.enroll(name, [recording], consent=consent.strip())
        person = done.person
        how = say(
            language,
            "enrolled_how",
            n=len(person.utterances),
            speech=person.speech_s,
            added=done.n_added,
        )
        report = _report_of(person)
        warnings = [warning_text(language, w.code, report) for w in done.warnings]
        body = pictures.reasons("", [], warnings) if warnings else ""
        return pictures.card("same", say(language, "enrolled", name=person.name), how, body)

    return _guarded(work, language)


def identify(recognizer: Recognizer, recording: str | None, language: Language) -> str:
    """Who is it, or nobody?"""
    if not recording:
        return hint(language, "need_one")

    def work() -> str:
        answer = recognizer.identify(recording)
        headline = answer.name or say(language, answer.decision)
        kind = {"named": "same", "nobody": "different", "undecided": "undecided"}[answer.decision]
        chance = answer.probability if answer.name else answer.nobody_probability
        sub = "" if chance is None else say(language, "probability_is", percent(chance))
        body = pictures.chances(_rows(answer, language))
        sentences = _population_rule(recognizer, answer, language)
        warnings = _warnings(answer.warnings, [answer.test], language)
        body += pictures.reasons(say(language, "why"), sentences, warnings)
        speech = answer.test.speech
        body += pictures.waves([_wave(recording, say(language, "recording"), speech, language)])
        return pictures.card(kind, headline, sub, body)

    return _guarded(work, language)


def people(found: Sequence[Person], language: Language) -> str:
    """Who is enrolled."""
    if not found:
        return f'<p class="empty">{say(language, "people_none")}</p>'
    columns = [
        say(language, f"col_{key}") for key in ("name", "recordings", "speech", "since", "consent")
    ]
    rows = [
        (p.name, str(len(p.utterances)), f"{p.speech_s:.1f} s", p.created_at[:10], p.consent or "–")
        for p in found
    ]
    return pictures.table(columns, rows)


def ask_to_forget(name: str | None, language: Language) -> str:
    """Ask before somebody is deleted."""
    return hint(language, "forget_sure", name=name) if name else hint(language, "need_person")


def forget(recognizer: Recognizer, name: str | None, language: Language) -> str:
    """Delete somebody."""
    if not name:
        return hint(language, "need_person")

    def work() -> str:
        recognizer.store.forget([name])
        return pictures.card("undecided", say(language, "forgotten", name=name), "", "")

    return _guarded(work, language)


def live(heard: Heard | None, language: Language) -> str:
    """What the real-time mode shows."""
    if heard is None:
        return pictures.live("silence", say(language, "listening"), "")
    chance = "" if heard.probability is None else percent(heard.probability)
    name = heard.name or say(language, "nobody" if heard.state == "nobody" else "silence")
    return pictures.live(heard.state, name, chance and say(language, "probability_is", chance))


def hint(language: Language, key: str, **named: object) -> str:
    """What is missing yet."""
    return pictures.card("hint", say(language, key, **named), "", "")


def failure(error: GrooveError, language: Language) -> str:
    """An error that says what to do, in the page's words where it has some.

    The others are for who runs the page, in English; the folder of the uploads is nobody's matter.
    """
    key, text = f"failed_{type(error).__name__}", _UPLOAD.sub("", str(error))
    said = text
    if key in WORDS:
        upload, colon, _ = text.partition(": ")
        which = f"{upload}: " if colon and text != str(error) else ""  # of two, say
        said = f"{which}{say(language, key)}"
    return pictures.card("failed", say(language, "failed"), said, "")


def percent(probability: float) -> str:
    """Never 100 % nor 0 %: a calibration cannot know that."""
    value = 100 * probability
    if value > 99.9:
        return "> 99.9 %"
    return "< 0.1 %" if value < 0.1 else f"{value:.1f} %"


def _guarded(work: Callable[[], str], language: Language) -> str:
    try:
        return work()
    except GrooveError as error:
        return failure(error, language)


def _wave(source: AudioSource, title: str, speech: SpeechReport, language: Language) -> str:
    tracer, stream = pictures.Tracer(), _detector().stream()
    with open_audio(source) as audio:
        for block in audio:
            tracer.push(block)
            stream.push(block)
            if stream.seconds > MAX_TRACE_S:
                break
    note = say(language, "speech_of", speech=speech.speech_s, seconds=speech.seconds)
    return pictures.waveform(tracer.trace(stream.probabilities), title, note)


@lru_cache(maxsize=1)
def _detector() -> SpeechDetector:
    return SpeechDetector()


def _why(verifier: Verifier, answer: Comparison, language: Language) -> str:
    sentences = [
        say(
            language,
            f"why_{answer.decision}",
            score=answer.score or 0.0,
            threshold=answer.threshold,
        )
    ]
    shorter_s = min(answer.a.speech.speech_s, answer.b.speech.speech_s)
    measured = verifier.row_for(shorter_s, channel=answer.channel)
    if answer.decision != "undecided":
        sentences.append(
            say(language, "rule_given")
            if measured is None
            else say(
                language,
                "rule",
                fmr=100 * measured[1].fmr,
                pairs=measured[1].n_nontarget,
                speakers=measured[1].n_speakers,
            )
        )
    if answer.probability is not None:
        sentences.append(say(language, "odds"))
    warnings = _warnings(answer.warnings, [answer.a, answer.b], language)
    return pictures.reasons(say(language, "why"), sentences, warnings)


def _warnings(cautions: Sequence[Caution], sides: Sequence[Side], language: Language) -> list[str]:
    """Each warning with the place of its recording, where there are two."""
    places = [say(language, key) for key in ("first", "second")]
    separator = "：" if language == "zh" else ": "
    shown = []
    for side, place in zip(sides, places, strict=False):
        for caution in cautions:
            if caution.recording == side.name:
                text = warning_text(language, caution.code, side.speech)
                shown.append(place + separator + text if len(sides) > 1 else text)
    whole = [c for c in cautions if not c.recording]
    return [*dict.fromkeys(shown), *(warning_text(language, c.code, None) for c in whole)]


def _population_rule(
    recognizer: Recognizer, answer: Identification, language: Language
) -> list[str]:
    if recognizer.verifier.given_threshold is not None:
        return [say(language, "rule_given")]
    fmr = fmr_of_comparison(recognizer.fpir, answer.n_people)
    measured = say(language, "measured" if answer.measured else "not_measured")
    rule = say(
        language,
        "rule_population",
        n=answer.n_people,
        fpir=100 * recognizer.fpir,
        fmr=100 * fmr,
        measured=measured,
    )
    if answer.decision == "undecided":
        return [say(language, "why_undecided")]
    key = "why_same" if answer.decision == "named" else "why_different"
    best = answer.candidates[0].score if answer.candidates else 0.0
    return [say(language, key, score=best, threshold=answer.threshold), rule]


def _rows(answer: Identification, language: Language) -> list[pictures.Bar]:
    rows = [
        pictures.Bar(
            c.name,
            f"{say(language, 'score')} {c.score:.2f}",
            c.probability,
            "" if c.probability is None else percent(c.probability),
            c.accepted,
        )
        for c in answer.candidates
    ]
    nobody = answer.nobody_probability
    if nobody is not None:
        word = say(language, "nobody_row")
        rows.append(pictures.Bar(word, "", nobody, percent(nobody), False))
    return rows


def _report_of(person: Person) -> SpeechReport:
    """The last utterance's length, for the warning about little speech."""
    last = person.utterances[-1]
    return SpeechReport(last.seconds, last.speech_s, None, None, None, 0.0)
