"""Measuring what `groove.scoring` applies: a calibration, and a table of thresholds.

`fit_calibration` is logistic regression with a prior, by Newton's method in float64: the objective
is the mean cost of the two classes, weighted p_target and 1 - p_target, so that the numbers of
trials do not matter. It is convex; a small ridge keeps it finite where the classes are separable.
`threshold_table` measures thresholds for promised false-match rates.

Sources: Brümmer & du Preez 2006 and Brümmer & de Villiers 2013, 4 (prior-weighted logistic
regression); Mandasari et al. 2013 (speech duration as a quality measure); Doddington et al. 2000
(30 errors).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groove.curve import Floats, check_scores
from groove.errors import ScoringError
from groove.metrics import operating_points
from groove.scoring import Calibration, ThresholdRow

Bools = NDArray[np.bool_]

FMRS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001, 0.0005, 0.0001)
MAX_STEPS = 100  # Newton takes about ten; more means that it does not converge


def fit_calibration(
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    target_speech_s: ArrayLike | None = None,
    nontarget_speech_s: ArrayLike | None = None,
    *,
    n_speakers: int,
    measured_on: str,
    p_target: float = 0.5,
    ridge: float = 1e-6,
    speech_range_s: tuple[float, float] | None = None,
) -> Calibration:
    """Fit a `Calibration`; without seconds of speech the llr depends on the score alone.

    Args:
        target_scores: [N].
        nontarget_scores: [N'].
        target_speech_s: [N], seconds of speech of each trial's shorter side; None: leave it out.
        nontarget_speech_s: [N'], likewise; both or none.
        n_speakers: how many speakers the trials come from, for the record.
        measured_on: name of the data, for the record.
        p_target: the prior at which the cost is least; 0.5 minimises `cllr`.
        ridge: penalty on the squared weights of the standardised features, not on the bias.
        speech_range_s: where speech is clipped; None: the shortest and the longest that occur.

    Raises:
        ScoringError: infinite or NaN values, one class missing, all scores (or all seconds) equal,
            or a fit under which a higher score lowers the llr somewhere in the speech range.
    """
    target, nontarget = check_scores(target_scores, nontarget_scores)
    scores = np.concatenate([target, nontarget])
    if not np.isfinite(scores).all():
        raise ScoringError("scores are not finite; a calibration needs finite ones")
    if not 0 < p_target < 1 or not 0 <= ridge < math.inf:
        raise ScoringError(f"p_target {p_target:g}, ridge {ridge:g}; wanted 0 < p < 1, ridge >= 0")
    is_target = np.arange(len(scores)) < len(target)
    low, high, q = _speech(target_speech_s, nontarget_speech_s, len(target), speech_range_s)
    if len(q) not in (0, len(scores)):
        raise ScoringError(f"{len(scores)} scores but seconds of speech of {len(q)} trials")
    fit = _fit(scores, q, is_target, p_target, ridge)
    if min(fit.slope_at(math.log(low)), fit.slope_at(math.log(high))) <= 0:
        raise ScoringError(
            f"a higher score would lower the llr for speech between {low:g} and {high:g} s; are "
            "the classes swapped, the trials too few, or the model hardly trained?"
        )
    return Calibration(
        w_score=fit.w_score,
        w_score_speech=fit.w_score_speech,
        w_speech=fit.w_speech,
        bias=fit.bias,
        min_speech_s=low,
        max_speech_s=high,
        n_target=len(target),
        n_nontarget=len(nontarget),
        n_speakers=n_speakers,
        measured_on=measured_on,
    )


def threshold_table(
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    n_speakers: int,
    fmrs: Sequence[float] = FMRS,
) -> tuple[ThresholdRow, ...]:
    """One row per promised false-match rate, in the order given.

    The threshold is the smallest observed score, of either class, whose measured rate does not
    exceed the promise; fewer than 30 false matches there leave it None (see
    `metrics.operating_points`). Accept if score >= threshold.

    Args:
        target_scores: [N].
        nontarget_scores: [N'].
        n_speakers: how many speakers the trials come from, for the record.
        fmrs: the promises, 0 to 1.

    Raises:
        ScoringError: NaN or infinite scores, one class missing, or a promise out of range.
    """
    target, nontarget = check_scores(target_scores, nontarget_scores)
    if not (np.isfinite(target).all() and np.isfinite(nontarget).all()):
        raise ScoringError("scores are not finite; a threshold table needs finite ones")
    return tuple(
        ThresholdRow(
            fmr=point.fmr,
            threshold=point.threshold,
            fnmr=point.fnmr,
            n_false_matches=point.n_false_matches,
            n_nontarget=point.n_nontarget,
            n_target=point.n_target,
            n_speakers=n_speakers,
        )
        for point in operating_points(target, nontarget, fmrs)
    )


@dataclass(frozen=True)
class _Fit:
    w_score: float
    w_score_speech: float
    w_speech: float
    bias: float

    def slope_at(self, q: float) -> float:
        return self.w_score + self.w_score_speech * q


def _speech(
    target: ArrayLike | None,
    nontarget: ArrayLike | None,
    n_target: int,
    speech_range_s: tuple[float, float] | None,
) -> tuple[float, float, Floats]:
    """The range, and q [N + N']; q is empty where speech plays no part."""
    if target is None and nontarget is None:
        return *(speech_range_s or (1.0, 1.0)), np.zeros(0)
    if target is None or nontarget is None:
        raise ScoringError("seconds of speech of one class only; give both or none")
    speech = [np.asarray(values, dtype=np.float64).ravel() for values in (target, nontarget)]
    if len(speech[0]) != n_target:
        raise ScoringError(f"{n_target} target scores but speech of {len(speech[0])} trials")
    seconds = np.concatenate(speech)
    if not (np.isfinite(seconds) & (seconds > 0)).all():
        raise ScoringError("seconds of speech must be positive and finite")
    low, high = speech_range_s or (float(seconds.min()), float(seconds.max()))
    if not 0 < low < high:
        raise ScoringError(
            f"speech from {low:g} to {high:g} s tells nothing; calibrate without seconds of speech"
        )
    return low, high, np.log(np.clip(seconds, low, high))


def _fit(scores: Floats, q: Floats, is_target: Bools, p_target: float, ridge: float) -> _Fit:
    """Standardise, fit, and write the weights in terms of the raw score and q."""
    share = np.where(is_target, p_target / is_target.sum(), (1 - p_target) / (~is_target).sum())
    mean_s, std_s = _moments(scores, share, "scores")
    s = (scores - mean_s) / std_s
    prior = math.log(p_target) - math.log1p(-p_target)
    if not len(q):
        a, d = _newton(np.stack([s, np.ones_like(s)], axis=1), is_target, share, prior, ridge)
        return _Fit(a / std_s, 0.0, 0.0, d - a * mean_s / std_s)
    mean_q, std_q = _moments(q, share, "seconds of speech")
    t = (q - mean_q) / std_q
    features = np.stack([s, s * t, t, np.ones_like(s)], axis=1)  # [N + N', 4]
    a, b, c, d = _newton(features, is_target, share, prior, ridge)
    both = b / (std_s * std_q)
    return _Fit(
        w_score=a / std_s - both * mean_q,
        w_score_speech=both,
        w_speech=c / std_q - both * mean_s,
        bias=d - a * mean_s / std_s + both * mean_s * mean_q - c * mean_q / std_q,
    )


def _moments(values: Floats, share: Floats, what: str) -> tuple[float, float]:
    mean = float(share @ values)
    std = math.sqrt(float(share @ (values - mean) ** 2))
    if std <= 1e-12 * max(1.0, abs(mean)):
        raise ScoringError(f"all {what} are equal ({mean:g}); nothing can be fitted")
    return mean, std


def _newton(
    features: Floats, is_target: Bools, share: Floats, prior: float, ridge: float
) -> list[float]:
    """The weights [F] that minimise the cost; the last feature is 1, its weight the bias.

    sum share ln(1 + exp(-sign (features w + prior))) + ridge |w without the bias|^2 / 2
    """
    sign = np.where(is_target, 1.0, -1.0)
    penalty = np.full(features.shape[1], ridge)
    penalty[-1] = 0.0

    def cost(w: Floats) -> float:
        margins = sign * (features @ w + prior)
        return float(share @ np.logaddexp(0.0, -margins) + penalty @ w**2 / 2)

    w = np.zeros(features.shape[1])
    for _ in range(MAX_STEPS):
        margins = sign * (features @ w + prior)
        wrong = np.exp(-np.logaddexp(0.0, margins))  # probability given to the wrong class
        gradient = -features.T @ (share * sign * wrong) + penalty * w
        curvature = features.T @ (features * (share * wrong * (1 - wrong))[:, None])
        step = np.linalg.lstsq(curvature + np.diag(penalty), gradient, rcond=None)[0]
        now, size = cost(w), 1.0
        while cost(w - size * step) > now and size > 1e-10:
            size /= 2
        w = w - size * step
        if float(np.abs(size * step).max()) <= 1e-10 * max(1.0, float(np.abs(w).max())):
            return [float(value) for value in w]
    raise ScoringError("the calibration does not converge; are the classes separable? Raise ridge")
