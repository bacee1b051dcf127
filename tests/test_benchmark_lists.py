"""The lists and trials of the benchmarks: nobody is on two sides, and pairs are what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import groove
from benchmarks.conditions import (
    BOTH,
    ENROLLMENT,
    TEST,
    Heard,
    Item,
    Trials,
    difference,
    kept_promises,
)
from benchmarks.pool_manifests import met_elsewhere
from groove.metrics import cllr, eer
from tests.fakes import telephone_card


def test_one_person_in_two_languages_is_found_and_two_people_of_one_number_are_not() -> None:
    held_out = {"cv-en/cv01", "cv-multi/cv02", "aishell3-sample/0007"}
    others = {"cv-zh-CN/cv01", "speechocean762/0007", "cv-en/cv03"}
    assert met_elsewhere(held_out, others | held_out) == {"cv-en/cv01"}
    assert met_elsewhere(held_out, held_out) == set()


def items(speakers: str, roles: list[str] | None = None) -> list[Item]:
    roles = roles or [BOTH] * len(speakers)
    return [Item(Path("x"), s, "all", role) for s, role in zip(speakers, roles, strict=True)]


def test_trials_are_all_pairs_or_those_of_an_enrollment_and_a_test() -> None:
    rows = np.eye(4)[[0, 0, 1, 2]] * [[2.0], [3.0], [1.0], [1.0]]
    every = Trials.of(items("aabb"), rows, np.arange(4))
    assert (every.n_target, every.n_nontarget) == (2, 4)
    np.testing.assert_allclose(every.scores[every.same], [1.0, 0.0])  # lengths do not count
    split = Trials.of(
        items("abab", [ENROLLMENT, ENROLLMENT, TEST, TEST]), rows, np.array([0, 1, 2, 3])
    )
    assert (split.n_target, split.n_nontarget) == (2, 2)


def test_a_difference_is_taken_of_the_trials_that_both_could_score(
    rng: np.random.Generator,
) -> None:
    people = [f"{i:02d}" for i in range(20) for _ in range(3)]
    listed = [Item(Path("x"), person, "all", BOTH) for person in people]
    centres = rng.standard_normal((20, 16)).repeat(3, axis=0)
    good, bad = (centres + scale * rng.standard_normal((60, 16)) for scale in (0.5, 3.0))
    bad[7] = np.nan  # refused
    cells = difference(listed, good, bad, n_draws=50).split(" | ")
    kept = np.delete(np.arange(60), 7)
    trials = [Trials.of(listed, rows, kept) for rows in (good, bad)]
    assert cells[0] == f"{trials[0].n_target:,} / {trials[0].n_nontarget:,}"
    rates = [100 * eer(t.scores[t.same], t.scores[~t.same]) for t in trials]
    assert float(cells[1].split()[0]) == pytest.approx(rates[0] - rates[1], abs=0.006)
    assert cells[1].endswith("better")
    same = difference(listed, good, good, n_draws=50)
    assert same.count("tie") == 2 and "+0.00 (+0.00 to +0.00)" in same


def test_a_promise_is_counted_at_the_threshold_of_each_trials_speech(
    rng: np.random.Generator,
) -> None:
    """And, where both sides are telephone sound, at that of its own tables."""
    card = replace(groove.open_encoder(threads=1).card, narrow_band=telephone_card().narrow_band)
    people = [f"{i:02d}" for i in range(20) for _ in range(3)]
    listed = [Item(Path("x"), person, "all", BOTH) for person in people]
    rows = rng.standard_normal((20, 8)).repeat(3, axis=0) + 0.6 * rng.standard_normal((60, 8))
    speech, narrow = rng.uniform(1, 9, 60), rng.random(60) < 0.5
    what = Heard(speech, narrow)
    fmr, fnmr, cost = kept_promises(listed, rows, what, card, n_draws=20).split(" | ")
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    wrong, llrs = {True: [], False: []}, {True: [], False: []}
    for i in range(60):
        for j in range(i):
            same, score = people[i] == people[j], float(unit[i] @ unit[j])
            least = min(speech[i], speech[j])
            both = bool(narrow[i] and narrow[j])
            table = card.table_for(least, narrow_band=both)
            accepted = score >= table.row_for(0.01).threshold
            wrong[same].append(accepted != same)
            llrs[same].append(card.calibration_for(narrow_band=both).llr(score, least))
    assert float(fmr.split()[0]) == pytest.approx(100 * np.mean(wrong[False]), abs=0.006)
    assert float(fnmr.split()[0]) == pytest.approx(100 * np.mean(wrong[True]), abs=0.006)
    assert float(cost.split()[0]) == pytest.approx(cllr(llrs[True], llrs[False]), abs=6e-4)
    assert np.mean(wrong[False]) > 0 and np.mean(wrong[True]) > 0
