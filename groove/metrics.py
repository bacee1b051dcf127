"""How well scores tell target from non-target trials: definitions, with source and tie rule.

Conventions
    A trial is accepted if score >= threshold. fmr is the share of non-target trials that are
    accepted (false-match rate; also false alarm, FPR, FAR); fnmr the share of target trials that
    are rejected (false non-match rate; also miss, FNR, FRR). Trials with the same score are
    accepted or rejected together: a tie is one step of the curve, so row order never matters.

Metrics
    Those that depend on the order of scores alone are methods of the curve, `DetPoints`, as well,
    so that the bootstrap (`groove.bootstrap`) evaluates the same code on weighted trials: `eer`,
    `eer_rocch`, `min_dcf`, `auc`, `fnmr_at`, `min_cllr`. `act_dcf` and `cllr` read scores as
    natural-log likelihood ratios.

Edges, the same for every metric
    NaN, no target trial, no non-target trial, or an array that is not [N]: ScoringError. Infinite
    scores are scores: +inf above, -inf below all others.

docs/metrics.md tells the same with formulas. Sources: Fawcett 2006 (ROC, convex hull, AUC); Brümmer
& du Preez 2006 (Cllr, PAV); Brümmer & de Villiers 2013 (BOSARIS: ROCCH-EER, DCF); Doddington et al.
2000 (the rule of 30); ISO/IEC 19795-1 (FMR, FNMR).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from groove.curve import DetPoints, check_scores, corner_points, cost_weights, det_points

__all__ = [
    "MIN_FALSE_MATCHES",
    "DetPoints",
    "OperatingPoint",
    "act_dcf",
    "auc",
    "cllr",
    "det_points",
    "eer",
    "eer_rocch",
    "eer_threshold",
    "fnmr_at_fmr",
    "min_cllr",
    "min_dcf",
    "operating_points",
]

MIN_FALSE_MATCHES = 30  # Doddington et al. 2000: then the rate is within 30 % at 90 % confidence


@dataclass(frozen=True)
class OperatingPoint:
    """What a promised false-match rate costs. ``threshold`` and ``fnmr`` are None: not measurable.

    ``n_false_matches`` is the count at the threshold that the rule gives, also where it is too
    small to support the rate.
    """

    fmr: float  # the promise; the measured rate is n_false_matches / n_nontarget
    threshold: float | None
    fnmr: float | None
    n_false_matches: int
    n_nontarget: int
    n_target: int


def eer(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> float:
    """Equal error rate, 0 to 1: where the linearly interpolated ROC meets fmr = fnmr.

    Ties are one step. Perfect separation gives 0, all scores equal 0.5, reversed scores 1. The
    value depends on the order of the scores alone, and swapping the classes while negating the
    scores leaves it. Source: Fawcett 2006, 4 and 5.

    Raises:
        ScoringError: see the top of this file.
    """
    return corner_points(target_scores, nontarget_scores).eer()


def eer_threshold(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> float:
    """The observed score at which fmr and fnmr are closest; of equally close ones the highest.

    The EER itself lies, in general, between two thresholds; this is one that can be applied.

    Raises:
        ScoringError: see the top of this file.
    """
    points = det_points(target_scores, nontarget_scores)
    gap = np.abs(points.fnmr - points.fmr)[1:]  # not the point above all scores
    closest = gap <= gap.min() + 1e-12  # equal gaps differ by rounding
    return float(points.threshold[1 + int(closest.argmax())])


def eer_rocch(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> float:
    """Equal error rate on the convex hull of the ROC, 0 to 0.5; never above `eer`.

    The largest, over all priors, of the minimal Bayes error rate. Ties are one step.
    Source: Brümmer & de Villiers 2013.

    Raises:
        ScoringError: see the top of this file.
    """
    return corner_points(target_scores, nontarget_scores).eer_rocch()


def min_dcf(
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    p_target: float = 0.01,
    *,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Smallest normalised detection cost over all thresholds, 0 to 1.

    (c_miss p fnmr + c_fa (1 - p) fmr) / min(c_miss p, c_fa (1 - p)); "reject all" and "accept all"
    are among the thresholds, no interpolation. Ties are one step.
    Source: NIST SRE evaluation plans.

    Raises:
        ScoringError: see the top of this file; ``p_target`` not in (0, 1) or a cost not positive.
    """
    points = corner_points(target_scores, nontarget_scores)
    return points.min_dcf(p_target, c_miss=c_miss, c_fa=c_fa)


