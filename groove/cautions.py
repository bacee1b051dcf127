"""Why an answer may be wrong, beside what `groove.speech` says of each recording."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caution:
    """Why an answer may be wrong. ``code`` is stable, ``text`` is for people."""

    code: str
    text: str
    recording: str  # which one; empty when it concerns the whole comparison


SAME_SOUND = Caution(
    "same_sound",
    "the two recordings are the same sound; compare two different recordings to learn whether the "
    "voice is the same",
    "",
)


CLOSE_CALL = Caution(
    "close_call",
    "decision and probability disagree: the score lies between the threshold and even odds; more "
    "speech decides better",
    "",
)


NOT_FOR_TELEPHONE = Caution(
    "not_for_telephone",
    "both recordings are telephone sound, for which the model holds no measurements of its own: "
    "expect more false matches than promised",
    "",
)


MIXED_CHANNELS = Caution(
    "mixed_channels",
    "one side is telephone sound, the other is not: the same voice is missed more often, "
    "and the probability was not measured on such pairs",
    "",
)
