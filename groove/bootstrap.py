"""How far a metric would move with other speakers: intervals from drawing speakers again.

Trials are not independent: every speaker is in many. So speakers are drawn with replacement, as
many as there are, and a trial counts as often as its speakers were drawn: a target trial by the
count of its speaker, a non-target trial by the product of its two speakers' counts.
The interval holds the middle 95 % of the metric over the draws (percentile interval).

Nothing is approximated; `groove.speaker_draws` says why a draw is cheap all the same.

Sources: Owen 2007, "The pigeonhole bootstrap" (products of counts); Efron & Tibshirani 1993, 13
(percentile interval); Poh, Martin & Bengio 2007 (drawing persons, not trials).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from groove.curve import DetPoints, Floats, check_scores, corner_points
from groove.errors import ScoringError
from groove.speaker_draws import CostSums, SortedTrials, Speakers, draw_speakers

Metric = Callable[[DetPoints], float]


@dataclass(frozen=True)
class Interval:
    """A metric and the range in which it lies over ``confidence`` of the draws."""

    value: float  # on the trials as they are
    low: float
    high: float
    confidence: float
    n_draws: int
    n_speakers: int


@dataclass(frozen=True)
class PairedInterval:
    """Two systems on the same trials; ``difference`` is b - a, and so are ``low`` and ``high``.

    An interval that excludes 0 says that other speakers would have given the same order.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    confidence: float
    n_draws: int
    n_speakers: int


def bootstrap_interval(
    metric: Metric,
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    target_speakers: ArrayLike,
    nontarget_speakers: ArrayLike,
    *,
    n_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The speaker-level interval of one metric; see `bootstrap_intervals`.

    >>> bootstrap_interval(DetPoints.eer, target, nontarget, who, who_and_who)
    """
    return bootstrap_intervals(
        {"metric": metric},
        target_scores,
        nontarget_scores,
        target_speakers,
        nontarget_speakers,
        n_draws=n_draws,
        confidence=confidence,
        seed=seed,
    )["metric"]


def bootstrap_intervals(
    metrics: Mapping[str, Metric],
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    target_speakers: ArrayLike,
    nontarget_speakers: ArrayLike,
    *,
    n_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Speaker-level intervals of several metrics from the same draws.

    A draw that leaves no target or no non-target trial is drawn again. Quantiles are linearly
    interpolated. The same seed gives the same interval.

    Args:
        metrics: name -> function of the curve: ``DetPoints.eer``,
            ``lambda points: points.min_dcf(0.05)``.
        target_scores: [N].
        nontarget_scores: [N'].
        target_speakers: [N], the speaker of each target trial: strings, or integers (faster).
        nontarget_speakers: [N', 2], the two speakers of each non-target trial.
        n_draws: how often the speakers are drawn.
        confidence: share of the draws inside the interval.
        seed: of the draws, 0 to 2^32 - 1.

    Raises:
        ScoringError: see `groove.metrics`; shapes do not fit, fewer than two speakers, or a
            non-target trial between a speaker and the same speaker.
    """
    found = draw_metrics(
        metrics,
        target_scores,
        nontarget_scores,
        target_speakers,
        nontarget_speakers,
        n_draws=n_draws,
        seed=seed,
    )
    return {name: found.interval(name, confidence) for name in metrics}


@dataclass(frozen=True)
class Draws:
    """Every metric on the trials as they are, and on each draw of the speakers, [n_draws]."""

    values: dict[str, float]
    draws: dict[str, Floats]
    n_speakers: int
    fnmr_grid: Floats | None = None  # [n_draws, G], fnmr of each draw at the asked fmr_grid [G]

    def band(self, confidence: float = 0.95) -> tuple[Floats, Floats]:
        """Lower and upper fnmr [G], point by point; only where a grid was asked for."""
        assert self.fnmr_grid is not None
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.fnmr_grid, [tail, 1 - tail], axis=0)
        return low, high

    def interval(self, name: str, confidence: float = 0.95) -> Interval:
        """The interval of one metric."""
        draws = self.draws[name]
        _check_settings(len(draws), confidence)
        return Interval(
            self.values[name],
            *_middle(draws, confidence),
            confidence=confidence,
            n_draws=len(draws),
            n_speakers=self.n_speakers,
        )

    def minus(self, other: Draws, name: str, confidence: float = 0.95) -> PairedInterval:
        """The difference to another system that scored the same trials, drawn with one seed."""
        draws, others = self.draws[name], other.draws[name]
        _check_settings(len(draws), confidence)
        if len(draws) != len(others) or self.n_speakers != other.n_speakers:
            raise ScoringError("the two systems were not drawn alike; draw both with one seed")
        return PairedInterval(
            other.values[name],
            self.values[name],
            self.values[name] - other.values[name],
            *_middle(draws - others, confidence),
            confidence=confidence,
            n_draws=len(draws),
            n_speakers=self.n_speakers,
        )


