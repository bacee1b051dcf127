"""What the figures are drawn from: the curve with its band, the histogram, the calibration plot.

Numbers only; `groove.plots` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groove.bootstrap import Draws
from groove.curve import DetPoints, cost_weights
from groove.evaluation.trial_table import Bools, Ints

Floats = NDArray[np.float64]

FMR_GRID: Floats = np.geomspace(1e-5, 1.0, 161)
N_BINS = 80  # of the score histogram
N_RELIABILITY = 200  # narrow bins, joined until each holds enough of...
MIN_BIN_MASS = 0.02  # ...the trials' weight, in which both classes count a half


@dataclass(frozen=True)
class Curve:
    """fnmr over `FMR_GRID` with its band, the EER and the points of least cost."""

    fmr: Floats
    fnmr: Floats
    low: Floats
    high: Floats
    min_dcf_points: dict[float, tuple[float, float]]  # p_target -> fmr, fnmr


@dataclass(frozen=True)
class Histogram:
    """Shares of the scores in equally wide bins."""

    edges: Floats  # [N_BINS + 1]
    target: Floats  # [N_BINS], adds up to 1
    nontarget: Floats


@dataclass(frozen=True)
class Reliability:
    """What a calibration claims against what is found, at even odds."""

    claimed: Floats  # mean probability of "same voice" in the bin
    found: Floats  # share of target trials in it, both classes weighing the same
    n: Ints  # trials in it


def curve_of(points: DetPoints, draws: Draws, p_targets: Sequence[float]) -> Curve:
    """The curve of the trials as they are, with the band of the draws over `FMR_GRID`."""
    low, high = draws.band()
    least = {}
    for p in p_targets:
        miss, false_alarm = cost_weights(p, 1.0, 1.0)
        at = int((miss * points.fnmr + false_alarm * points.fmr).argmin())
        least[p] = (float(points.fmr[at]), float(points.fnmr[at]))
    fnmr = np.interp(FMR_GRID, points.fmr, points.fnmr)
    return Curve(FMR_GRID, fnmr, low, high, least)


def histogram_of(target: Floats, nontarget: Floats) -> Histogram:
    """Both classes over one range; infinite scores lie in its last bins."""
    both = np.concatenate([target, nontarget])
    finite = both[np.isfinite(both)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    edges = np.linspace(low, high if high > low else low + 1.0, N_BINS + 1)
    shares = []
    for scores in (target, nontarget):
        counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
        shares.append(counts / len(scores))
    return Histogram(edges, *shares)


def reliability_of(llrs: Floats, is_target: Bools) -> Reliability:
    """Claimed and found probability, bin by bin of the claimed one."""
    claimed = np.exp(-np.logaddexp(0.0, -llrs))
    weight = np.where(is_target, 0.5 / is_target.sum(), 0.5 / (~is_target).sum())
    narrow = np.minimum((claimed * N_RELIABILITY).astype(np.int64), N_RELIABILITY - 1)
    mass = np.bincount(narrow, weight, N_RELIABILITY).astype(np.float64)
    index = _wide_bins(mass)[narrow]
    total = np.bincount(index, weight)
    return Reliability(
        np.bincount(index, weight * claimed) / total,
        np.bincount(index, weight * is_target) / total,
        np.bincount(index),
    )


def _wide_bins(mass: Floats) -> Ints:
    """Narrow bins -> wide ones that hold at least `MIN_BIN_MASS` of all trials' weight each."""
    wide = np.zeros(len(mass), dtype=np.int64)
    held, bin_ = 0.0, 0
    for i, share in enumerate(mass.tolist()):
        wide[i] = bin_
        held += share
        if held >= MIN_BIN_MASS and float(mass[i + 1 :].sum()) >= MIN_BIN_MASS:
            held, bin_ = 0.0, bin_ + 1
    return wide
