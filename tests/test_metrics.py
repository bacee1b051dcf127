"""Every metric against its definition in plain Python, on small cases full of ties."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groove import metrics
from groove.errors import ScoringError

Scores = list[float]

INFINITE = [-math.inf, math.inf]
few = st.lists(st.integers(0, 6).map(float) | st.sampled_from(INFINITE), min_size=1, max_size=14)
cases = given(target=few, nontarget=few)
quick = settings(max_examples=200, deadline=None)


def brute_points(target: Scores, nontarget: Scores) -> list[tuple[Fraction, Fraction]]:
    """(fmr, fnmr) by counting, for "reject all" and every observed score from high to low."""
    points = [(Fraction(0), Fraction(1))]
    for threshold in sorted({*target, *nontarget}, reverse=True):
        fmr = Fraction(sum(s >= threshold for s in nontarget), len(nontarget))
        fnmr = Fraction(sum(s < threshold for s in target), len(target))
        points.append((fmr, fnmr))
    return points


def brute_eer(target: Scores, nontarget: Scores) -> Fraction:
    points = brute_points(target, nontarget)
    for (x0, y0), (x1, y1) in zip(points[:-1], points[1:], strict=True):
        # x0 + t (x1 - x0) = y0 + t (y1 - y0)
        t = (y0 - x0) / ((x1 - x0) - (y1 - y0))
        if 0 <= t <= 1:
            return x0 + t * (x1 - x0)
    raise AssertionError("the curve must cross the diagonal")


def brute_rocch(target: Scores, nontarget: Scores) -> Fraction:
    """max over priors of the smallest Bayes error; it is attained where two thresholds tie."""
    points = brute_points(target, nontarget)
    priors = {Fraction(0), Fraction(1)}
    for x0, y0 in points:
        for x1, y1 in points:
            if (y1 - y0) != (x1 - x0):
                prior = -(x1 - x0) / ((y1 - y0) - (x1 - x0))
                if 0 <= prior <= 1:
                    priors.add(prior)
    return max(min(p * y + (1 - p) * x for x, y in points) for p in priors)


def brute_min_cllr(target: Scores, nontarget: Scores) -> float:
    """Pool adjacent violators on the classes' weights, then the formula of Cllr."""
    blocks: list[list[float]] = []
    for score in sorted({*target, *nontarget}):
        blocks.append([target.count(score) / len(target), nontarget.count(score) / len(nontarget)])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = [blocks[-1][0] + last[0], blocks[-1][1] + last[1]]
    cost = 0.0
    for t, n in blocks:
        if t and n:
            cost += t * math.log2(1 + n / t) + n * math.log2(1 + t / n)
    return cost / 2


def brute_auc(target: Scores, nontarget: Scores) -> Fraction:
    twice = sum(2 * (t > n) + (t == n) for t in target for n in nontarget)
    return Fraction(twice, 2 * len(target) * len(nontarget))


def brute_dcf(fmr: float, fnmr: float, p: float, c_miss: float, c_fa: float) -> float:
    cost = c_miss * p * fnmr + c_fa * (1 - p) * fmr
    return cost / min(c_miss * p, c_fa * (1 - p))


@quick
@cases
def test_eer_is_where_the_interpolated_curve_meets_the_diagonal(
    target: Scores, nontarget: Scores
) -> None:
    assert metrics.eer(target, nontarget) == pytest.approx(
        float(brute_eer(target, nontarget)), abs=1e-12
    )


@quick
@cases
def test_rocch_eer_is_the_worst_bayes_error_over_all_priors(
    target: Scores, nontarget: Scores
) -> None:
    found = metrics.eer_rocch(target, nontarget)
    assert found == pytest.approx(float(brute_rocch(target, nontarget)), abs=1e-12)
    assert found <= metrics.eer(target, nontarget) + 1e-12


@quick
@cases
def test_min_cllr_is_pool_adjacent_violators(target: Scores, nontarget: Scores) -> None:
    assert metrics.min_cllr(target, nontarget) == pytest.approx(
        brute_min_cllr(target, nontarget), abs=1e-12
    )


