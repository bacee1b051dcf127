"""Which speakers are held back for validation: by seed, and by nothing else.

Speakers are ranked by SHA-256 of ``seed:speaker``, and the first N of those with enough utterances
are taken. So the choice is the same on every machine and whatever order the files come in, and
adding a second corpus keeps the order among the speakers of the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from groove.errors import SettingsError

DEFAULT_SHARE, MOST = 0.05, 100  # of the speakers, where no number was asked for


def choose_validation(
    n_utterances: Mapping[str, int], *, seed: int, n_speakers: int | None, min_utterances: int
) -> frozenset[str]:
    """Choose the validation speakers.

    Args:
        n_utterances: usable utterances of each speaker.
        seed: of the choice.
        n_speakers: how many; None takes a twentieth of all, from 2 to 100.
        min_utterances: a speaker with fewer is not chosen: target trials need several.

    Raises:
        SettingsError: fewer than two speakers asked for (there would be no non-target trials),
            too few that have enough utterances, or fewer than two left for training.
    """
    eligible = [name for name, n in n_utterances.items() if n >= min_utterances]
    share = min(MOST, round(DEFAULT_SHARE * len(n_utterances)))
    wanted = max(2, share) if n_speakers is None else n_speakers
    if wanted < 2:
        raise SettingsError(
            f"{wanted} validation speakers; wanted at least 2, for trials between strangers"
        )
    if wanted > len(eligible):
        raise SettingsError(
            f"{wanted} validation speakers wanted, but {len(eligible)} of {len(n_utterances)} have "
            f"at least {min_utterances} usable utterances; lower --val-speakers or --val-utterances"
        )
    if len(n_utterances) - wanted < 2:
        raise SettingsError(
            f"{wanted} validation speakers of {len(n_utterances)} leave "
            f"{len(n_utterances) - wanted} to train on; wanted at least 2: lower --val-speakers"
        )
    ranked = sorted(eligible, key=lambda name: (_rank(seed, name), name))
    return frozenset(ranked[:wanted])


def _rank(seed: int, speaker_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{speaker_id}".encode()).digest()