def act_dcf(
    target_llrs: ArrayLike,
    nontarget_llrs: ArrayLike,
    p_target: float = 0.01,
    *,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Normalised detection cost at the Bayes threshold ln(c_fa (1 - p) / (c_miss p)); >= `min_dcf`.

    Accepts if llr >= threshold. Source: Brümmer & du Preez 2006, 2.

    Args:
        target_llrs: [N], natural-log likelihood ratios.
        nontarget_llrs: [N'], likewise.
        p_target: prior of a target trial.
        c_miss: cost of a false rejection.
        c_fa: cost of a false match.

    Raises:
        ScoringError: see `min_dcf`.
    """
    target, nontarget = check_scores(target_llrs, nontarget_llrs)
    miss, false_alarm = cost_weights(p_target, c_miss, c_fa)
    threshold = math.log(c_fa * (1 - p_target)) - math.log(c_miss * p_target)
    fnmr, fmr = float((target < threshold).mean()), float((nontarget >= threshold).mean())
    return miss * fnmr + false_alarm * fmr


def cllr(target_llrs: ArrayLike, nontarget_llrs: ArrayLike) -> float:
    """Cost of the log-likelihood ratio in bits: 0 perfect, 1 for llr = 0 throughout, no upper end.

    (mean log2(1 + e^-llr) over targets + mean log2(1 + e^llr) over non-targets) / 2. A target at
    -inf or a non-target at +inf costs inf. Source: Brümmer & du Preez 2006, eq. for C_llr.

    Raises:
        ScoringError: see the top of this file.
    """
    target, nontarget = check_scores(target_llrs, nontarget_llrs)
    cost = np.logaddexp(0, -target).mean() + np.logaddexp(0, nontarget).mean()
    return float(cost / (2 * math.log(2)))


def min_cllr(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> float:
    """`cllr` after the best non-decreasing map from score to llr, 0 to 1.

    The map is pool-adjacent-violators with both classes weighing the same; its blocks are the
    sides of the ROC's convex hull, which is how it is computed. Ties are one step.
    Source: Brümmer & du Preez 2006; Fawcett & Niculescu-Mizil 2007 (PAV is the hull).

    Raises:
        ScoringError: see the top of this file.
    """
    return corner_points(target_scores, nontarget_scores).min_cllr()


def auc(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> float:
    """P(target score > non-target score) + half the probability that they tie; 0 to 1.

    The area under the interpolated ROC. Source: Fawcett 2006, 7.

    Raises:
        ScoringError: see the top of this file.
    """
    return corner_points(target_scores, nontarget_scores).auc()


def fnmr_at_fmr(
    target_scores: ArrayLike, nontarget_scores: ArrayLike, fmr: float
) -> OperatingPoint:
    """The operating point of one promised false-match rate: see `operating_points`."""
    return operating_points(target_scores, nontarget_scores, [fmr])[0]


def operating_points(
    target_scores: ArrayLike, nontarget_scores: ArrayLike, fmrs: Sequence[float]
) -> tuple[OperatingPoint, ...]:
    """Threshold and fnmr for promised false-match rates, where enough trials support them.

    The threshold is the smallest observed score, of either class, whose measured fmr does not
    exceed the promise. Fewer than 30 false matches there: not measurable. Ties are one step, so
    the measured rate may stay well below the promise. Source: Doddington et al. 2000.

    Args:
        target_scores: [N].
        nontarget_scores: [N'].
        fmrs: the promises, each from 0 to 1.

    Raises:
        ScoringError: see the top of this file; a promise out of range.
    """
    target, nontarget = check_scores(target_scores, nontarget_scores)
    points = det_points(target, nontarget)
    found = []
    for fmr in fmrs:
        index = points.last_within(fmr)
        n_false_matches = round(float(points.fmr[index]) * len(nontarget))
        measurable = n_false_matches >= MIN_FALSE_MATCHES
        found.append(
            OperatingPoint(
                fmr=float(fmr),
                threshold=float(points.threshold[index]) if measurable else None,
                fnmr=float(points.fnmr[index]) if measurable else None,
                n_false_matches=n_false_matches,
                n_nontarget=len(nontarget),
                n_target=len(target),
            )
        )
    return tuple(found)