@quick
@cases
def test_auc_is_the_chance_that_a_target_scores_higher(target: Scores, nontarget: Scores) -> None:
    assert metrics.auc(target, nontarget) == pytest.approx(
        float(brute_auc(target, nontarget)), abs=1e-12
    )


@quick
@given(few, few, st.sampled_from([0.01, 0.05, 0.5, 0.9]), st.sampled_from([1.0, 10.0]))
def test_min_dcf_is_the_least_cost_over_all_thresholds(
    target: Scores, nontarget: Scores, p: float, c_miss: float
) -> None:
    points = brute_points(target, nontarget)
    least = min(brute_dcf(float(x), float(y), p, c_miss, 2.0) for x, y in points)
    found = metrics.min_dcf(target, nontarget, p, c_miss=c_miss, c_fa=2.0)
    assert found == pytest.approx(least, abs=1e-12)
    assert 0 <= found <= 1
    assert metrics.act_dcf(target, nontarget, p, c_miss=c_miss, c_fa=2.0) >= found - 1e-12


@quick
@cases
def test_det_points_are_the_counted_rates(target: Scores, nontarget: Scores) -> None:
    points = metrics.det_points(target, nontarget)
    assert points.threshold.tolist() == [math.inf, *sorted({*target, *nontarget}, reverse=True)]
    expected = np.array(brute_points(target, nontarget), dtype=np.float64)
    np.testing.assert_allclose(np.stack([points.fmr, points.fnmr], axis=1), expected, atol=1e-15)
    assert (points.fmr[0], points.fnmr[0], points.fmr[-1], points.fnmr[-1]) == (0, 1, 1, 0)


@quick
@cases
def test_the_eer_threshold_is_an_observed_score_with_the_closest_rates(
    target: Scores, nontarget: Scores
) -> None:
    found = metrics.eer_threshold(target, nontarget)
    rates = brute_points(target, nontarget)[1:]
    by_score = zip(sorted({*target, *nontarget}, reverse=True), rates, strict=True)
    gaps = {score: abs(x - y) for score, (x, y) in by_score}
    assert found == max(score for score, gap in gaps.items() if gap == min(gaps.values()))


@quick
@given(few, few, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_an_increasing_map_do_not_matter(
    target: Scores, nontarget: Scores, random: object
) -> None:
    shuffled = list(target), list(nontarget)
    for scores in shuffled:
        random.shuffle(scores)  # type: ignore[attr-defined]
    mapped = tuple(np.arctan(np.array(scores) / 3) ** 3 - 5 for scores in (target, nontarget))
    for metric in RANKING:
        assert metric(*shuffled) == metric(target, nontarget)
        assert metric(*mapped) == metric(target, nontarget)


@quick
@cases
def test_swapping_classes_and_signs_gives_the_same(target: Scores, nontarget: Scores) -> None:
    swapped = [-s for s in nontarget], [-s for s in target]
    for metric in (metrics.eer, metrics.eer_rocch, metrics.auc, metrics.min_cllr):
        assert metric(*swapped) == pytest.approx(metric(target, nontarget), abs=1e-12)


RANKING: tuple[Callable[..., float], ...] = (
    metrics.eer,
    metrics.eer_rocch,
    metrics.min_dcf,
    metrics.auc,
    metrics.min_cllr,
)


@pytest.mark.parametrize(
    ("target", "nontarget", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], (0.0, 0.0, 0.0, 1.0, 0.0)),
        ([math.inf], [-math.inf], (0.0, 0.0, 0.0, 1.0, 0.0)),
        ([7.0] * 3, [7.0] * 5, (0.5, 0.5, 1.0, 0.5, 1.0)),
        ([0.0, 1.0], [2.0, 3.0], (1.0, 0.5, 1.0, 0.0, 1.0)),
    ],
    ids=["separated", "separated by infinities", "all equal", "reversed"],
)
def test_the_ends_of_the_scale_are_exact(
    target: Scores, nontarget: Scores, expected: tuple[float, ...]
) -> None:
    assert tuple(metric(target, nontarget) for metric in RANKING) == expected


