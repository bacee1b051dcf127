"""Enrol voices, verify a claim, and say who is talking: a store with a verifier.

Enrolling listens to all recordings before anything is written, and refuses what does not sound like
the person, see `groove.voiceprints.enrolling`.

`verify` compares with the person's voiceprint; `identify` with everybody's, see
`groove.voiceprints.identification`. The amount of speech is that of the shorter side, where an
enrolled side counts all its utterances together, and is telephone sound if all of them are.
Thresholds and calibration were measured on pairs of single recordings. A mean of several unit
vectors is shorter than 1; scaling it back lifts every score against it, strangers' too, so the
measured rate is exceeded: the rule says so (`_of_mean`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from groove.audio import AudioSource
from groove.audio.bytestream import source_name
from groove.embedder import Examined
from groove.errors import NobodyEnrolled, SettingsError, UnknownPerson
from groove.scoring import cosine
from groove.speech import SpeechReport
from groove.verifier import Side, Verifier, channel_of
from groove.voiceprints.answers import Answer, Candidate, Enrollment, Identification, Verification
from groove.voiceprints.enrolling import listened, refuse_other_voices
from groove.voiceprints.identification import (
    DEFAULT_FPIR,
    Gallery,
    PopulationThreshold,
    llrs_of_kinds,
    posteriors,
    threshold_for,
)
from groove.voiceprints.people import ModelTag, Voiceprint
from groove.voiceprints.store import VoiceprintStore

SPARE = 8  # candidates scored again in double precision, beyond those that are asked for


class Recognizer:
    """Knows the people of a store by their voices.

    >>> recognizer = Recognizer(store, verifier)
    >>> recognizer.enroll("张三", ["a.wav", "b.wav"], consent="form 17")
    >>> recognizer.verify("张三", "c.wav").decision       # "same", "different" or "undecided"
    >>> recognizer.identify("c.wav").name                 # or None for nobody
    """

    def __init__(
        self, store: VoiceprintStore, verifier: Verifier, *, fpir: float = DEFAULT_FPIR
    ) -> None:
        """Join the two.

        Args:
            store: who is enrolled.
            verifier: the model, and the rule for `verify`.
            fpir: the false-alarm rate that `identify` promises; a threshold that was given to the
                verifier goes before it.

        Raises:
            SettingsError: a false-alarm rate that is not between 0 and 1.
        """
        if not 0 < fpir < 1:
            raise SettingsError(f"false-alarm rate {fpir:g}; wanted a number between 0 and 1")
        self.store, self.verifier, self.fpir = store, verifier, fpir

    @property
    def tag(self) -> ModelTag:
        """What marks this model's embeddings."""
        encoder = self.verifier.embedder.encoder
        card = encoder.card
        return ModelTag(
            encoder.model_hash, card.fbank.hash, f"{card.name} {card.version}", card.embedding_size
        )

    def enroll(
        self,
        name: str,
        sources: Sequence[AudioSource],
        *,
        consent: str = "",
        same_person: bool = False,
    ) -> Enrollment:
        """Enrol recordings of one person: all of them or none.

        Args:
            name: whose they are; see `groove.voiceprints.names`.
            sources: recordings.
            consent: a note on how and when the person agreed.
            same_person: enrol also what does not sound like the person.

        Raises:
            AudioError: a recording cannot be read, or holds too little speech.
            OtherVoice: a recording does not sound like the others.
            StoreError: see `VoiceprintStore.add`.
        """
        utterances, sides = listened(self.verifier, sources)
        try:
            known = self.store.voiceprint(name, self.tag)
        except UnknownPerson:
            known = None
        if not same_person:
            refuse_other_voices(self.verifier, name, utterances, sides, known=known)
        person, n_added = self.store.add(name, utterances, self.tag, consent=consent)
        return Enrollment(person, n_added, tuple(self.verifier.cautions(sides)))

    def reembed(
        self, name: str, sources: Sequence[AudioSource], *, same_person: bool = False
    ) -> Enrollment:
        """Replace a person's utterances, of whatever model, by these recordings' with this one.

        Id, consent and times stay. What does not sound like the other recordings is refused.

        Raises:
            UnknownPerson: nobody of that name.
            AudioError: a recording cannot be read, or holds too little speech.
            OtherVoice: a recording does not sound like the others.
        """
        known = self.store.person(name)
        utterances, sides = listened(self.verifier, sources)
        if not same_person:
            refuse_other_voices(self.verifier, known.name, utterances, sides)
        person, n_added = self.store.add(known.name, utterances, self.tag, replace=True)
        return Enrollment(person, n_added, tuple(self.verifier.cautions(sides)))

    def verify(self, name: str, source: AudioSource) -> Verification:
        """Is this the person of that name or id?

        Raises:
            UnknownPerson: nobody of that name.
            ModelMismatch: the person is enrolled with another model.
            AudioError: the recording cannot be read.
        """
        started = time.perf_counter()
        enrolled = self.store.voiceprint(name, self.tag)
        examined = self.verifier.embedder.examine(source)
        side = Side(source_name(source), examined.speech)
        shorter_s = min(enrolled.speech_s, examined.speech.speech_s)
        channel = channel_of(enrolled.narrow_band, examined.speech.is_narrow_band)
        judged = self.verifier.judge(_score(enrolled, examined), shorter_s, channel=channel)
        self.store.record_use("verify", enrolled.person_id, judged.decision)
        rule = judged.rule
        if self.verifier.given_threshold is None:
            rule += _of_mean(enrolled.n_utterances)
        return Verification(
            **asdict(replace(judged, rule=rule)),
            warnings=tuple(self.verifier.cautions([side], judged)),
            model=self.tag.name,
            name=enrolled.name,
            person_id=enrolled.person_id,
            n_utterances=enrolled.n_utterances,
            enrolled_speech_s=enrolled.speech_s,
            test=side,
            seconds=time.perf_counter() - started,
        )

    def identify(self, source: AudioSource, *, top: int = 5, record: bool = True) -> Identification:
        """Who is talking, of all who are enrolled, or nobody of them?

        Args:
            source: a recording.
            top: how many candidates to name.
            record: note the use in the store.

        Raises:
            NobodyEnrolled: there is none to compare with.
            ModelMismatch: somebody is enrolled with another model.
            AudioError: the recording cannot be read.
        """
        started = time.perf_counter()
        if top < 1:
            raise SettingsError(f"top is {top}; wanted 1 or more")
        gallery = self.store.gallery(self.tag)
        if not len(gallery):
            raise NobodyEnrolled(
                f"{self.store.path}: nobody is enrolled; enrol first:  groove enroll NAME FILES"
            )
        return self.identify_examined(
            self.verifier.embedder.examine(source),
            gallery,
            source_name(source),
            top=top,
            record=record,
            started=started,
        )

    def identify_examined(
        self,
        examined: Examined,
        gallery: Gallery,
        name: str,
        *,
        top: int,
        record: bool,
        started: float,
    ) -> Identification:
        """As `identify`, for a recording that was listened to already."""
        side = Side(name, examined.speech)
        by_kind = {
            narrow: self._population_threshold(examined.speech.speech_s, len(gallery), narrow)
            for narrow in {False, examined.speech.is_narrow_band}
        }
        candidates: tuple[Candidate, ...] = ()
        nobody: float | None = None
        if examined.embedding is not None:
            candidates, nobody = self._candidates(
                examined.embedding, examined.speech, gallery, by_kind, top
            )
        channel = candidates[0].channel if candidates else "wide band"
        threshold = by_kind[channel == "telephone"]
        rule = threshold.rule
        if candidates and self.verifier.given_threshold is None:
            rule += _of_mean(candidates[0].n_utterances)
        best = candidates[0] if candidates and candidates[0].accepted else None
        decision: Answer = "named" if best else "nobody"
        if examined.embedding is None:
            decision = "undecided"
        if record:
            self.store.record_use("identify", best.person_id if best else "", decision)
        return Identification(
            decision=decision,
            name=best.name if best else None,
            person_id=best.person_id if best else None,
            probability=best.probability if best else None,
            nobody_probability=nobody,
            candidates=candidates[:top],
            threshold=threshold.value,
            rule=rule,
            measured=threshold.measured,
            n_people=len(gallery),
            warnings=tuple(self.verifier.cautions([side], channel=channel)),
            model=self.tag.name,
            test=side,
            seconds=time.perf_counter() - started,
        )

    def _candidates(
        self,
        embedding: NDArray[np.float32],
        speech: SpeechReport,
        gallery: Gallery,
        by_kind: Mapping[bool, PopulationThreshold],
        top: int,
    ) -> tuple[tuple[Candidate, ...], float | None]:
        scores = gallery.scores(embedding)
        indices = gallery.best(scores, top + SPARE)
        chances: list[float] | None = None
        nobody: float | None = None
        test_is_narrow = speech.is_narrow_band
        llrs = llrs_of_kinds(
            self.verifier.card, scores, gallery, speech.speech_s, narrow_band=test_is_narrow
        )
        if llrs is not None:
            chances, nobody = posteriors(llrs, indices)
        keys = [int(gallery.keys[i]) for i in indices]
        entries = self.store.entries(keys)  # by key; who was forgotten meanwhile is missing
        found = []
        for i, key in enumerate(keys):
            if (enrolled := entries.get(key)) is None:
                continue
            score = float(cosine(enrolled.embedding, embedding))
            chance = chances[i] if chances is not None else None
            channel = channel_of(enrolled.narrow_band, test_is_narrow)
            found.append(
                Candidate(
                    name=enrolled.name,
                    person_id=enrolled.person_id,
                    n_utterances=enrolled.n_utterances,
                    score=score,
                    probability=chance,
                    accepted=score >= by_kind[channel == "telephone"].value,
                    channel=channel,
                )
            )
        # Best first: by how far each lies above the threshold of its kind.
        threshold = {c.person_id: by_kind[c.channel == "telephone"].value for c in found}
        return tuple(sorted(found, key=lambda c: threshold[c.person_id] - c.score)), nobody

    def _population_threshold(
        self, speech_s: float, n_people: int, narrow_band: bool
    ) -> PopulationThreshold:
        given = self.verifier.given_threshold
        if given is not None:
            return PopulationThreshold(given, "the threshold that you gave", False, float("nan"))
        card = self.verifier.card
        return threshold_for(card, speech_s, n_people, fpir=self.fpir, narrow_band=narrow_band)


def _of_mean(n_utterances: int) -> str:
    """What the rule must say of a voiceprint of several recordings."""
    if n_utterances == 1:
        return ""
    return (
        f"; measured on single recordings: against a mean of {n_utterances} strangers score higher"
    )


def _score(enrolled: Voiceprint, examined: Examined) -> float | None:
    if examined.embedding is None:
        return None
    return float(cosine(enrolled.embedding, examined.embedding))
