"""Matrix products against a loop over trials that follows the formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from groove import trial_scores
from groove.errors import ScoringError
from groove.trial_scores import BackEnd, Cohort, Side, pair_scores
from groove.trial_table import TrialTable

D = 6


@pytest.fixture
def case(rng: np.random.Generator) -> tuple[TrialTable, Side, Side]:
    n_enrollments, n_tests = 5, 9
    pairs = [(e, t) for e in range(n_enrollments) for t in range(n_tests) if (e + t) % 4]
    order = rng.permutation(len(pairs))
    enrollment, test = np.array(pairs, dtype=np.int32)[order].T
    table = TrialTable(
        tuple(f"e{i}" for i in range(n_enrollments)),
        tuple(f"t{i}" for i in range(n_tests)),
        np.ascontiguousarray(enrollment),
        np.ascontiguousarray(test),
        rng.random(len(pairs)) < 0.3,
    )
    return table, side(rng, n_enrollments), side(rng, n_tests)


def side(rng: np.random.Generator, n: int) -> Side:
    embedding = rng.standard_normal((n, D))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    return Side(embedding, rng.uniform(0.5, 1, n), rng.uniform(1, 9, n))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt(float(a @ a) * float(b @ b)))


def test_cosines_dense_sparse_and_in_blocks(
    case: tuple[TrialTable, Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, enrollment, test = case
    wanted = [
        cosine(enrollment.embedding[e], test.embedding[t])
        for e, t in zip(table.enrollment, table.test, strict=True)
    ]
    assert BackEnd().scores(table, enrollment, test) == pytest.approx(wanted, abs=1e-12)
    monkeypatch.setattr(trial_scores, "CELLS_AT_ONCE", 20)  # two rows a block
    assert BackEnd().scores(table, enrollment, test) == pytest.approx(wanted, abs=1e-12)
    monkeypatch.setattr(trial_scores, "SPARSE", 0)
    monkeypatch.setattr(trial_scores, "ROWS_AT_ONCE", 7)
    assert BackEnd().scores(table, enrollment, test) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("subtract", [False, True])
def test_as_norm_over_speaker_means(
    case: tuple[TrialTable, Side, Side], rng: np.random.Generator, subtract: bool
) -> None:
    table, enrollment, test = case
    speakers = [f"s{i % 7}" for i in range(23)]
    embeddings = [e.astype(np.float32) for e in rng.standard_normal((23, D)) + 0.3]
    cohort = Cohort.of(embeddings, speakers)
    means = []
    for name in sorted(set(speakers)):
        own = [
            e / np.linalg.norm(e) for e, s in zip(embeddings, speakers, strict=True) if s == name
        ]
        means.append(np.mean(np.array(own, dtype=np.float64), axis=0))
    center = np.mean(means, axis=0) if subtract else np.zeros(D)
    wanted = []
    for e, t in zip(table.enrollment, table.test, strict=True):
        a, b = enrollment.embedding[e] - center, test.embedding[t] - center
        score, parts = cosine(a, b), []
        for one in (a, b):
            nearest = sorted(cosine(one, mean - center) for mean in means)[-4:]
            parts.append((score - np.mean(nearest)) / np.std(nearest))
        wanted.append(sum(parts) / 2)
    back_end = BackEnd(
        center=cohort.mean.mean(axis=0) if subtract else None, cohort=cohort, top_n=4
    )
    assert back_end.scores(table, enrollment, test) == pytest.approx(wanted, abs=1e-5)
    assert not back_end.is_plain and "4 nearest of 7 cohort speakers" in back_end.describe()


def test_score_averaging_is_the_mean_over_all_pairs_of_crops(rng: np.random.Generator) -> None:
    crops = [rng.standard_normal((n, D)) for n in (3, 4)]
    crops = [c / np.linalg.norm(c, axis=1, keepdims=True) for c in crops]
    wanted = np.mean([a @ b for a in crops[0] for b in crops[1]])
    sides = []
    for own in crops:
        mean = own.mean(axis=0)
        length = np.linalg.norm(mean)
        sides.append(Side((mean / length)[None], np.array([length]), np.ones(1)))
    zero = np.zeros(1, dtype=np.int32)
    table = TrialTable(("e",), ("t",), zero, zero, np.array([True]))
    assert BackEnd(crop_scores=True).scores(table, *sides)[0] == pytest.approx(wanted, abs=1e-12)


def test_rows_without_an_embedding_do_no_harm_where_no_trial_names_them(
    case: tuple[TrialTable, Side, Side],
) -> None:
    table, enrollment, test = case
    embedding = enrollment.embedding.copy()
    embedding[2] = np.nan
    broken = Side(embedding, enrollment.mean_length, enrollment.speech_s)
    assert broken.acquired.tolist() == [True, True, False, True, True]
    kept = broken.acquired[table.enrollment]
    scores = BackEnd().scores(table.only(kept), broken, test)
    np.testing.assert_array_equal(scores, BackEnd().scores(table, enrollment, test)[kept])


def test_models_of_another_size_are_refused(rng: np.random.Generator) -> None:
    zero = np.zeros(1, dtype=np.int64)
    with pytest.raises(ScoringError, match="embeddings of 3 and 4 numbers cannot be compared"):
        pair_scores(rng.standard_normal((1, 3)), rng.standard_normal((1, 4)), zero, zero)
    with pytest.raises(ScoringError, match="a cohort of 1 speakers"):
        Cohort.of([np.ones(3, np.float32)] * 2, ["a", "a"])
