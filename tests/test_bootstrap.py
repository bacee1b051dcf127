"""The fast bootstrap against the slow one, which repeats trials by their speakers' counts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from groove.bootstrap import bootstrap_interval, bootstrap_intervals, paired_bootstrap
from groove.curve import DetPoints
from groove.errors import ScoringError
from groove.metrics import auc, det_points, eer, eer_rocch, min_cllr, min_dcf

Array = NDArray[np.float64]
METRICS = {
    "eer": DetPoints.eer,
    "eer_rocch": DetPoints.eer_rocch,
    "min_dcf": lambda points: points.min_dcf(0.05),
    "auc": DetPoints.auc,
    "min_cllr": DetPoints.min_cllr,
    "fnmr": lambda points: points.fnmr_at(0.1),
}


class Case:
    """Trials between all utterances of some speakers, with a speaker's own offset in the scores."""

    def __init__(self, random: np.random.Generator, n_speakers: int, decimals: int) -> None:
        who = np.repeat(np.arange(n_speakers), 3)
        a, b = np.triu_indices(len(who), 1)
        same = who[a] == who[b]
        offset = random.normal(0, 0.5, n_speakers)
        scores = random.normal(0, 1, len(a)) + 2 * same + offset[who[a]] + offset[who[b]]
        self.scores = scores.round(decimals)
        self.target, self.nontarget = self.scores[same], self.scores[~same]
        self.who = who[a][same]
        self.pairs = np.stack([who[a], who[b]], axis=1)[~same]

    @property
    def arguments(self) -> tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]:
        return self.target, self.nontarget, self.who, self.pairs


def slow_draws(case: Case, n_draws: int, seed: int) -> dict[str, list[float]]:
    n = int(case.pairs.max()) + 1
    random = np.random.RandomState(seed)
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    while len(found["eer"]) < n_draws:
        drawn = random.randint(0, n, n, dtype=np.int64).tolist()
        target = [
            s for s, k in zip(case.target, case.who, strict=True) for _ in range(drawn.count(k))
        ]
        nontarget = [
            s
            for s, (i, j) in zip(case.nontarget, case.pairs.tolist(), strict=True)
            for _ in range(drawn.count(i) * drawn.count(j))
        ]
        if not target or not nontarget:
            continue
        found["eer"].append(eer(target, nontarget))
        found["eer_rocch"].append(eer_rocch(target, nontarget))
        found["min_dcf"].append(min_dcf(target, nontarget, 0.05))
        found["auc"].append(auc(target, nontarget))
        found["min_cllr"].append(min_cllr(target, nontarget))
        found["fnmr"].append(det_points(target, nontarget).fnmr_at(0.1))
    return found


@pytest.mark.parametrize(("n_speakers", "decimals"), [(2, 0), (3, 0), (7, 0), (7, 1), (8, 6)])
def test_it_is_exactly_the_bootstrap_of_repeated_trials(n_speakers: int, decimals: int) -> None:
    case = Case(np.random.default_rng(n_speakers), n_speakers, decimals)
    fast = bootstrap_intervals(METRICS, *case.arguments, n_draws=40, confidence=0.8, seed=5)
    for name, draws in slow_draws(case, 40, 5).items():
        low, high = np.quantile(draws, [0.1, 0.9])
        assert fast[name].low == pytest.approx(low, abs=1e-12), name
        assert fast[name].high == pytest.approx(high, abs=1e-12), name
        assert fast[name].n_speakers == n_speakers
    assert fast["eer"].value == eer(case.target, case.nontarget)
    assert fast["min_dcf"].value == min_dcf(case.target, case.nontarget, 0.05)


