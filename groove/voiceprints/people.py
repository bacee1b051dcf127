"""What a voiceprint store knows of people: the records that go in and come out.

Times are UTC, ISO 8601. An embedding [D] has length 1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ModelTag:
    """Which model made an embedding; only equal hashes can be compared."""

    model_hash: str
    front_end_hash: str
    name: str
    size: int

    @property
    def hashes(self) -> tuple[str, str]:
        """What decides."""
        return self.model_hash, self.front_end_hash


@dataclass(frozen=True)
class NewUtterance:
    """What is enrolled: an embedding [D], and what it came from."""

    embedding: NDArray[np.float32]
    seconds: float
    speech_s: float
    label: str = ""
    narrow_band: bool = False  # telephone sound, see `groove.speech`


@dataclass(frozen=True)
class StoredUtterance:
    """What the store says of an utterance; the embedding itself stays inside."""

    utterance_id: str
    label: str
    seconds: float
    speech_s: float
    created_at: str
    model: str
    model_hash: str
    front_end_hash: str
    narrow_band: bool  # telephone sound, see `groove.speech`


@dataclass(frozen=True)
class Person:
    """Somebody who is enrolled. Times are UTC, ISO 8601; ``used_at`` None: never asked for."""

    person_id: str
    name: str
    consent: str
    created_at: str
    updated_at: str
    used_at: str | None
    utterances: tuple[StoredUtterance, ...]

    @property
    def speech_s(self) -> float:
        """Seconds of speech of all utterances together."""
        return sum(u.speech_s for u in self.utterances)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Voiceprint:
    """The mean [D], length 1, float64, of a person's utterances."""

    person_id: str
    name: str
    embedding: NDArray[np.float64]
    speech_s: float
    n_utterances: int
    narrow_band: bool  # all of it is telephone sound


@dataclass(frozen=True)
class Erased:
    """What `forget` did: the deletion was looked after in ``n_bytes`` of the file and its log."""

    n_people: int
    n_utterances: int
    n_bytes: int


@dataclass(frozen=True)
class AuditEntry:
    """One line of the log."""

    at: str
    action: str
    person_id: str
    detail: str


def people_text(n_people: int) -> str:
    """1 person, 2 people."""
    return f"{n_people:,} {'person' if n_people == 1 else 'people'}"
