"""Millions of trials as arrays: 9 bytes each instead of an object each.

`TrialTable` numbers the enrollments and the tests of a list and holds a trial as two numbers and a
label. `read_trial_table` reads the forms of `groove.trials`, millions of lines in seconds. A trial
that stands in the list again is dropped and counted; the same pair with both labels is an error.
Who speaks in them says `groove.evaluation.list_speakers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.errors import ManifestError
from groove.manifest import HELP
from groove.trials import CSV_HEADER, Trial, TrialForm, parse_trial, recognise_form

Ints = NDArray[np.int64]
Indices = NDArray[np.int32]
Bools = NDArray[np.bool_]

LINES_AT_ONCE = 100_000
LABELS = {"1": True, "0": False, "target": True, "nontarget": False}
WORDS = {"voxceleb": (1, 2, 0), "kaldi": (0, 1, 2)}  # where enrollment, test and label stand


@dataclass(frozen=True)
class TrialTable:
    """N trials between E enrollments and T tests."""

    enrollment_ids: tuple[str, ...]  # [E]
    test_ids: tuple[str, ...]  # [T]
    enrollment: Indices  # [N], which enrollment
    test: Indices  # [N], which test
    is_target: Bools  # [N]
    n_repeated: int = 0  # trials that stood in the list once more and were dropped

    def __len__(self) -> int:
        """N."""
        return len(self.is_target)

    @property
    def n_target(self) -> int:
        """How many trials are target trials."""
        return int(self.is_target.sum())

    @property
    def is_full(self) -> bool:
        """Whether every enrollment meets every test."""
        return len(self) == len(self.enrollment_ids) * len(self.test_ids)

    def only(self, kept: Bools) -> TrialTable:
        """The trials [N] that ``kept`` marks; ids keep their numbers."""
        return replace(
            self,
            enrollment=self.enrollment[kept],
            test=self.test[kept],
            is_target=self.is_target[kept],
        )


def table_of(trials: Iterable[Trial]) -> TrialTable:
    """A table of trials in hand.

    Raises:
        ManifestError: see `read_trial_table`.
    """
    builder = _Builder()
    for trial in trials:
        builder.add([trial.enrollment_id], [trial.test_id], [trial.is_target])
    return builder.table("trials")


def read_trial_table(path: str | Path, form: TrialForm | None = None) -> TrialTable:
    """Read a list of trials; None recognises the form by its first line.

    Raises:
        ManifestError: no such file, not UTF-8, no trial, a form that cannot be recognised, a line
            that does not have it (with its number), or one pair with both labels.
    """
    builder = _Builder()
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            number = 1
            while block := list(islice(file, LINES_AT_ONCE)):
                lines = [line.strip() for line in block]
                form = _read_block(lines, number, Path(path).name, form, builder)
                number += len(block)
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror or error}. {HELP}") from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text (byte {error.start}). {HELP}") from None
    return builder.table(str(path))


def _read_block(
    lines: list[str], number: int, name: str, form: TrialForm | None, builder: _Builder
) -> TrialForm | None:
    """Add a block of lines, the first of which is ``number``; returns the form."""
    first = next((i for i, line in enumerate(lines) if line), None)
    if first is None:
        return form
    if not builder.begun and form in (None, "csv"):
        form = form or recognise_form(lines[first], f"{name}:{number + first}")
        if form == "csv":
            _refuse_header(lines[first], f"{name}:{number + first}")
            lines = [*[""] * (first + 1), *lines[first + 1 :]]
    builder.begun = True
    assert form is not None
    if form != "csv":
        words = " ".join(lines).split()
        enrollment, test, label = (words[start::3] for start in WORDS[form])
        # Fast where all is well; any doubt goes to the parser that names the line.
        if (
            len(words) == 3 * sum(map(bool, lines))
            and set(label) <= (LABELS.keys() if form == "kaldi" else {"0", "1"})
            and all(map(str.__ne__, enrollment, test))
            and all(line.count(" ") == 2 for line in lines if line)
        ):
            builder.add(enrollment, test, [LABELS[word] for word in label])
            return form
    trials = list(_parse(lines, number, name, form))
    builder.add(
        [trial.enrollment_id for trial in trials],
        [trial.test_id for trial in trials],
        [trial.is_target for trial in trials],
    )
    return form


def _parse(lines: list[str], number: int, name: str, form: TrialForm) -> Iterator[Trial]:
    for i, line in enumerate(lines, start=number):
        if line:
            yield parse_trial(line, f"{name}:{i}", form)


def _refuse_header(line: str, where: str) -> None:
    if [field.strip() for field in line.split(",")] != list(CSV_HEADER):
        raise ManifestError(f"{where}: header {line!r}; wanted {','.join(CSV_HEADER)}")


class _Builder:
    """Numbers ids as they come."""

    def __init__(self) -> None:
        self._enrollments: dict[str, int] = {}
        self._tests: dict[str, int] = {}
        self._parts: list[tuple[Indices, Indices, Bools]] = []
        self.begun = False  # the first line was seen: the form is known

    def add(self, enrollment: Sequence[str], test: Sequence[str], is_target: list[bool]) -> None:
        if not enrollment:
            return
        self._parts.append(
            (
                _numbered(enrollment, self._enrollments),
                _numbered(test, self._tests),
                np.array(is_target, dtype=np.bool_),
            )
        )

    def table(self, where: str) -> TrialTable:
        if not self._parts:
            raise ManifestError(f"{where}: no trial in it. {HELP}")
        enrollment, test, is_target = (np.concatenate(c) for c in zip(*self._parts, strict=True))
        table = TrialTable(
            tuple(self._enrollments), tuple(self._tests), enrollment, test, is_target
        )
        return _without_repeats(table, where)


def _numbered(names: Sequence[str], known: dict[str, int]) -> Indices:
    for name in dict.fromkeys(names):
        known.setdefault(name, len(known))
    return np.fromiter(map(known.__getitem__, names), dtype=np.int32, count=len(names))


def _without_repeats(table: TrialTable, where: str) -> TrialTable:
    pair = table.enrollment.astype(np.int64) * len(table.test_ids) + table.test
    order = np.argsort(pair, kind="stable")
    again = np.zeros(len(table), dtype=np.bool_)
    same_as_last = pair[order][1:] == pair[order][:-1]
    if not same_as_last.any():
        return table
    differs = table.is_target[order][1:] != table.is_target[order][:-1]
    if (same_as_last & differs).any():
        at = order[1 + int((same_as_last & differs).argmax())]
        raise ManifestError(
            f"{where}: {table.enrollment_ids[table.enrollment[at]]} and "
            f"{table.test_ids[table.test[at]]} stand in it as a target and as a non-target trial"
        )
    again[order[1:][same_as_last]] = True
    return replace(table.only(~again), n_repeated=int(again.sum()))
