"""Who speaks in a list of trials that comes without a manifest.

The speaker-level bootstrap needs to know which recordings are one speaker's; to check that cohort
and calibration set hold other speakers, it needs names as well. Three conventions name them, and
one is believed only if every label of the list agrees with it:

    CN-Celeb   id00800-enroll, test/id00800-singing-01-005.wav, id00800/singing-01-001.wav
    folders    id10270/x6uYqmx31kE/00001.wav       the first folder, as in VoxCeleb
    Kaldi      spk utt target                      the enrollment is the speaker, not a recording

Else whoever is linked by target trials is one speaker without a name, and whoever is in no target
trial is a speaker of its own. Nothing that is not known is made up: such a name is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from groove.errors import ManifestError
from groove.evaluation.trial_table import Ints, TrialTable

CNCELEB_SPEAKER = re.compile(r"^(id\d{5})(?:-|$)")


@dataclass(frozen=True)
class ListSpeakers:
    """The speakers of a list, as numbers of ``names``."""

    enrollment: Ints  # [E]
    test: Ints  # [T]
    names: tuple[str, ...]  # [K]; "" where the list does not say
    said_by: str  # what names them, for the report; "" where nothing does


def speakers_of_list(
    table: TrialTable, where: str, *, recordings: Sequence[Sequence[str]] | None = None
) -> ListSpeakers:
    """Who speaks, from the list alone; see the top of this file.

    Args:
        table: the trials.
        where: the list's name, for a message.
        recordings: [E], what each enrollment is made of, where its id is not a recording's name.

    Raises:
        ManifestError: the labels contradict each other: a non-target trial within one speaker.
    """
    n = len(table.enrollment_ids)
    groups = recordings or [(name,) for name in table.enrollment_ids]
    for said_by, name_of in (("ids in its names", cnceleb_speaker), ("folders", _folder)):
        found = [
            _one(map(name_of, group)) for group in (*groups, *((name,) for name in table.test_ids))
        ]
        if all(found):
            names, index = np.unique(np.array(found), return_inverse=True)
            who = index.astype(np.int64).ravel()
            if _agrees(table, who[:n], who[n:]):
                return ListSpeakers(who[:n], who[n:], tuple(names.tolist()), said_by)
    enrollment, test = _linked(table, where)
    linked, index = np.unique(np.concatenate([enrollment, test]), return_inverse=True)
    who = index.astype(np.int64).ravel()
    known = [""] * len(linked)
    # Were two enrollments linked to one speaker, their ids would be models' and not its name.
    if recordings is not None and len(np.unique(who[:n])) == n:
        for number, name in zip(who[:n].tolist(), table.enrollment_ids, strict=True):
            known[number] = name
    return ListSpeakers(who[:n], who[n:], tuple(known), "enrollment ids" if any(known) else "")


def cnceleb_speaker(name: str) -> str:
    """The speaker in the name of a CN-Celeb recording or enrollment, or of its folder; else "".

    >>> cnceleb_speaker("test/id00800-singing-01-005.wav")
    'id00800'
    """
    path = PurePosixPath(name)
    for part in (path.stem, path.parent.name):
        if found := CNCELEB_SPEAKER.match(part):
            return found[1]
    return ""


def _one(names: Iterable[str]) -> str:
    found = set(names)
    return found.pop() if len(found) == 1 else ""


def _folder(name: str) -> str:
    folder, slash, _ = name.partition("/")
    return folder if slash else ""


def _agrees(table: TrialTable, enrollment: Ints, test: Ints) -> bool:
    return bool(((enrollment[table.enrollment] == test[table.test]) == table.is_target).all())


def _linked(table: TrialTable, where: str) -> tuple[Ints, Ints]:
    """Numbers of the speakers [E], [T], as target trials link them; with gaps."""
    numbers: dict[str, int] = {}
    enrollments, tests = (
        _numbered(table.enrollment_ids, numbers),
        _numbered(table.test_ids, numbers),
    )
    parent = list(range(len(numbers)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    linked = table.only(table.is_target)
    pairs = zip(enrollments[linked.enrollment].tolist(), tests[linked.test].tolist(), strict=True)
    for a, b in pairs:
        parent[root(a)] = root(b)
    who = np.array([root(i) for i in range(len(numbers))], dtype=np.int64)
    wrong = ~table.is_target & (who[enrollments][table.enrollment] == who[tests][table.test])
    if wrong.any():
        first = int(wrong.argmax())
        raise ManifestError(
            f"{where}: {table.enrollment_ids[table.enrollment[first]]} and "
            f"{table.test_ids[table.test[first]]} are a non-target trial, yet target trials link "
            "them to one speaker; mend the labels"
        )
    return who[enrollments], who[tests]


def _numbered(ids: Sequence[str], known: dict[str, int]) -> Ints:
    return np.array([known.setdefault(name, len(known)) for name in ids], dtype=np.int64)
