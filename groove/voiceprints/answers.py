"""What a `Recognizer` answers: of enrolling, of a claim, and of who is talking."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from groove.cautions import Caution
from groove.verifier import Channel, Judgement, Side
from groove.voiceprints.people import Person

Answer = Literal["named", "nobody", "undecided"]


@dataclass(frozen=True)
class Enrollment:
    """What enrolling did."""

    person: Person
    n_added: int  # the others were there already
    warnings: tuple[Caution, ...]


@dataclass(frozen=True)
class Verification(Judgement):
    """Is this the person who enrolled? "same" means yes."""

    warnings: tuple[Caution, ...]
    model: str
    name: str
    person_id: str
    n_utterances: int
    enrolled_speech_s: float
    test: Side
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """Somebody who may be talking. ``probability`` is among all who are enrolled, and nobody."""

    name: str
    person_id: str
    n_utterances: int
    score: float
    probability: float | None
    accepted: bool  # score >= threshold
    channel: Channel  # see `groove.verifier.channel_of`: the telephone has its own threshold


@dataclass(frozen=True)
class Identification:
    """Who is this? ``name`` and ``person_id`` are the best candidate's, if he is accepted.

    ``nobody_probability``: that it is somebody who is not enrolled. Probabilities are at even odds
    beforehand that the speaker is enrolled, and None without a calibration.
    """

    decision: Answer
    name: str | None
    person_id: str | None
    probability: float | None
    nobody_probability: float | None
    candidates: tuple[Candidate, ...]
    threshold: float
    rule: str
    measured: bool
    n_people: int
    warnings: tuple[Caution, ...]
    model: str
    test: Side
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