@quick
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=10),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=10),
)
def test_a_weight_is_a_repetition(
    target: list[tuple[int, int]], non: list[tuple[int, int]]
) -> None:
    (t, tw), (n, nw) = (np.array(side, dtype=np.float64).T for side in (target, non))
    if not tw.any() or not nw.any():
        with pytest.raises(ScoringError, match="not all zero"):
            metrics.det_points(t, n, target_weights=tw, nontarget_weights=nw)
        return
    weighted = metrics.det_points(t, n, target_weights=tw, nontarget_weights=nw)
    repeated = metrics.det_points(np.repeat(t, tw.astype(int)), np.repeat(n, nw.astype(int)))
    for metric in ("eer", "eer_rocch", "min_dcf", "auc", "min_cllr"):
        assert getattr(weighted, metric)() == pytest.approx(getattr(repeated, metric)(), abs=1e-12)
    assert weighted.fnmr_at(0.3) == pytest.approx(repeated.fnmr_at(0.3), abs=1e-12)


def test_sklearn_draws_the_same_curve(rng: np.random.Generator) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    isotonic = pytest.importorskip("sklearn.isotonic").IsotonicRegression
    target, nontarget = rng.normal(1, 1, 300).round(1), rng.normal(-1, 1, 2000).round(1)
    labels, scores = np.repeat([1, 0], [300, 2000]), np.concatenate([target, nontarget])
    fpr, tpr, thresholds = sklearn.roc_curve(labels, scores, drop_intermediate=False)
    points = metrics.det_points(target, nontarget)
    np.testing.assert_array_equal(points.threshold, thresholds)
    np.testing.assert_allclose(points.fmr, fpr, atol=1e-15)
    np.testing.assert_allclose(points.fnmr, 1 - tpr, atol=1e-15)
    assert metrics.auc(target, nontarget) == pytest.approx(sklearn.roc_auc_score(labels, scores))
    weights = np.repeat([1 / 300, 1 / 2000], [300, 2000])
    p = isotonic().fit(scores, labels, sample_weight=weights).predict(scores)
    bits = -np.log2(np.where(labels == 1, p, 1 - p))
    expected = (bits[:300].mean() + bits[300:].mean()) / 2
    assert metrics.min_cllr(target, nontarget) == pytest.approx(expected, abs=1e-9)


def test_normal_scores_have_the_eer_of_the_closed_form() -> None:
    """Two normal classes at +-d: EER = Phi(-d), AUC = Phi(d sqrt 2), and the cost by Phi."""
    quantiles = [NormalDist().inv_cdf((i + 0.5) / 20_000) for i in range(20_000)]
    target, nontarget = np.array(quantiles) + 1.5, np.array(quantiles) - 1.5
    assert metrics.eer(target, nontarget) == pytest.approx(NormalDist().cdf(-1.5), abs=1e-4)
    assert metrics.auc(target, nontarget) == pytest.approx(
        NormalDist().cdf(1.5 * math.sqrt(2)), abs=1e-4
    )
    # for this pair 3 s is the true llr, so that calibration loses nothing
    calibrated = metrics.cllr(3 * target, 3 * nontarget)
    assert calibrated == pytest.approx(metrics.min_cllr(target, nontarget), abs=1e-3)
    threshold = math.log(0.95 / 0.05) / 3
    cost = NormalDist().cdf(threshold - 1.5) + 19 * NormalDist().cdf(-threshold - 1.5)
    assert metrics.act_dcf(3 * target, 3 * nontarget, 0.05) == pytest.approx(cost, abs=1e-3)
    assert metrics.min_dcf(target, nontarget, 0.05) == pytest.approx(cost, abs=1e-3)


def test_cllr_by_its_formula() -> None:
    target, nontarget = [2.0, -0.5, 900.0], [-3.0, 1.0]
    expected = (
        sum(math.log2(1 + math.exp(-s)) for s in target) / 3
        + sum(math.log2(1 + math.exp(s)) for s in nontarget) / 2
    ) / 2
    assert metrics.cllr(target, nontarget) == pytest.approx(expected, rel=1e-12)
    assert metrics.cllr([0.0], [0.0, 0.0]) == pytest.approx(1.0, rel=1e-15)
    assert metrics.cllr([math.inf], [-math.inf]) == 0.0
    assert metrics.cllr([-math.inf], [0.0]) == math.inf
    assert metrics.cllr([0.0], [800.0]) == pytest.approx((1 + 800 / math.log(2)) / 2)


