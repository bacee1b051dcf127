from __future__ import annotations

import math

import numpy as np
import pytest

from groove.errors import ScoringError
from groove.retrieval import Recall, leave_one_out_recall, recall_at_k


def brute(scores: list[list[float]], queries: list[str], gallery: list[str], k: int) -> Recall:
    """Sort each row, strangers first among equals, and look at the first k."""
    hits, unanswerable = [], 0
    for row, query in zip(scores, queries, strict=True):
        ranked = sorted(
            (-score, owner == query)
            for score, owner in zip(row, gallery, strict=True)
            if score > -math.inf
        )
        if any(own for _, own in ranked):
            hits.append(any(own for _, own in ranked[:k]))
        else:
            unanswerable += 1
    return Recall(k, sum(hits) / len(hits), len(hits), unanswerable)


@pytest.mark.parametrize("k", [1, 2, 5, 100])
def test_recall_by_sorting(rng: np.random.Generator, k: int) -> None:
    for _ in range(30):
        queries, gallery = rng.choice(list("abcdef"), 8), rng.choice(list("abcd"), 12)
        queries[0] = gallery[0]
        scores = rng.integers(0, 5, (8, 12)).astype(float)
        scores[rng.random((8, 12)) < 0.1] = -np.inf
        scores[0, 0] = 1.0
        expected = brute(scores.tolist(), queries.tolist(), gallery.tolist(), k)
        assert recall_at_k(scores, queries, gallery, k) == expected


def test_every_utterance_asks_all_others(rng: np.random.Generator) -> None:
    embeddings, speakers = rng.normal(size=(30, 4)), rng.integers(0, 12, 30)
    unit = embeddings / np.sqrt((embeddings**2).sum(axis=1, keepdims=True))
    scores = np.array([[float(sum(a * b)) for b in unit] for a in unit])
    np.fill_diagonal(scores, -np.inf)
    names = [str(s) for s in speakers]
    for k in (1, 3):
        expected = brute(scores.tolist(), names, names, k)
        assert expected.n_unanswerable > 0
        for block in (7, 512):
            assert leave_one_out_recall(embeddings * 9, speakers, k, block=block) == expected


def test_equal_scores_are_no_success() -> None:
    assert recall_at_k([[1.0, 1.0]], ["a"], ["a", "b"]).recall == 0.0
    assert recall_at_k([[1.0, 1.0]], ["a"], ["a", "b"], k=2).recall == 1.0


def test_what_recall_is_not_defined_for() -> None:
    with pytest.raises(ScoringError, match=r"shape \(1, 2\) for \(1,\) queries and \(1,\)"):
        recall_at_k([[1.0, 2.0]], ["a"], ["a"])
    with pytest.raises(ScoringError, match="NaN"):
        recall_at_k([[math.nan]], ["a"], ["a"])
    with pytest.raises(ScoringError, match="recall at 0"):
        recall_at_k([[1.0]], ["a"], ["a"], k=0)
    with pytest.raises(ScoringError, match="0 answerable"):
        leave_one_out_recall([[1.0, 0.0], [0.0, 1.0]], ["a", "b"])
    with pytest.raises(ScoringError, match="zero or not finite"):
        leave_one_out_recall([[0.0, 0.0], [0.0, 1.0]], ["a", "a"])
    with pytest.raises(ScoringError, match=r"wanted \[N, D\], \[N\]"):
        leave_one_out_recall([[0.0, 0.0]], ["a", "a"])
