"""Everything that is read off the scores of one system on one set of trials.

`measure` gives each metric of docs/metrics.md with its speaker-level interval, all from the same
draws, so that two systems on the same trials can be compared draw by draw (`compare`). Two rules
keep numbers from saying more than they know:

- actDCF and Cllr need log-likelihood ratios; without a calibration they are left out.
- FNMR at a promised FMR needs 30 false matches (Doddington et al. 2000), and a cell of a
  breakdown 100 target trials, 100 non-target trials and 10 speakers with target trials; below that
  the counts are shown and no rate. No system is called better on fewer: two speakers give draws
  that hardly differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from groove.bootstrap import Draws, Interval, Metric, PairedInterval, draw_mean, draw_metrics
from groove.curve import DetPoints, cost_weights
from groove.errors import ScoringError
from groove.evaluation.figure_data import (
    FMR_GRID,
    Curve,
    Histogram,
    Reliability,
    curve_of,
    histogram_of,
    reliability_of,
)
from groove.evaluation.trial_table import Bools, Ints
from groove.metrics import OperatingPoint, eer_threshold, operating_points
from groove.retrieval import ranks

Floats = NDArray[np.float64]
Verdict = Literal["a", "b", "none"]

P_TARGETS = (0.01, 0.05)
FMRS = (0.01, 0.001, 0.0001)
RECALL_AT = (1, 5, 10)
MIN_CELL_TRIALS, MIN_CELL_SPEAKERS = 100, 10
COMPARED = ("eer", "min_dcf_0.01", "min_dcf_0.05", "cllr")


@dataclass(frozen=True)
class TrialScores:
    """N trials of one system: scores, labels, the two speakers of each."""

    scores: Floats
    is_target: Bools
    enrollment_speakers: Ints
    test_speakers: Ints
    llrs: Floats | None = None  # natural-log likelihood ratios, where a calibration gives them

    def split(self, values: Floats) -> tuple[Floats, Floats]:
        """Values of the target and of the non-target trials."""
        return values[self.is_target], values[~self.is_target]

    @property
    def speakers(self) -> tuple[Ints, Ints]:
        """Of the target trials [N], and both of the non-target trials [N', 2]."""
        pairs = np.stack([self.enrollment_speakers, self.test_speakers], axis=1)
        return self.enrollment_speakers[self.is_target], pairs[~self.is_target]

    def only(self, kept: Bools) -> TrialScores:
        """The trials that ``kept`` marks."""
        return TrialScores(
            self.scores[kept],
            self.is_target[kept],
            self.enrollment_speakers[kept],
            self.test_speakers[kept],
            None if self.llrs is None else self.llrs[kept],
        )


@dataclass(frozen=True)
class ScoreStatistics:
    """Of the scores of one class."""

    n: int
    mean: float
    std: float
    least: float
    greatest: float

    @classmethod
    def of(cls, scores: Floats) -> ScoreStatistics:
        """Infinite scores make mean and deviation infinite or NaN; they are not hidden."""
        with np.errstate(invalid="ignore"):
            mean, std = float(scores.mean()), float(scores.std())
        return cls(len(scores), mean, std, float(scores.min()), float(scores.max()))


@dataclass(frozen=True)
class Cell:
    """One enrollment condition against one test condition; "all" stands for any."""

    enrollment: str
    test: str
    n_target: int
    n_nontarget: int
    n_speakers: int  # with target trials
    eer: Interval | None  # None: too few trials or speakers for a verdict


@dataclass(frozen=True)
class Conditions:
    """A condition (a genre) for each of N trials, as numbers of its names."""

    names: tuple[str, ...]
    index: Ints  # [N]

    @classmethod
    def of(cls, of_each: tuple[str, ...], which: NDArray[np.integer]) -> Conditions:
        """The conditions of recordings, taken to the trials that name them."""
        names, index = np.unique(np.array(of_each), return_inverse=True)
        return cls(tuple(names.tolist()), index.astype(np.int64)[which])


@dataclass(frozen=True)
class Measured:
    """The numbers of one system, and what its figures are drawn from."""

    n_target: int
    n_nontarget: int
    n_speakers: int
    n_target_speakers: int  # with target trials
    metrics: dict[str, Interval]
    operating_points: tuple[OperatingPoint, ...]
    eer_threshold: float
    target: ScoreStatistics
    nontarget: ScoreStatistics
    draws: Draws
    curve: Curve
    histogram: Histogram
    reliability: Reliability | None


@dataclass(frozen=True)
class Comparison:
    """System b against system a on the same trials; ``better`` only if the interval excludes 0.

    ``reason`` says why there is no verdict where the trials are too few for any.
    """

    metric: str
    interval: PairedInterval
    better: Verdict
    reason: str = ""


def measure(
    trials: TrialScores,
    *,
    n_draws: int = 1000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Measured:
    """All metrics with their intervals.

    Args:
        trials: of one system.
        n_draws: draws of the speakers.
        seed: of the draws.
        progress: called with 1 after each draw.

    Raises:
        ScoringError: see `groove.metrics`: NaN, or a class is missing.
    """
    target, nontarget = trials.split(trials.scores)
    points = operating_points(target, nontarget, FMRS)
    metrics: dict[str, Metric] = {
        "eer": DetPoints.eer,
        "eer_rocch": DetPoints.eer_rocch,
        **{f"min_dcf_{p:g}": _min_dcf(p) for p in P_TARGETS},
        "min_cllr": DetPoints.min_cllr,
        "auc": DetPoints.auc,
        **{f"fnmr_at_fmr_{p.fmr:g}": _fnmr_at(p.fmr) for p in points if p.threshold is not None},
    }
    kept: list[DetPoints] = []

    def keep(curve: DetPoints) -> float:
        kept[:] = [curve]  # the last one is that of the trials as they are
        return 0.0

    speakers = trials.speakers
    draws = draw_metrics(
        {**metrics, "_": keep},
        target,
        nontarget,
        *speakers,
        mean_costs=_costs(trials),
        fmr_grid=FMR_GRID,
        n_draws=n_draws,
        seed=seed,
        progress=progress,
    )
    intervals = {name: draws.interval(name) for name in draws.values if name != "_"}
    return Measured(
        n_target=len(target),
        n_nontarget=len(nontarget),
        n_speakers=draws.n_speakers,
        n_target_speakers=len(np.unique(speakers[0])),
        metrics=intervals,
        operating_points=points,
        eer_threshold=eer_threshold(target, nontarget),
        target=ScoreStatistics.of(target),
        nontarget=ScoreStatistics.of(nontarget),
        draws=draws,
        curve=curve_of(kept[0], draws, P_TARGETS),
        histogram=histogram_of(target, nontarget),
        reliability=None if trials.llrs is None else reliability_of(trials.llrs, trials.is_target),
    )


def compare(a: Measured, b: Measured) -> tuple[Comparison, ...]:
    """Differences b - a, of systems that scored the same trials with the same seed.

    Neither is called better on fewer trials or speakers than a cell needs for its rate.

    Raises:
        ScoringError: they were not drawn alike.
    """
    found = []
    reason = too_few(a.n_target, a.n_nontarget, a.n_target_speakers)
    for name in COMPARED:
        if name in a.metrics and name in b.metrics:
            interval = b.draws.minus(a.draws, name)
            better: Verdict = "b" if interval.high < 0 else "a" if interval.low > 0 else "none"
            found.append(Comparison(name, interval, "none" if reason else better, reason))
    return tuple(found)


def too_few(n_target: int, n_nontarget: int, n_speakers: int) -> str:
    """Why there are too few trials, or speakers with target trials, for a verdict; "" if enough."""
    if n_speakers < MIN_CELL_SPEAKERS:
        return f"{n_speakers} speakers with target trials; a verdict needs {MIN_CELL_SPEAKERS}"
    if min(n_target, n_nontarget) < MIN_CELL_TRIALS:
        return (
            f"{n_target} target and {n_nontarget} non-target trials; a verdict needs "
            f"{MIN_CELL_TRIALS} of each"
        )
    return ""


def cells(
    trials: TrialScores,
    enrollment: Conditions,
    test: Conditions,
    *,
    symmetric: bool = False,
    n_draws: int = 1000,
    seed: int = 0,
) -> tuple[Cell, ...]:
    """The EER by condition: every test condition against all enrollments, then each pair.

    Args:
        trials: of one system, N of them.
        enrollment: the condition of each trial's enrollment.
        test: that of its test.
        symmetric: the two sides are interchangeable, with the same conditions: a trial between two
            conditions counts for both "all", and once for the pair.
        n_draws: draws of the speakers.
        seed: of the draws.
    """
    found = []
    for i, name in enumerate(test.names):
        kept = test.index == i
        if symmetric:
            kept |= enrollment.index == enrollment.names.index(name)
        found.append(_cell("all", name, trials.only(kept), n_draws, seed))
    for e, enrollment_name in enumerate(enrollment.names if len(enrollment.names) > 1 else ()):
        for t, test_name in enumerate(test.names):
            kept = (enrollment.index == e) & (test.index == t)
            if symmetric and e != t:
                kept |= (enrollment.index == t) & (test.index == e)
            if kept.any() and not (symmetric and e > t):
                found.append(_cell(enrollment_name, test_name, trials.only(kept), n_draws, seed))
    return tuple(found)


def recalls(
    matrix: Floats, queries: Ints, gallery: Ints, *, n_draws: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Recall at 1, 5 and 10 from a matrix of scores [N, G]; empty where nothing is answerable.

    The interval draws the queries' speakers; the gallery stays.
    """
    places = ranks(matrix, queries, gallery)
    answerable = places > 0
    if not answerable.any():
        return {}
    found = {}
    for k in RECALL_AT:
        hits = (places[answerable] <= k).astype(np.float64)
        draws = draw_mean(hits, queries[answerable], n_draws=n_draws, seed=seed)
        found[f"recall_at_{k}"] = draws.interval("mean")
    return found


def _min_dcf(p_target: float) -> Metric:
    return lambda points: points.min_dcf(p_target)


def _fnmr_at(fmr: float) -> Metric:
    return lambda points: points.fnmr_at(fmr)


def _costs(trials: TrialScores) -> dict[str, tuple[Floats, Floats]]:
    """The costs whose means are Cllr and actDCF; see `groove.metrics` for both."""
    if trials.llrs is None:
        return {}
    target, nontarget = trials.split(trials.llrs)
    if not (np.isfinite(target).all() and np.isfinite(nontarget).all()):
        raise ScoringError("log-likelihood ratios are not finite; check the calibration")
    scale = 2 * math.log(2)
    costs = {"cllr": (np.logaddexp(0, -target) / scale, np.logaddexp(0, nontarget) / scale)}
    for p in P_TARGETS:
        miss, false_alarm = cost_weights(p, 1.0, 1.0)
        threshold = math.log1p(-p) - math.log(p)
        costs[f"act_dcf_{p:g}"] = (
            miss * (target < threshold).astype(np.float64),
            false_alarm * (nontarget >= threshold).astype(np.float64),
        )
    return costs


def _cell(enrollment: str, test: str, trials: TrialScores, n_draws: int, seed: int) -> Cell:
    target, nontarget = trials.split(trials.scores)
    speakers = trials.speakers
    n_speakers = len(np.unique(speakers[0]))
    eer = None
    if not too_few(len(target), len(nontarget), n_speakers):
        draws = draw_metrics(
            {"eer": DetPoints.eer}, target, nontarget, *speakers, n_draws=n_draws, seed=seed
        )
        eer = draws.interval("eer")
    return Cell(enrollment, test, len(target), len(nontarget), n_speakers, eer)
