"""Lists of trials: which recording is compared with which, and whether the speaker is the same.

A list comes from a corpus (`read_trials`) or from a manifest: every pair (`all_pairs`) or a random
part of them (`draw_trials`). A recording is never compared with itself, under whatever id.

Three forms of list are read and written:

    voxceleb   1 enrollment test              label first, 1 or 0
    kaldi      enrollment test target         label last: target, nontarget; 1 or 0 are read, too
    csv        enrollment_id,test_id,is_target    with this header; is_target 1 or 0
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groove.errors import ManifestError, SettingsError
from groove.manifest import HELP, Utterance, read_lines, write_lines

TrialForm = Literal["voxceleb", "kaldi", "csv"]
CSV_HEADER = ("enrollment_id", "test_id", "is_target")
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trial:
    """Two recordings and whether one speaker made both."""

    enrollment_id: str
    test_id: str
    is_target: bool


def all_pairs(utterances: Iterable[Utterance]) -> list[Trial]:
    """Every pair of two different utterances once: N (N - 1) / 2 trials, in manifest order.

    Raises:
        ManifestError: an id or a file occurs twice.
    """
    listed = _distinct(utterances)
    return [
        Trial(a.utterance_id, b.utterance_id, a.speaker_id == b.speaker_id)
        for index, a in enumerate(listed)
        for b in listed[index + 1 :]
    ]


def draw_trials(
    utterances: Iterable[Utterance], n_target: int, n_nontarget: int, seed: int = 0
) -> list[Trial]:
    """Random trials: target trials first, no pair twice, all pairs of a class equally likely.

    Where fewer pairs exist than were asked for, all of them are taken. The same utterances, in
    whatever order, and the same seed give the same list.

    Args:
        utterances: the manifest.
        n_target: how many target trials at most.
        n_nontarget: how many non-target trials at most.
        seed: 0 to 2^32 - 1.

    Raises:
        ManifestError: an id or a file occurs twice.
        SettingsError: a number is negative.
    """
    if n_target < 0 or n_nontarget < 0:
        raise SettingsError(f"{n_target} target, {n_nontarget} non-target trials; wanted >= 0")
    listed = sorted(_distinct(utterances), key=lambda u: (u.speaker_id, u.utterance_id))
    names = [u.speaker_id for u in listed]
    speaker_end = np.searchsorted(_index(names), _index(names), side="right")  # [N]
    own = np.arange(1, len(listed) + 1)
    # numpy promises the stream of RandomState, not that of newer generators, for all time (NEP 19)
    random = np.random.RandomState(seed)
    trials = []
    for n_wanted, first, n_partners in (
        (n_target, own, speaker_end - own),  # partners: the rest of the same speaker
        (n_nontarget, speaker_end, len(listed) - speaker_end),  # everyone after the speaker
    ):
        for a, b in _draw_pairs(first, n_partners, n_wanted, random):
            is_target = listed[a].speaker_id == listed[b].speaker_id
            trials.append(Trial(listed[a].utterance_id, listed[b].utterance_id, is_target))
    return trials


def read_trials(path: str | Path, form: TrialForm | None = None) -> list[Trial]:
    """Read a list of trials; None recognises the form by its first line.

    Raises:
        ManifestError: no such file, no trial, a form that cannot be recognised, a line that does
            not have it, or a recording against itself.
    """
    lines = read_lines(path)
    if not lines:
        raise ManifestError(f"{path}: no trial in it. {HELP}")
    form = form or recognise_form(lines[0][2], lines[0][0])
    if form == "csv":
        where, _, header = lines.pop(0)
        if _fields(header) != list(CSV_HEADER):
            raise ManifestError(f"{where}: header {header!r}; wanted {','.join(CSV_HEADER)}")
        if not lines:
            raise ManifestError(f"{path}: no trial in it. {HELP}")
    return [parse_trial(line, where, form) for where, _, line in lines]


def write_trials(trials: Iterable[Trial], path: str | Path, form: TrialForm = "kaldi") -> None:
    """Write a list of trials aside and rename it.

    Raises:
        ManifestError: no trial; an id is empty, begins or ends with a space, holds a line break, or
            (but in csv) a space.
    """
    lines = [_written(trial, form, Path(path).name) for trial in trials]
    if not lines:
        raise ManifestError(f"{path}: no trial to write")
    write_lines(path, [",".join(CSV_HEADER), *lines] if form == "csv" else lines)


def _distinct(utterances: Iterable[Utterance]) -> list[Utterance]:
    listed = list(utterances)
    for what in ("utterance_id", "path"):
        owner: dict[Any, str] = {}
        for utterance in listed:
            value = getattr(utterance, what)
            if value in owner:
                raise ManifestError(
                    f'utterances "{owner[value]}" and "{utterance.utterance_id}" share the {what} '
                    f"{str(value)!r}; a recording cannot be compared with itself"
                )
            owner[value] = utterance.utterance_id
    return listed


def _index(names: Sequence[str]) -> Ints:
    """Sorted names as 0, 0, 1, 2, 2, ..."""
    changes = [a != b for a, b in zip(names[1:], names[:-1], strict=True)]
    return np.cumsum([0, *changes])[: len(names)]


def _draw_pairs(
    first: Ints, n_partners: Ints, n_wanted: int, random: np.random.RandomState
) -> list[tuple[int, int]]:
    """Pairs (a, b), where utterance a has n_partners[a] partners: first[a], first[a] + 1, ...

    All pairs are numbered in that order; numbers are drawn and turned back into pairs, so that a
    hundred million possible pairs cost no memory.
    """
    ends = np.cumsum(n_partners)
    numbers = _draw_numbers(int(ends[-1]) if len(ends) else 0, n_wanted, random)
    a = np.searchsorted(ends, numbers, side="right")
    b = first[a] + numbers - (ends[a] - n_partners[a])
    return list(zip(a.tolist(), b.tolist(), strict=True))


def _draw_numbers(n: int, n_wanted: int, random: np.random.RandomState) -> Ints:
    """``n_wanted`` of the numbers 0 to n - 1, none twice, sorted; all where n is not larger."""
    if n_wanted >= n:
        return np.arange(n)
    if 3 * n_wanted > n:
        return np.sort(random.permutation(n)[:n_wanted].astype(np.int64))
    drawn: dict[int, None] = {}  # keeps the order of drawing, so that no number is favoured
    while len(drawn) < n_wanted:
        drawn.update(dict.fromkeys(random.randint(0, n, n_wanted, dtype=np.int64).tolist()))
    return np.sort(np.array(list(drawn)[:n_wanted], dtype=np.int64))


def recognise_form(line: str, where: str) -> TrialForm:
    """The form of a list, by its first line.

    Raises:
        ManifestError: none of the three, or it could be two of them.
    """
    if "," in line and len(line.split()) == 1:
        return "csv"
    words = line.split()
    first, last = words[0] in ("0", "1"), words[-1] in ("0", "1", "target", "nontarget")
    if len(words) != 3 or first == last:
        raise ManifestError(
            f'{where}: {line!r} is neither "1 a b", "a b target" nor the header '
            f"{','.join(CSV_HEADER)}, or could be two of them; name the form. {HELP}"
        )
    return "voxceleb" if first else "kaldi"


def parse_trial(line: str, where: str, form: TrialForm) -> Trial:
    """One line of a list; ``where`` ("list.txt:17") is for the message.

    Raises:
        ManifestError: the line does not have the form, or compares a recording with itself.
    """
    words = _fields(line) if form == "csv" else line.split()
    if len(words) != 3:
        raise ManifestError(f"{where}: {len(words)} fields in {line!r}; wanted 3 ({form}). {HELP}")
    label = words.pop(0) if form == "voxceleb" else words.pop()
    labels = {"1": True, "0": False}
    if form == "kaldi":
        labels |= {"target": True, "nontarget": False}
    if label not in labels:
        raise ManifestError(f"{where}: label {label!r}; wanted one of {', '.join(labels)} ({form})")
    if not all(words):
        raise ManifestError(f"{where}: an empty id in {line!r}. {HELP}")
    if words[0] == words[1]:
        raise ManifestError(f"{where}: {words[0]!r} is compared with itself")
    return Trial(words[0], words[1], labels[label])


def _fields(line: str) -> list[str]:
    return [field.strip() for field in next(csv.reader([line]))]


def _written(trial: Trial, form: TrialForm, name: str) -> str:
    ids = (trial.enrollment_id, trial.test_id)
    for text in ids:
        n_words = len(text.split())
        if text != text.strip() or len(text.splitlines()) != 1 or (form != "csv" and n_words > 1):
            raise ManifestError(
                f"{name}: id {text!r} cannot stand in a {form} list; rename it"
                + ("" if form == "csv" else ", or write csv")
            )
    if form == "voxceleb":
        return f"{int(trial.is_target)} {ids[0]} {ids[1]}"
    if form == "kaldi":
        return f"{ids[0]} {ids[1]} {'target' if trial.is_target else 'nontarget'}"
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow([*ids, int(trial.is_target)])
    return row.getvalue()