def draw_metrics(
    metrics: Mapping[str, Metric],
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    target_speakers: ArrayLike,
    nontarget_speakers: ArrayLike,
    *,
    mean_costs: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    fmr_grid: ArrayLike | None = None,
    n_draws: int = 1000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Draws:
    """The draws themselves, of which intervals and differences are made.

    Args:
        metrics: see `bootstrap_intervals`.
        target_scores: [N].
        nontarget_scores: [N'].
        target_speakers: [N].
        nontarget_speakers: [N', 2].
        mean_costs: name -> the cost of every target [N] and non-target [N'] trial; the metric is
            the sum of both means (Cllr, actDCF: what depends on the scores' values).
        fmr_grid: [G], rising; keep each draw's fnmr there, for a band around the curve.
        n_draws: how often the speakers are drawn.
        seed: of the draws.
        progress: called with 1 after each draw.

    Raises:
        ScoringError: see `bootstrap_intervals`; a cost that is not finite.
    """
    _check_settings(n_draws, 0.5)
    speakers = Speakers.of(target_speakers, nontarget_speakers)
    target, nontarget = check_scores(target_scores, nontarget_scores)
    trials = SortedTrials.of(target, nontarget, speakers)
    sums = {
        name: CostSums.of(np.asarray(costs[0]), np.asarray(costs[1]), speakers)
        for name, costs in (mean_costs or {}).items()
    }
    draws: dict[str, list[float]] = {name: [] for name in (*metrics, *sums)}
    curves = []
    for counts in draw_speakers(speakers, n_draws, seed):
        points = trials.points(counts)
        if fmr_grid is not None:
            curves.append(np.interp(np.asarray(fmr_grid), points.fmr, points.fnmr))
        for name, metric in metrics.items():
            draws[name].append(metric(points))
        for name, cost in sums.items():
            draws[name].append(cost.mean(counts))
        if progress:
            progress(1)
    observed, once = corner_points(target, nontarget), np.ones(speakers.n, dtype=np.int64)
    values = {name: metric(observed) for name, metric in metrics.items()}
    values |= {name: cost.mean(once) for name, cost in sums.items()}
    return Draws(
        values,
        {name: np.array(found) for name, found in draws.items()},
        speakers.n,
        np.array(curves) if curves else None,
    )


def draw_mean(
    values: ArrayLike, speakers: ArrayLike, *, n_draws: int = 1000, seed: int = 0
) -> Draws:
    """The mean of values that belong to one speaker each, as the only metric, ``"mean"``.

    Args:
        values: [N], finite.
        speakers: [N].
        n_draws: how often the speakers are drawn.
        seed: of the draws.

    Raises:
        ScoringError: no value, sizes that do not fit, or a value that is not finite.
    """
    found, who = np.asarray(values, dtype=np.float64), np.asarray(speakers)
    if found.ndim != 1 or not len(found) or found.shape != who.shape:
        raise ScoringError(f"values {found.shape} of speakers {who.shape}; wanted [N] and [N]")
    if not np.isfinite(found).all():
        raise ScoringError("values must be finite")
    names, index = np.unique(who, return_inverse=True)
    sums, numbers = np.bincount(index, found), np.bincount(index)
    random = np.random.RandomState(seed)
    draws = []
    for _ in range(n_draws):
        drawn = random.randint(0, len(names), len(names), dtype=np.int64)
        draws.append(float(sums[drawn].sum() / numbers[drawn].sum()))
    return Draws({"mean": float(found.mean())}, {"mean": np.array(draws)}, len(names))


def paired_bootstrap(
    metric: Metric,
    a: tuple[ArrayLike, ArrayLike],
    b: tuple[ArrayLike, ArrayLike],
    target_speakers: ArrayLike,
    nontarget_speakers: ArrayLike,
    *,
    n_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedInterval:
    """The difference b - a of a metric between two systems that scored the same trials.

    Both are weighed by the same draws, so that what is hard for both cancels.

    Args:
        metric: function of the curve, as in `bootstrap_intervals`.
        a: (target scores [N], non-target scores [N']) of the first system.
        b: likewise of the second, the trials in the same order.
        target_speakers: [N].
        nontarget_speakers: [N', 2].
        n_draws: how often the speakers are drawn.
        confidence: share of the draws inside the interval.
        seed: of the draws.

    Raises:
        ScoringError: see `bootstrap_intervals`.
    """
    found = [
        draw_metrics(
            {"metric": metric},
            *scores,
            target_speakers,
            nontarget_speakers,
            n_draws=n_draws,
            seed=seed,
        )
        for scores in (a, b)
    ]
    return found[1].minus(found[0], "metric", confidence)


def _check_settings(n_draws: int, confidence: float) -> None:
    if n_draws < 1 or not 0 < confidence < 1:
        raise ScoringError(
            f"{n_draws} draws at confidence {confidence:g}; wanted at least 1, between 0 and 1"
        )


def _middle(draws: Floats, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)