def test_the_curve_of_a_draw_has_one_point_per_run_at_its_lowest_score() -> None:
    seen: list[list[float]] = []

    def watch(points: DetPoints) -> float:
        seen.append(points.threshold.tolist())
        return 0.0

    #        runs, high to low:   t 9 8 | both 7 | n 6 5 | t 4
    bootstrap_interval(
        watch, [9, 8, 7, 4], [7, 6, 5], [0, 1, 0, 1], [[0, 1], [1, 2], [0, 2]], n_draws=2
    )
    assert seen[0] == seen[1] == [np.inf, 8, 7, 5, 4]


def test_row_order_names_and_repetition_of_the_call_do_not_matter(
    rng: np.random.Generator,
) -> None:
    case = Case(rng, 6, 1)
    target, nontarget, who, pairs = case.arguments
    plain = bootstrap_interval(DetPoints.eer, target, nontarget, who, pairs, n_draws=30)
    i, j = rng.permutation(len(target)), rng.permutation(len(nontarget))
    names = np.array([f"speaker {k}" for k in range(6)])
    again = bootstrap_interval(
        DetPoints.eer, target[i], nontarget[j], names[who[i]], names[pairs[j][:, ::-1]], n_draws=30
    )
    assert again == plain
    other = bootstrap_interval(DetPoints.eer, target, nontarget, who, pairs, n_draws=30, seed=1)
    assert (other.low, other.high) != (plain.low, plain.high)


def test_the_interval_is_as_wide_as_new_speakers_make_the_eer_differ() -> None:
    """The truth by simulation: the spread of the EER over 120 independent sets of 25 speakers."""
    random = np.random.default_rng(1)
    sets = [Case(random, 25, 6) for _ in range(120)]
    true_std = np.std([eer(case.target, case.nontarget) for case in sets])
    intervals = [
        bootstrap_interval(DetPoints.eer, *case.arguments, n_draws=200) for case in sets[:12]
    ]
    std = np.mean([interval.high - interval.low for interval in intervals]) / (2 * 1.96)
    assert 0.85 < std / true_std < 1.4  # drawing both sides is known to err towards wide (Owen)


def test_a_pair_of_systems_shares_its_draws(rng: np.random.Generator) -> None:
    case = Case(rng, 20, 2)
    target, nontarget, who, pairs = case.arguments
    a = target, nontarget
    mapped = 3 * target + 1, 3 * nontarget + 1
    same = paired_bootstrap(DetPoints.eer, a, mapped, who, pairs, n_draws=50)
    assert (same.difference, same.low, same.high) == (0.0, 0.0, 0.0)
    worse = target + rng.normal(0, 5, len(target)), nontarget + rng.normal(0, 5, len(nontarget))
    found = paired_bootstrap(DetPoints.eer, a, worse, who, pairs, n_draws=200)
    assert found.difference == found.b - found.a == eer(*worse) - eer(*a)
    assert 0 < found.low < found.difference < found.high
    back = paired_bootstrap(DetPoints.eer, worse, a, who, pairs, n_draws=200)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low), abs=1e-12)


def test_what_cannot_be_drawn_is_refused() -> None:
    target, nontarget, who, pairs = [1.0, 2.0], [0.0], ["a", "b"], [["a", "b"]]
    with pytest.raises(ScoringError, match="non-target trial 0 has speaker b on both sides"):
        bootstrap_interval(DetPoints.eer, target, nontarget, who, [["b", "b"]])
    with pytest.raises(ScoringError, match=r"shapes \(2,\) and \(2,\); wanted"):
        bootstrap_interval(DetPoints.eer, target, nontarget, who, ["a", "b"])
    with pytest.raises(ScoringError, match="3 target and 1 non-target scores, but speakers of 2"):
        bootstrap_interval(DetPoints.eer, [*target, 1.0], nontarget, who, pairs)
    with pytest.raises(ScoringError, match="0 draws"):
        bootstrap_interval(DetPoints.eer, target, nontarget, who, pairs, n_draws=0)
    with pytest.raises(ScoringError, match="no non-target trial"):
        bootstrap_interval(DetPoints.eer, target, [], who, np.zeros((0, 2), dtype=np.str_))
