"""What is listened to before somebody is enrolled, and what is refused.

Nothing is written here. A recording that does not sound like the person it is given for (the other
recordings, or the voiceprint that is there) is refused: most often it is a wrong file, or another
person of the same name, who then needs a name of his own.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np

from groove.audio import AudioSource
from groove.audio.bytestream import source_name
from groove.errors import NoSpeech, OtherVoice, SettingsError
from groove.scoring import cosine, unit_length
from groove.verifier import Side, Verifier, channel_of
from groove.voiceprints.people import NewUtterance, Voiceprint


def listened(
    verifier: Verifier, sources: Sequence[AudioSource]
) -> tuple[list[NewUtterance], list[Side]]:
    """All recordings as utterances, and what was heard in each.

    Raises:
        AudioError: a recording cannot be read, or holds too little speech.
        SettingsError: no recording, or one that is not in a list.
    """
    if isinstance(sources, str | bytes | PathLike):  # a name is a sequence too, of letters
        raise SettingsError(f"{source_name(sources)}: one recording; wanted a list, as [path]")
    utterances, sides = [], []
    for source in sources:
        examined, name = verifier.embedder.examine(source), source_name(source)
        if examined.embedding is None:
            least = verifier.card.min_speech_s
            raise NoSpeech(
                f"{name}: {examined.speech.refusal(least)}, or leave it out; nothing was enrolled"
            )
        speech = examined.speech
        utterances.append(
            NewUtterance(
                examined.embedding,
                speech.seconds,
                speech.speech_s,
                _label(name),
                speech.is_narrow_band,
            )
        )
        sides.append(Side(name, speech))
    if not utterances:
        raise SettingsError("no recording; give at least one")
    return utterances, sides


def refuse_other_voices(
    verifier: Verifier,
    name: str,
    utterances: Sequence[NewUtterance],
    sides: Sequence[Side],
    *,
    known: Voiceprint | None = None,
) -> None:
    """Each must match what is enrolled, or the mean of the other new ones.

    Raises:
        OtherVoice: one does not.
    """
    for i, utterance in enumerate(utterances):
        others = [u for j, u in enumerate(utterances) if j != i]
        if known is not None:
            mean, speech_s, what = known.embedding, known.speech_s, f"{known.name} as enrolled"
            narrow_band = known.narrow_band
        elif others:
            mean = unit_length(np.mean([u.embedding for u in others], axis=0))
            speech_s, what = sum(u.speech_s for u in others), "the other recordings"
            narrow_band = all(u.narrow_band for u in others)
        else:
            return
        score = float(cosine(mean, utterance.embedding))
        judged = verifier.judge(
            score,
            min(speech_s, utterance.speech_s),
            channel=channel_of(narrow_band, utterance.narrow_band),
        )
        if judged.decision != "same":
            raise OtherVoice(
                f"{sides[i].name}: not the voice of {what} (score {score:.2f}, threshold "
                f"{judged.threshold:.2f}); nothing was enrolled. Leave it out if it is another "
                f"person's (another {name} needs another name); if it is the same person, add "
                "--same-person"
            )


def _label(name: str) -> str:
    """The file's name without its folders, which would tell about the user's disk."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]
