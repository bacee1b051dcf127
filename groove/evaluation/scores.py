"""From embeddings to the scores of millions of trials, by matrix products, in blocks.

The back end, in this order, each step optional:

    1  subtract a mean embedding, that of the cohort's speakers
    2  cosine of enrollment and test
    3  times both mean lengths: the mean score over all pairs of crops, in place of the score of the
       mean embeddings
    4  AS-norm against the cohort of speaker means (`groove.scoring.as_norm`)

Lists that pair nearly everything with everything are scored as matrices, sparse ones row by row.
Memory grows with the trials only by their scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groove.errors import ScoringError
from groove.evaluation.trial_table import TrialTable
from groove.scoring import CohortStatistics, as_norm, cohort_statistics, cosine, unit_length

Floats = NDArray[np.float64]

CELLS_AT_ONCE = 1 << 22  # of a matrix of scores
ROWS_AT_ONCE = 1 << 15  # of a sparse list
SPARSE = 20  # a matrix with more cells per trial than this is not worth its products


@dataclass(frozen=True)
class Side:
    """One side of the trials: an embedding each, unit length, and what belongs to it.

    Rows that have no embedding hold NaN; no trial that is scored may name them.
    """

    embedding: Floats  # [N, D]
    mean_length: Floats  # [N], see `groove.embedder.Examined`
    speech_s: Floats  # [N]
    narrow_band: NDArray[np.bool_] | None = None  # [N], whether all of it is telephone sound

    @property
    def acquired(self) -> NDArray[np.bool_]:
        """The rows [N] that have an embedding."""
        found: NDArray[np.bool_] = ~np.isnan(self.embedding[:, 0])
        return found


@dataclass(frozen=True)
class Cohort:
    """Speakers for score normalisation: the mean of each one's unit-length embeddings."""

    mean: Floats  # [K, D]
    speakers: tuple[str, ...]  # [K]

    @classmethod
    def of(cls, embeddings: Sequence[NDArray[np.float32]], speakers: Sequence[str]) -> Cohort:
        """Average embeddings by speaker.

        Raises:
            ScoringError: fewer than two speakers.
        """
        names, index = np.unique(np.array(speakers, dtype=np.str_), return_inverse=True)
        if len(names) < 2:
            raise ScoringError(f"a cohort of {len(names)} speakers; wanted at least 2")
        total = np.zeros((len(names), len(embeddings[0])))
        np.add.at(total, index, unit_length(np.stack(embeddings)))
        return cls(total / np.bincount(index)[:, None], tuple(names.tolist()))


@dataclass(frozen=True)
class BackEnd:
    """How scores are made; see the top of this file."""

    center: Floats | None = None  # [D], subtracted from every embedding
    cohort: Cohort | None = None  # for AS-norm
    top_n: int = 300
    crop_scores: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether a score is the cosine, which thresholds and calibrations in cards are for."""
        return self.center is None and self.cohort is None and not self.crop_scores

    def describe(self) -> str:
        """One phrase for the report."""
        parts = ["mean score over pairs of crops" if self.crop_scores else "cosine"]
        if self.center is not None:
            parts.append("cohort mean subtracted")
        if self.cohort is not None:
            n = len(self.cohort.speakers)
            parts.append(f"AS-norm, the {min(self.top_n, n)} nearest of {n:,} cohort speakers")
        return ", ".join(parts)

    def scores(self, table: TrialTable, enrollment: Side, test: Side) -> Floats:
        """The score of every trial [N].

        Args:
            table: every enrollment and test that its trials name has an embedding.
            enrollment: [E] rows.
            test: [T] rows.

        Raises:
            ScoringError: a missing embedding, another embedding size, or a cohort too small.
        """
        # Only the rows in use: the others may hold NaN.
        used = [np.unique(indices) for indices in (table.enrollment, table.test)]
        at = [
            np.searchsorted(rows, indices)
            for rows, indices in zip(used, (table.enrollment, table.test), strict=True)
        ]
        sides = [
            self._centred(side.embedding[rows])
            for side, rows in zip((enrollment, test), used, strict=True)
        ]
        scores = pair_scores(sides[0], sides[1], at[0], at[1])
        lengths = [
            side.mean_length[rows] for side, rows in zip((enrollment, test), used, strict=True)
        ]
        if self.crop_scores:
            scores *= lengths[0][at[0]] * lengths[1][at[1]]
        if self.cohort is None:
            return scores
        statistics = [
            self._cohort_statistics(side, length if self.crop_scores else None)
            for side, length in zip(sides, lengths, strict=True)
        ]
        return as_norm(scores, statistics[0].take(at[0]), statistics[1].take(at[1]))

    def _centred(self, embeddings: Floats) -> Floats:
        return unit_length(embeddings if self.center is None else embeddings - self.center)

    def _cohort_statistics(self, side: Floats, length: Floats | None) -> CohortStatistics:
        assert self.cohort is not None
        speakers = self.cohort.mean if self.center is None else self.cohort.mean - self.center
        top_n = min(self.top_n, len(speakers))
        found = cohort_statistics(side, speakers, top_n=top_n)
        if length is None:
            return found
        # A positive factor keeps the order, so mean and deviation are multiplied by it.
        return CohortStatistics(found.mean * length, found.std * length)


def pair_scores(
    left: Floats, right: Floats, a: NDArray[np.integer], b: NDArray[np.integer]
) -> Floats:
    """Cosines of the rows a [N] of ``left`` [E, D] with the rows b [N] of ``right`` [T, D].

    Raises:
        ScoringError: sizes that do not fit.
    """
    if left.shape[1] != right.shape[1]:
        raise ScoringError(
            f"embeddings of {left.shape[1]} and {right.shape[1]} numbers cannot be compared; are "
            "they of one model?"
        )
    scores = np.empty(len(a))
    if len(left) * len(right) > SPARSE * len(a):
        for start in range(0, len(a), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            scores[rows] = np.einsum("nd,nd->n", left[a[rows]], right[b[rows]])
        return np.clip(scores, -1.0, 1.0, out=scores)
    order = np.arange(len(a)) if bool((a[1:] >= a[:-1]).all()) else np.argsort(a, kind="stable")
    step = max(1, CELLS_AT_ONCE // len(right))
    bounds = np.searchsorted(a[order], np.arange(0, len(left) + step, step))
    for block, (start, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        matrix = cosine(left[block * step : (block + 1) * step], right)  # [step, T]
        trials = order[start:end]
        scores[trials] = matrix[a[trials] - block * step, b[trials]]
    return scores
