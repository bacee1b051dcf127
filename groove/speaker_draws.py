"""Trials under draws of their speakers: how often each speaker counts -> a curve, a mean cost.

Scores are sorted once; runs of neighbouring scores of one class are straight stretches of the ROC
under any weights, so that only their ends matter:

    score   high                                             low
    class   t t t | n n n n n n | t | n n | t t | n n n ...        t target, n non-target
    sums      1         2         3    4     5      6

What the weights mean and what is read off them says `groove.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groove.curve import DetPoints, Floats
from groove.errors import ScoringError

Ints = NDArray[np.int64]
Indices = NDArray[np.int32]

MAX_TABLE_SPEAKERS = 512  # whose products of counts fill 2 MiB


@dataclass(frozen=True)
class Speakers:
    """The speakers of the trials as numbers from 0: target [N], first and second [N']."""

    target: Ints
    first: Ints
    second: Ints
    n: int

    @classmethod
    def of(cls, target: ArrayLike, nontarget: ArrayLike) -> Speakers:
        """Number them.

        Raises:
            ScoringError: shapes do not fit, or a non-target trial within one speaker.
        """
        of_target, of_nontarget = np.asarray(target), np.asarray(nontarget)
        if of_target.ndim != 1 or of_nontarget.ndim != 2 or of_nontarget.shape[1] != 2:
            raise ScoringError(
                f"speakers have shapes {of_target.shape} and {of_nontarget.shape}; "
                "wanted [N] and [N', 2]"
            )
        names, index = np.unique(
            np.concatenate([of_target, of_nontarget.ravel()]), return_inverse=True
        )
        index = index.astype(np.int64).ravel()
        pairs = index[len(of_target) :].reshape(-1, 2)
        same = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
        if len(same):
            raise ScoringError(
                f"non-target trial {same[0]} has speaker {names[pairs[same[0], 0]]!s} on both sides"
            )
        first, second = np.ascontiguousarray(pairs.T)
        return cls(index[: len(of_target)], first, second, len(names))

    def has_both_classes(self, counts: Ints) -> bool:
        """Whether a draw leaves any trial of each class."""
        return bool(counts[self.target].any() and (counts[self.first] * counts[self.second]).any())


def draw_speakers(speakers: Speakers, n_draws: int, seed: int) -> Iterator[Ints]:
    """How often each speaker was drawn, [K] per draw."""
    # numpy promises the stream of RandomState, not that of newer generators, for all time (NEP 19)
    random = np.random.RandomState(seed)
    while n_draws:
        drawn = random.randint(0, speakers.n, speakers.n, dtype=np.int64)
        counts = np.bincount(drawn, minlength=speakers.n)
        if speakers.has_both_classes(counts):
            n_draws -= 1
            yield counts


@dataclass(frozen=True)
class ClassRuns:
    """The trials of one class in the order of their runs: weights [N] -> a sum per run."""

    speakers: tuple[Ints, ...]  # [N] each; one for target trials, two for non-target
    table: Indices | None  # [N], the two speakers as one number, where those are few
    starts: Ints  # where a run begins
    runs: Ints  # which run that is
    n_runs: int

    @classmethod
    def of(cls, run: Ints, speakers: tuple[Ints, ...], n_runs: int, n_speakers: int) -> ClassRuns:
        """Put the trials, each in its run, in the order of the runs."""
        order = np.argsort(run, kind="stable")
        runs, starts = np.unique(run[order], return_index=True)
        columns = tuple(column[order] for column in speakers)
        table = None
        if len(columns) == 2 and n_speakers <= MAX_TABLE_SPEAKERS:
            table = (columns[0] * n_speakers + columns[1]).astype(np.int32)
            columns = ()
        return cls(columns, table, starts, runs, n_runs)

    def sums(self, counts: Ints) -> Floats:
        """What the trials of each run weigh together when speakers were drawn so often."""
        sums = np.zeros(self.n_runs)
        sums[self.runs] = np.add.reduceat(self._weights(counts), self.starts)  # integers: exact
        return sums

    def _weights(self, counts: Ints) -> NDArray[np.number]:
        if self.table is not None:  # one look-up a trial, in a table that stays in the cache
            products = np.outer(counts, counts).astype(np.float64).ravel()
            return products.take(self.table)
        weights = counts[self.speakers[0]]
        for column in self.speakers[1:]:
            weights *= counts[column]
        return weights


@dataclass(frozen=True)
class SortedTrials:
    """Sorted once; `points` gives the curve of one draw."""

    threshold: Floats  # the lowest score of each run, falling
    target: ClassRuns
    nontarget: ClassRuns

    @classmethod
    def of(cls, target: Floats, nontarget: Floats, speakers: Speakers) -> SortedTrials:
        """Sort them.

        Raises:
            ScoringError: scores and speakers of different numbers of trials.
        """
        if len(target) != len(speakers.target) or len(nontarget) != len(speakers.first):
            raise ScoringError(
                f"{len(target)} target and {len(nontarget)} non-target scores, but speakers of "
                f"{len(speakers.target)} and {len(speakers.first)} trials"
            )
        scores, inverse = np.unique(-np.concatenate([target, nontarget]), return_inverse=True)
        at_target, at_nontarget = inverse[: len(target)], inverse[len(target) :]
        # 1: only targets have this score, 2: only non-targets, 3: both
        kind = np.zeros(len(scores), dtype=np.int64)
        kind[at_target] += 1
        kind[at_nontarget] += 2
        begins = np.concatenate([[True], (kind[1:] != kind[:-1]) | (kind[1:] == 3)])
        run = np.cumsum(begins) - 1
        ends = np.concatenate([np.flatnonzero(begins)[1:] - 1, [len(scores) - 1]])
        return cls(
            -scores[ends],
            ClassRuns.of(run[at_target], (speakers.target,), len(ends), speakers.n),
            ClassRuns.of(
                run[at_nontarget], (speakers.first, speakers.second), len(ends), speakers.n
            ),
        )

    def points(self, counts: Ints) -> DetPoints:
        """The curve when speakers were drawn so often."""
        return DetPoints.from_steps(
            self.threshold, self.target.sums(counts), self.nontarget.sums(counts)
        )


@dataclass(frozen=True)
class CostSums:
    """Sums and numbers of the trials' costs, a speaker (or a pair of speakers) each."""

    target_cost: Floats  # [K]
    target_n: Floats
    first: Ints  # [P], the pairs that occur
    second: Ints
    nontarget_cost: Floats  # [P]
    nontarget_n: Floats

    @classmethod
    def of(cls, target: Floats, nontarget: Floats, speakers: Speakers) -> CostSums:
        """Add the costs up.

        Raises:
            ScoringError: a cost that is not finite, or not one for each trial.
        """
        for costs, n in ((target, len(speakers.target)), (nontarget, len(speakers.first))):
            if costs.shape != (n,) or not np.isfinite(costs).all():
                raise ScoringError(f"costs {costs.shape} of {n} trials; wanted one finite each")
        pairs, index = np.unique(speakers.first * speakers.n + speakers.second, return_inverse=True)
        return cls(
            np.bincount(speakers.target, target, speakers.n).astype(np.float64),
            np.bincount(speakers.target, minlength=speakers.n).astype(np.float64),
            pairs // speakers.n,
            pairs % speakers.n,
            np.bincount(index, nontarget, len(pairs)).astype(np.float64),
            np.bincount(index, minlength=len(pairs)).astype(np.float64),
        )

    def mean(self, counts: Ints) -> float:
        """Both classes' weighted mean costs, added, when speakers were drawn so often."""
        pairs = counts[self.first] * counts[self.second]
        target = counts @ self.target_cost / (counts @ self.target_n)
        return float(target + pairs @ self.nontarget_cost / (pairs @ self.nontarget_n))
