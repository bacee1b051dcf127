"""Recall at k: is one of the k best-scoring recordings of the same speaker?

Unlike the metrics of `groove.metrics` this one ranks a gallery per query, without a threshold. Ties
count against the system: a recording of another speaker with the same score ranks first, so that
the order of rows does not matter and equal scores throughout are no success. Queries whose speaker
is nowhere else in the gallery cannot be answered; they are left out and counted.
Source: Musgrave et al. 2020, "A metric learning reality check" (recall at 1); the tie rule is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groove.errors import ScoringError


@dataclass(frozen=True)
class Recall:
    """``recall`` of the ``n_queries`` answerable queries found their speaker among the first k."""

    k: int
    recall: float
    n_queries: int
    n_unanswerable: int


def recall_at_k(
    scores: ArrayLike, query_speakers: ArrayLike, gallery_speakers: ArrayLike, k: int = 1
) -> Recall:
    """Recall at k from a matrix of scores.

    Args:
        scores: [N, G], queries against gallery; -inf leaves an entry out.
        query_speakers: [N] speaker ids.
        gallery_speakers: [G] speaker ids.
        k: how many places count, >= 1.

    Raises:
        ScoringError: shapes do not fit, NaN, ``k`` below 1, or no query is answerable.
    """
    matrix = np.asarray(scores, dtype=np.float64)
    queries, gallery = np.asarray(query_speakers), np.asarray(gallery_speakers)
    if matrix.ndim != 2 or matrix.shape != (*queries.shape, *gallery.shape):
        raise ScoringError(
            f"scores have shape {matrix.shape} for {queries.shape} queries and {gallery.shape} "
            "gallery speakers; wanted [N, G], [N], [G]"
        )
    if np.isnan(matrix).any():
        raise ScoringError("scores hold NaN; leave an entry out with -inf")
    return summarise_ranks(ranks(matrix, queries, gallery), k)


def leave_one_out_recall(
    embeddings: ArrayLike, speakers: ArrayLike, k: int = 1, *, block: int = 512
) -> Recall:
    """Recall at k where every utterance asks all others, by cosine.

    Args:
        embeddings: [N, D]; their length does not matter.
        speakers: [N] speaker ids.
        k: how many places count, >= 1.
        block: queries scored at once; memory is block x N numbers.

    Raises:
        ScoringError: shapes do not fit, a zero or non-finite embedding, ``k`` below 1, or no
            speaker has two utterances.
    """
    vectors, names = np.asarray(embeddings, dtype=np.float64), np.asarray(speakers)
    if vectors.ndim != 2 or names.shape != vectors.shape[:1]:
        raise ScoringError(
            f"embeddings have shape {vectors.shape}, speakers {names.shape}; wanted [N, D], [N]"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ScoringError("an embedding is zero or not finite")
    unit = vectors / lengths
    found = []
    for start in range(0, len(unit), block):
        scores = unit[start : start + block] @ unit.T
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        found.append(ranks(scores, names[start : start + block], names))
    return summarise_ranks(np.concatenate([np.zeros(0, dtype=np.int64), *found]), k)


def ranks(
    scores: NDArray[np.float64], queries: NDArray[Any], gallery: NDArray[Any]
) -> NDArray[np.int64]:
    """Place of the best recording of the query's speaker, [N] from 1; 0: there is none."""
    same = queries[:, None] == gallery[None, :]
    best = np.where(same, scores, -np.inf).max(axis=1, initial=-np.inf)
    ahead: NDArray[np.int64] = (~same & (scores >= best[:, None])).sum(axis=1)
    return np.where(best == -np.inf, 0, ahead + 1)


def summarise_ranks(ranks: NDArray[np.int64], k: int) -> Recall:
    """Recall at k of places [N]; 0 stands for a query that cannot be answered.

    Raises:
        ScoringError: ``k`` below 1, or no query is answerable.
    """
    answerable = ranks[ranks > 0]
    if k < 1 or not len(answerable):
        raise ScoringError(
            f"recall at {k} of {len(answerable)} answerable queries; wanted k >= 1 and at least "
            "one query whose speaker is in the gallery"
        )
    return Recall(k, float((answerable <= k).mean()), len(answerable), len(ranks) - len(answerable))
