"""The curve of error rates over thresholds, and every number that can be read off it.

`det_points` counts scores into a `DetPoints`: one point per distinct score. Its methods are the
metrics that depend on the order of scores alone; they are defined, with sources and tie rule, in
`groove.metrics`, under whose names they are meant to be used. They live on the curve so that the
bootstrap evaluates the same code on weighted trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groove.errors import ScoringError

Floats = NDArray[np.float64]

BLOCK = 1 << 22  # scores


@dataclass(frozen=True)
class DetPoints:
    """The error rates at every threshold that makes a difference, from strict to lax.

    ``threshold`` [P] falls from +inf (reject all) to the lowest score (accept all), ``fmr`` [P]
    rises from 0 to 1, ``fnmr`` [P] falls from 1 to 0. Between neighbouring points the curve is a
    straight line: a coin chooses between the two thresholds.
    """

    threshold: Floats
    fmr: Floats
    fnmr: Floats

    @classmethod
    def from_steps(cls, threshold: Floats, targets: Floats, nontargets: Floats) -> DetPoints:
        """Add up the weights at each of falling thresholds.

        Args:
            threshold: [P - 1], falling.
            targets: [P - 1], the weight of the target trials between this threshold and the last.
            nontargets: [P - 1], likewise of the non-target trials.
        """
        matches = np.concatenate([[0.0], np.cumsum(targets)])
        false_matches = np.concatenate([[0.0], np.cumsum(nontargets)])
        return cls(
            np.concatenate([[np.inf], threshold]),
            false_matches / false_matches[-1],
            (matches[-1] - matches) / matches[-1],
        )

    def eer(self) -> float:
        """See the function `eer`."""
        return _diagonal(self.fmr, self.fnmr)

    def eer_rocch(self) -> float:
        """See the function `eer_rocch`."""
        return _diagonal(*self.hull)

    def min_dcf(self, p_target: float = 0.01, *, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
        """See the function `min_dcf`."""
        miss, false_alarm = cost_weights(p_target, c_miss, c_fa)
        return float((miss * self.fnmr + false_alarm * self.fmr).min())

    def auc(self) -> float:
        """See the function `auc`."""
        hits = 1.0 - self.fnmr
        return float((np.diff(self.fmr) * (hits[1:] + hits[:-1])).sum() / 2)

    def fnmr_at(self, fmr: float) -> float:
        """The smallest fnmr among thresholds whose fmr does not exceed ``fmr``; no interpolation.

        Unlike `fnmr_at_fmr` it does not ask how many false matches support the rate.
        """
        return float(self.fnmr[self.last_within(fmr)])

    def min_cllr(self) -> float:
        """See the function `min_cllr`."""
        fmr, fnmr = self.hull
        nontarget, target = np.diff(fmr), -np.diff(fnmr)  # share of each class in each PAV block
        both = (nontarget > 0) & (target > 0)  # a pure block is told apart at no cost
        nontarget, target = nontarget[both], target[both]
        cost = target * np.log2(1 + nontarget / target) + nontarget * np.log2(
            1 + target / nontarget
        )
        return float(cost.sum() / 2)

    def last_within(self, fmr: float) -> int:
        """Index of the laxest threshold whose measured rate is at most ``fmr``."""
        if not 0 <= fmr <= 1:
            raise ScoringError(f"false-match rate {fmr:g}; wanted a number from 0 to 1")
        return int(np.searchsorted(self.fmr, fmr, side="right")) - 1

    @cached_property
    def hull(self) -> tuple[Floats, Floats]:
        """The lower left convex hull: fmr, fnmr at its corners.

        Only a point that is reached by accepting targets and left by accepting non-targets can be
        a corner; the loop looks at those alone. Repeated points (trials of weight 0) go first,
        because they would hide how a corner is left.
        """
        moves = (np.diff(self.fnmr) < 0) | (np.diff(self.fmr) > 0)
        moved = np.concatenate([[True], moves])
        all_fmr, all_fnmr = self.fmr[moved], self.fnmr[moved]
        down, right = np.diff(all_fnmr) < 0, np.diff(all_fmr) > 0
        corner = np.concatenate([[True], down[:-1] & right[1:], [True]])
        hull: list[tuple[float, float]] = []
        for point in zip(all_fmr[corner].tolist(), all_fnmr[corner].tolist(), strict=True):
            while len(hull) > 1 and not _turns_left(hull[-2], hull[-1], point):
                hull.pop()
            hull.append(point)
        fmr, fnmr = np.array(hull).T
        return fmr, fnmr


def det_points(
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    *,
    target_weights: ArrayLike | None = None,
    nontarget_weights: ArrayLike | None = None,
) -> DetPoints:
    """The curve of fmr and fnmr over all thresholds (ROC; DET when drawn on normal-deviate axes).

    One point per distinct score, and one above all scores. Source: Martin et al. 1997.

    Args:
        target_scores: [N].
        nontarget_scores: [N'], any other number.
        target_weights: [N], how much each trial counts, >= 0; None: one each.
        nontarget_weights: [N'], likewise.

    Raises:
        ScoringError: see `check_scores`; or a weight is negative or not finite, or all are 0.
    """
    target, nontarget = check_scores(target_scores, nontarget_scores)
    weights = [_weights(target_weights, target), _weights(nontarget_weights, nontarget)]
    scores = np.concatenate([target, nontarget])
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    first = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))  # of each tie
    zeros = np.zeros(len(nontarget)), np.zeros(len(target))
    target_steps = np.concatenate([weights[0], zeros[0]])[order]
    nontarget_steps = np.concatenate([zeros[1], weights[1]])[order]
    return DetPoints.from_steps(
        scores[first], np.add.reduceat(target_steps, first), np.add.reduceat(nontarget_steps, first)
    )


def corner_points(
    target_scores: ArrayLike, nontarget_scores: ArrayLike, *, block: int = BLOCK
) -> DetPoints:
    """The same curve with far fewer points: two per distinct score of the smaller class.

    Between them only the other class moves, so that the curve is straight; whatever is read off
    the curve (but a threshold) is the same. The larger class is sorted block by block, never
    whole, and costs no copy: 50 million scores take seconds.

    Args:
        target_scores: [N].
        nontarget_scores: [N'].
        block: scores of the larger class that are sorted at once.

    Raises:
        ScoringError: see `check_scores`.
    """
    target, nontarget = check_scores(target_scores, nontarget_scores)
    few, many = (target, nontarget) if len(target) <= len(nontarget) else (nontarget, target)
    distinct, counts = np.unique(few, return_counts=True)  # rising
    above = np.zeros(len(distinct), dtype=np.int64)  # of the many: score > distinct
    at_least = np.zeros(len(distinct), dtype=np.int64)
    block = max(block, len(distinct))  # so much is held anyway
    for start in range(0, len(many), block):
        some = np.sort(many[start : start + block])
        above += len(some) - np.searchsorted(some, distinct, side="right")
        at_least += len(some) - np.searchsorted(some, distinct, side="left")
    seen = np.cumsum(counts[::-1])  # of the few: score >= distinct, from high to low
    few_counts = np.concatenate([[0], np.stack([seen - counts[::-1], seen], 1).ravel(), [seen[-1]]])
    many_counts = np.concatenate(
        [[0], np.stack([above[::-1], at_least[::-1]], 1).ravel(), [len(many)]]
    )
    threshold = np.concatenate([[np.inf], np.repeat(distinct[::-1], 2), [-np.inf]])
    hits, false = (few_counts, many_counts) if few is target else (many_counts, few_counts)
    return DetPoints(threshold, false / len(nontarget), (len(target) - hits) / len(target))


def check_scores(target: ArrayLike, nontarget: ArrayLike) -> tuple[Floats, Floats]:
    """Both classes as float64 [N] and [N'], or a refusal.

    Raises:
        ScoringError: an array is not [N], is empty, or holds NaN.
    """
    arrays = []
    for name, scores in (("target", target), ("non-target", nontarget)):
        array = np.asarray(scores, dtype=np.float64)
        if array.ndim != 1:
            raise ScoringError(f"{name} scores have shape {array.shape}; wanted [N]")
        if not len(array):
            raise ScoringError(f"no {name} trial; error rates need both classes")
        n_bad = int(np.isnan(array).sum())
        if n_bad:
            raise ScoringError(f"{n_bad} of {len(array)} {name} scores are NaN; drop or mend them")
        arrays.append(array)
    return arrays[0], arrays[1]


def cost_weights(p_target: float, c_miss: float, c_fa: float) -> tuple[float, float]:
    """Weights of fnmr and fmr in the normalised cost; the smaller is 1."""
    if not 0 < p_target < 1 or not (0 < c_miss < math.inf and 0 < c_fa < math.inf):
        raise ScoringError(
            f"p_target {p_target:g}, c_miss {c_miss:g}, c_fa {c_fa:g}; "
            "wanted 0 < p_target < 1 and positive costs"
        )
    miss, false_alarm = c_miss * p_target, c_fa * (1 - p_target)
    least = min(miss, false_alarm)
    return miss / least, false_alarm / least


def _weights(weights: ArrayLike | None, scores: Floats) -> Floats:
    if weights is None:
        return np.ones(len(scores))
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != scores.shape:
        raise ScoringError(f"weights have shape {array.shape}, their scores {scores.shape}")
    if not np.isfinite(array).all() or (array < 0).any() or not array.any():
        raise ScoringError("weights must be finite, not negative, and not all zero")
    return array


def _diagonal(fmr: Floats, fnmr: Floats) -> float:
    """Where the polyline from (0, 1) to (1, 0) meets fmr = fnmr."""
    gap = fnmr - fmr  # falls from 1 to -1
    after = int((gap <= 0).argmax())
    before = after - 1
    share = gap[before] / (gap[before] - gap[after])
    return float(fmr[before] + share * (fmr[after] - fmr[before]))


def _turns_left(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return bool((b[0] - a[0]) * (c[1] - b[1]) > (b[1] - a[1]) * (c[0] - b[0]))