def test_act_dcf_accepts_at_the_bayes_threshold_itself() -> None:
    threshold = math.log(0.99) - math.log(0.01)
    below = math.nextafter(threshold, 0)
    assert metrics.act_dcf([threshold], [below]) == 0.0
    assert metrics.act_dcf([below], [below]) == 1.0
    assert metrics.act_dcf([threshold], [threshold]) == pytest.approx(99.0)
    assert metrics.act_dcf([0.0], [-1e-9], 0.5) == 0.0


@quick
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=20),
    st.lists(st.integers(0, 30), min_size=40, max_size=150),
    st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)
def test_an_operating_point_is_the_smallest_score_that_keeps_the_promise(
    target: list[int], nontarget: list[int], fmr: float
) -> None:
    def count(threshold: int) -> int:
        return sum(s >= threshold for s in nontarget)

    keeping = [s for s in {*target, *nontarget} if count(s) / len(nontarget) <= fmr]
    threshold = min(keeping, default=10**6)
    found = metrics.fnmr_at_fmr(target, nontarget, fmr)
    assert (found.fmr, found.n_nontarget, found.n_target) == (fmr, len(nontarget), len(target))
    assert found.n_false_matches == count(threshold)
    if count(threshold) >= 30:
        assert found.threshold == threshold
        assert found.fnmr == pytest.approx(sum(s < threshold for s in target) / len(target))
    else:
        assert found.threshold is None and found.fnmr is None


def test_thirty_false_matches_are_enough_and_twenty_nine_are_not() -> None:
    nontarget = np.arange(3000.0)
    (enough,) = metrics.operating_points([2999.5, 2965.0], nontarget, [0.01])
    assert (enough.threshold, enough.fnmr, enough.n_false_matches) == (2970.0, 0.5, 30)
    (short,) = metrics.operating_points([2999.5], nontarget[:2999], [0.01])
    assert (short.threshold, short.fnmr, short.n_false_matches) == (None, None, 29)
    (tied,) = metrics.operating_points([1.0], np.zeros(1000), [0.5])
    assert (tied.threshold, tied.n_false_matches) == (None, 0)


EVERY: tuple[Callable[..., object], ...] = (
    *RANKING,
    metrics.eer_threshold,
    metrics.act_dcf,
    metrics.cllr,
    metrics.det_points,
    lambda target, nontarget: metrics.fnmr_at_fmr(target, nontarget, 0.1),
)


@pytest.mark.parametrize("metric", EVERY)
def test_what_no_metric_is_defined_for_is_refused(metric: Callable[..., object]) -> None:
    for target, nontarget, message in (
        ([], [1.0], "no target trial"),
        ([1.0], [], "no non-target trial"),
        ([1.0, math.nan], [0.0], "1 of 2 target scores are NaN"),
        ([1.0], [math.nan, math.nan], "2 of 2 non-target scores are NaN"),
        ([[1.0]], [0.0], r"target scores have shape \(1, 1\); wanted \[N\]"),
    ):
        with pytest.raises(ScoringError, match=message):
            metric(target, nontarget)


def test_settings_out_of_range_are_refused() -> None:
    for p, c_miss in ((0.0, 1.0), (1.0, 1.0), (0.5, 0.0), (math.nan, 1.0), (0.5, math.inf)):
        for metric in (metrics.min_dcf, metrics.act_dcf):
            with pytest.raises(ScoringError, match="wanted 0 < p_target < 1"):
                metric([1.0], [0.0], p, c_miss=c_miss)
    for fmr in (-0.1, 1.1, math.nan):
        with pytest.raises(ScoringError, match="wanted a number from 0 to 1"):
            metrics.fnmr_at_fmr([1.0], [0.0], fmr)
    for weights in ([-1.0], [math.nan], [0.0], [math.inf]):
        with pytest.raises(ScoringError, match="weights must be finite"):
            metrics.det_points([1.0], [0.0], target_weights=weights)
    with pytest.raises(ScoringError, match=r"weights have shape \(2,\)"):
        metrics.det_points([1.0], [0.0], nontarget_weights=[1.0, 1.0])
