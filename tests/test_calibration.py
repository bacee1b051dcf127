"""Calibration against a closed form, against scikit-learn, and against its own optimum."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from groove.calibration import FMRS, fit_calibration, threshold_table
from groove.errors import ScoringError
from groove.metrics import cllr
from groove.scoring import Calibration, probability

Array = NDArray[np.float64]


def normal(mean: float, std: float, n: int) -> Array:
    """A normal sample without chance: n quantiles."""
    return np.array([NormalDist(mean, std).inv_cdf((i + 0.5) / n) for i in range(n)])


class Speech:
    """Trials whose scores separate better, and lie higher, the more speech there is."""

    def __init__(self, n_target: int, n_nontarget: int) -> None:
        random = np.random.default_rng(3)
        self.seconds = [random.uniform(0.5, 12, n) for n in (n_target, n_nontarget)]
        self.scores = [
            random.normal(0.1 + is_target * (0.3 + 0.15 * np.log(s)), 0.15)
            for s, is_target in zip(self.seconds, (1, 0), strict=True)
        ]

    def fit(self, **options: Any) -> Calibration:
        return fit_calibration(
            *self.scores, *self.seconds, n_speakers=9, measured_on="normal", **options
        )


def test_two_normal_classes_have_the_llr_of_the_closed_form() -> None:
    """Means m1, m0, one deviation: llr = (m1 - m0) / std^2 (score - (m1 + m0) / 2)."""
    target, nontarget = normal(0.6, 0.15, 3_000), normal(0.2, 0.15, 40_000)
    for p_target in (0.5, 0.05):
        found = fit_calibration(
            target, nontarget, n_speakers=9, measured_on="normal", p_target=p_target
        )
        slope = 0.4 / 0.15**2
        assert found.w_score == pytest.approx(slope, rel=0.01)
        assert found.bias == pytest.approx(-slope * 0.4, rel=0.01)
        assert (found.w_score_speech, found.w_speech) == (0.0, 0.0)
    assert (found.n_target, found.n_nontarget, found.n_speakers) == (3_000, 40_000, 9)
    assert found.measured_on == "normal"
    assert found.llr(0.4, 0.3) == pytest.approx(found.llr(0.4, 1e4), abs=1e-12)


@pytest.mark.parametrize("p_target", [0.5, 0.02])
def test_scikit_learn_finds_the_same_weights(p_target: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    speech = Speech(400, 3_000)
    found = speech.fit(p_target=p_target, ridge=0.0)
    score, q = np.concatenate(speech.scores), np.log(np.concatenate(speech.seconds))
    labels = np.repeat([1, 0], [400, 3_000])
    weights = np.where(labels == 1, p_target / 400, (1 - p_target) / 3_000) * 3_400
    model = linear_model.LogisticRegression(C=math.inf, tol=1e-10, solver="newton-cholesky")
    model.fit(np.stack([score, score * q, q], axis=1), labels, sample_weight=weights)
    expected = [*model.coef_[0], model.intercept_[0] - math.log(p_target / (1 - p_target))]
    weights_found = [found.w_score, found.w_score_speech, found.w_speech, found.bias]
    assert weights_found == pytest.approx(expected, rel=1e-5)


def test_no_small_change_of_a_weight_lowers_cllr() -> None:
    speech = Speech(300, 2_000)
    found = speech.fit(ridge=0.0)

    def cost(calibration: Calibration) -> float:
        sides = zip(speech.scores, speech.seconds, strict=True)
        return cllr(*(calibration.llr(scores, seconds) for scores, seconds in sides))

    least = cost(found)
    for name in ("w_score", "w_score_speech", "w_speech", "bias"):
        for change in (-0.01, 0.01):
            assert cost(replace(found, **{name: getattr(found, name) + change})) > least
    plain = fit_calibration(*speech.scores, n_speakers=9, measured_on="normal")
    assert cost(plain) > least


def test_speech_is_clipped_to_the_range_that_was_measured() -> None:
    speech = Speech(300, 2_000)
    found = speech.fit()
    seconds = np.concatenate(speech.seconds)
    assert (found.min_speech_s, found.max_speech_s) == (seconds.min(), seconds.max())
    assert found.slope(0.01) == found.slope(found.min_speech_s) > 0
    narrow = speech.fit(speech_range_s=(1.0, 4.0))
    assert (narrow.min_speech_s, narrow.max_speech_s) == (1.0, 4.0)
    assert narrow.slope(0.5) == narrow.slope(1.0) and narrow.slope(9.0) == narrow.slope(4.0)


def test_the_ridge_keeps_separable_classes_finite() -> None:
    found = fit_calibration([0.8, 0.9], [0.1, 0.2], n_speakers=2, measured_on="four trials")
    assert 0 < found.w_score < 1e4
    assert found.llr(0.9, 1.0) > 3 and found.llr(0.1, 1.0) < -3
    stronger = fit_calibration(
        [0.8, 0.9], [0.1, 0.2], n_speakers=2, measured_on="four trials", ridge=0.1
    )
    assert stronger.w_score < found.w_score


def test_a_strong_ridge_weighs_the_slope_and_leaves_the_bias() -> None:
    """For ridge r -> inf: slope of the standardised score = mean distance / (4 r), llr 0 midway."""
    target, nontarget = normal(0.6, 0.1, 40), normal(0.2, 0.3, 90)
    found = fit_calibration(target, nontarget, n_speakers=2, measured_on="x", ridge=1e6)
    mean = (target.mean() + nontarget.mean()) / 2
    variance = (((target - mean) ** 2).mean() + ((nontarget - mean) ** 2).mean()) / 2
    slope = (target.mean() - nontarget.mean()) / (4 * variance * 1e6)
    assert found.w_score == pytest.approx(slope, rel=1e-4)
    assert found.bias == pytest.approx(-slope * mean, rel=1e-4)
    # a free bias makes both classes equally wrong on average
    found = fit_calibration(target, nontarget, n_speakers=2, measured_on="x", ridge=0.1)
    wrong = probability(-found.llr(target, 1.0)), probability(found.llr(nontarget, 1.0))
    assert wrong[0].mean() == pytest.approx(wrong[1].mean(), rel=1e-9)


def test_a_fit_that_would_turn_scores_round_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ScoringError, match="classes swapped"):
        fit_calibration(normal(0.2, 0.1, 50), normal(0.6, 0.1, 50), n_speakers=2, measured_on="x")
    seconds = np.repeat([1.0, 10.0], 200)
    target = np.concatenate([normal(0.2, 0.2, 200), normal(0.9, 0.2, 200)])  # turned round at 1 s
    nontarget = np.concatenate([normal(0.4, 0.2, 200), normal(0.1, 0.2, 200)])
    with pytest.raises(ScoringError, match="between 1 and 10 s"):
        fit_calibration(target, nontarget, seconds, seconds, n_speakers=2, measured_on="x")
    assert fit_calibration(target, nontarget, n_speakers=2, measured_on="x").w_score > 0


@pytest.mark.parametrize(
    ("target", "nontarget", "speech", "message"),
    [
        ([], [0.1], (None, None), "no target trial"),
        ([math.nan], [0.1], (None, None), "NaN"),
        ([math.inf], [0.1], (None, None), "scores are not finite"),
        ([0.5, 0.5], [0.5], (None, None), "all scores are equal"),
        ([0.5, 0.6], [0.1], ([1.0, 2.0], None), "one class only"),
        ([0.5, 0.6], [0.1], ([1.0], [2.0]), "2 target scores but speech of 1"),
        ([0.5, 0.6], [0.1], ([1.0, 2.0], [2.0, 2.0]), "3 scores but seconds of speech of 4"),
        ([0.5, 0.6], [0.1], ([1.0, 0.0], [2.0]), "positive and finite"),
        ([0.5, 0.6], [0.1], ([2.0, 2.0], [2.0]), "calibrate without seconds of speech"),
    ],
)
def test_what_a_calibration_is_not_defined_for(
    target: list[float],
    nontarget: list[float],
    speech: tuple[list[float] | None, list[float] | None],
    message: str,
) -> None:
    with pytest.raises(ScoringError, match=message):
        fit_calibration(target, nontarget, *speech, n_speakers=2, measured_on="x")


def test_settings_out_of_range_are_refused() -> None:
    settings: tuple[dict[str, Any], ...] = ({"p_target": 1.0}, {"ridge": -1.0})
    for options in settings:
        with pytest.raises(ScoringError, match="wanted 0 < p < 1, ridge >= 0"):
            fit_calibration([0.9, 0.8], [0.1], n_speakers=2, measured_on="x", **options)


def test_the_threshold_table_keeps_every_promise_by_counting(rng: np.random.Generator) -> None:
    target, nontarget = rng.normal(0.6, 0.2, 500).round(2), rng.normal(0.1, 0.2, 7_000).round(2)
    rows = threshold_table(target, nontarget, n_speakers=50)
    assert [row.fmr for row in rows] == list(FMRS)
    observed = sorted({*target.tolist(), *nontarget.tolist()})
    n_measured = 0
    for row in rows:
        keeping = [s for s in observed if sum(x >= s for x in nontarget) <= row.fmr * 7_000]
        n_false = sum(x >= keeping[0] for x in nontarget)
        assert row.n_false_matches == n_false
        assert (row.n_nontarget, row.n_target, row.n_speakers) == (7_000, 500, 50)
        if n_false < 30:
            assert row.threshold is None and row.fnmr is None
            continue
        n_measured += 1
        assert row.threshold == keeping[0]
        assert row.fnmr == pytest.approx(sum(x < keeping[0] for x in target) / 500)
    assert 3 <= n_measured < len(rows)
    with pytest.raises(ScoringError, match="not finite"):
        threshold_table([math.inf], nontarget, 50)
