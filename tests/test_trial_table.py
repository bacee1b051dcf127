"""The fast reader against the plain one, and who speaks where nobody wrote it down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from groove.errors import ManifestError
from groove.evaluation import trial_table
from groove.evaluation.trial_table import (
    TrialTable,
    read_trial_table,
    table_of,
)
from groove.trials import Trial, TrialForm, read_trials, write_trials


def trials_of(table: TrialTable) -> list[Trial]:
    return [
        Trial(table.enrollment_ids[e], table.test_ids[t], bool(target))
        for e, t, target in zip(table.enrollment, table.test, table.is_target, strict=True)
    ]


@pytest.mark.parametrize("form", ["voxceleb", "kaldi", "csv"])
@pytest.mark.parametrize("at_once", [1, 3, 100_000])
def test_it_reads_what_the_plain_reader_reads(
    tmp_path: Path, form: TrialForm, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_table, "LINES_AT_ONCE", at_once)
    random = np.random.default_rng(0)
    pairs = {(f"e{i}", f"t{j}") for i, j in random.integers(0, 9, (40, 2)).tolist()}
    trials = [Trial(e, t, (len(e) + int(t[1:])) % 3 == 0) for e, t in sorted(pairs)]
    path = tmp_path / "list.txt"
    write_trials(trials, path, form)
    path.write_text("\n" + path.read_text().replace("\n", "\n\n", 1) + "\n")
    assert trials_of(read_trial_table(path)) == trials == read_trials(path)
    assert read_trial_table(path, form).n_target == sum(t.is_target for t in trials)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a b", "list.txt:4: 2 fields in 'a b'; wanted 3"),
        ("a b maybe", "list.txt:4: label 'maybe'; wanted one of"),
        ("a a target", "list.txt:4: 'a' is compared with itself"),
        ("a b target c d target", "list.txt:4: 6 fields"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"a b target\n\na c nontarget\n{line}\nb c target\n")
    with pytest.raises(ManifestError, match=message):
        read_trial_table(path)


def test_tabs_are_as_good_as_spaces(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a\tb\ttarget\na  c 0\n")
    assert trials_of(read_trial_table(path)) == [Trial("a", "b", True), Trial("a", "c", False)]


def test_repeats_are_counted_and_contradictions_refused() -> None:
    a, b = Trial("a", "b", True), Trial("a", "c", False)
    table = table_of([a, b, a, a])
    assert trials_of(table) == [a, b] and table.n_repeated == 2
    with pytest.raises(ManifestError, match="a and c stand in it as a target and as a non-target"):
        table_of([a, b, Trial("a", "c", True)])


def test_a_missing_or_empty_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"absent.txt: No such file"):
        read_trial_table(tmp_path / "absent.txt")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(ManifestError, match="no trial in it"):
        read_trial_table(tmp_path / "empty.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="not UTF-8"):
        read_trial_table(tmp_path / "binary.txt")
    (tmp_path / "odd.csv").write_text("enrollment,test,label\na,b,1\n")
    with pytest.raises(ManifestError, match=r"odd.csv:1: header"):
        read_trial_table(tmp_path / "odd.csv")
