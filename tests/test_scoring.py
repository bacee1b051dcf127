from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean, pstdev

import numpy as np
import pytest

from groove.errors import CardError, ScoringError
from groove.scoring import (
    Calibration,
    ThresholdRow,
    as_norm,
    cohort_statistics,
    cosine,
    probability,
    unit_length,
)

CALIBRATION = Calibration(
    w_score=20.0,
    w_score_speech=2.0,
    w_speech=-1.0,
    bias=-7.0,
    min_speech_s=0.5,
    max_speech_s=10.0,
    n_target=1_000,
    n_nontarget=10_000,
    n_speakers=100,
    measured_on="nothing",
)
ROW = ThresholdRow(0.01, 0.43, 0.02, 100, 10_000, 1_000, 100)


def plain_cosine(a: list[float], b: list[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))


def test_cosine_by_its_formula(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    scores = cosine(a, b)
    assert scores.shape == (3, 4) and scores.dtype == np.float64
    for i in range(3):
        for j in range(4):
            expected = plain_cosine(a[i].tolist(), b[j].tolist())
            assert scores[i, j] == pytest.approx(expected, abs=1e-15)
            one = cosine(a[i], b[j])
            assert isinstance(one, float) and one == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cosine_is_symmetric_to_the_last_bit(rng: np.random.Generator, dtype: str) -> None:
    for n, k, d in ((1, 1, 3), (7, 3, 192), (65, 130, 257), (300, 33, 512), (2, 900, 80)):
        a, b = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(k, d)).astype(dtype)
        np.testing.assert_array_equal(cosine(a, b), cosine(b, a).T)
        np.testing.assert_array_equal(cosine(a, a), cosine(a, a).T)
        assert cosine(a[0], b[0]) == cosine(b[0], a[0])


def test_cosine_never_leaves_its_range(rng: np.random.Generator) -> None:
    a = rng.normal(size=(200, 192))
    assert cosine(a, a).max() <= 1.0 and cosine(a, -a).min() >= -1.0
    assert np.diagonal(cosine(a, a)).min() > 1 - 1e-12
    assert max(cosine(row, row) for row in a) <= 1.0


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0.0, 0.0], [1.0, 0.0], "zero or not finite"),
        ([1.0, math.nan], [1.0, 0.0], "zero or not finite"),
        ([1.0, math.inf], [1.0, 0.0], "zero or not finite"),
        ([1.0, 0.0], [1.0, 0.0, 0.0], "from the same model"),
        ([[1.0, 0.0]], [1.0, 0.0], "from the same model"),
        (1.0, 1.0, r"wanted \[D\] or \[N, D\]"),
        ([], [], r"wanted \[D\] or \[N, D\]"),
    ],
)
def test_no_cosine_without_a_voice(a: object, b: object, message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        cosine(a, b)  # type: ignore[arg-type]


def test_as_norm_by_its_formula(rng: np.random.Generator) -> None:
    enrollments, tests, cohort = (rng.normal(size=(n, 6)) for n in (5, 4, 30))
    raw = cosine(enrollments, tests)
    sides = [cohort_statistics(x, cohort, top_n=7, block=2) for x in (enrollments, tests)]
    normalised = as_norm(raw, *sides)

    def standard(score: float, embedding: list[float]) -> float:
        best = sorted(plain_cosine(embedding, row) for row in cohort.tolist())[-7:]
        return (score - fmean(best)) / pstdev(best)

    for i, e in enumerate(enrollments.tolist()):
        for j, t in enumerate(tests.tolist()):
            score = plain_cosine(e, t)
            expected = (standard(score, e) + standard(score, t)) / 2
            assert normalised[i, j] == pytest.approx(expected, abs=1e-10)
    rows, columns = np.array([0, 4, 4]), np.array([3, 0, 1])
    listed = as_norm(raw[rows, columns], sides[0].take(rows), sides[1].take(columns))
    np.testing.assert_array_equal(listed, normalised[rows, columns])
    np.testing.assert_array_equal(as_norm(raw.T, sides[1], sides[0]), normalised.T)


def test_the_blocks_of_as_norm_do_not_show(rng: np.random.Generator) -> None:
    embeddings, cohort = rng.normal(size=(23, 8)), rng.normal(size=(40, 8))
    whole = cohort_statistics(embeddings, cohort, top_n=40)
    for block in (1, 5, 23):
        part = cohort_statistics(embeddings, cohort, top_n=40, block=block)
        np.testing.assert_allclose(part.mean, whole.mean, atol=1e-15)
        np.testing.assert_allclose(part.std, whole.std, atol=1e-15)


def test_what_as_norm_is_not_defined_for(rng: np.random.Generator) -> None:
    a, cohort = rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
    for top_n in (1, 6):
        with pytest.raises(ScoringError, match=f"top_n {top_n} of 5 cohort speakers"):
            cohort_statistics(a, cohort, top_n=top_n)
    with pytest.raises(ScoringError, match="wanted .N, D. and .K, D."):
        cohort_statistics(a, rng.normal(size=(5, 3)), top_n=2)
    with pytest.raises(ScoringError, match="the cohort repeats itself"):
        cohort_statistics(a, np.tile(cohort[:1], (5, 1)), top_n=3)
    side = cohort_statistics(a, cohort, top_n=2)
    with pytest.raises(ScoringError, match=r"scores \(3, 2\) but statistics of 3 and 3"):
        as_norm(np.zeros((3, 2)), side, side)


def test_unit_length_keeps_the_direction() -> None:
    np.testing.assert_allclose(unit_length([3.0, 4.0]), [0.6, 0.8], atol=1e-16)


@pytest.mark.parametrize(("speech_s", "clipped"), [(0.1, 0.5), (0.5, 0.5), (3.0, 3.0), (99, 10)])
def test_llr_by_its_formula_with_clipped_speech(speech_s: float, clipped: float) -> None:
    q = math.log(clipped)
    expected = (20.0 + 2.0 * q) * 0.4 - 1.0 * q - 7.0
    found = CALIBRATION.llr(0.4, speech_s)
    assert isinstance(found, float) and found == pytest.approx(expected, abs=1e-12)
    many = CALIBRATION.llr(np.array([0.4, 0.5]), np.array([speech_s, speech_s]))
    assert many[0] == found and many[1] == pytest.approx(found + 0.1 * CALIBRATION.slope(clipped))


def test_no_llr_from_nan() -> None:
    for score, speech_s in ((math.nan, 1.0), (0.5, math.nan)):
        with pytest.raises(ScoringError, match="NaN"):
            CALIBRATION.llr(score, speech_s)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w_score": -1.0}, "higher score would lower the llr"),
        ({"w_score_speech": -10.0}, "higher score would lower the llr"),
        ({"w_score_speech": 30.0}, "higher score would lower the llr"),
        ({"min_speech_s": 0.0}, "wanted 0 < min <= max"),
        ({"min_speech_s": 11.0}, "wanted 0 < min <= max"),
        ({"max_speech_s": math.inf}, "wanted 0 < min <= max"),
        ({"bias": math.nan}, "wanted finite numbers"),
    ],
)
def test_a_senseless_calibration_cannot_exist(change: dict[str, float], message: str) -> None:
    with pytest.raises(CardError, match=message):
        replace(CALIBRATION, **change)  # type: ignore[arg-type]


def test_probability_by_bayes_rule() -> None:
    for llr, prior in ((0.0, 0.5), (2.0, 0.5), (-3.0, 0.1), (1.0, 0.99)):
        odds = math.exp(llr) * prior / (1 - prior)
        assert probability(llr, prior) == pytest.approx(odds / (1 + odds), rel=1e-12)
    assert probability(0.0) == 0.5
    assert (probability(1e6), probability(math.inf)) == (1.0, 1.0)
    assert (probability(-1e6), probability(-math.inf)) == (0.0, 0.0)
    assert probability(-700.0) == pytest.approx(math.exp(-700), rel=1e-9)
    np.testing.assert_array_equal(probability(np.array([-1e9, 0.0, 1e9])), [0.0, 0.5, 1.0])
    with pytest.raises(ScoringError, match="NaN"):
        probability(math.nan)
    for prior in (0.0, 1.0, math.nan):
        with pytest.raises(ScoringError, match="prior"):
            probability(0.0, prior)


@pytest.mark.parametrize("record", [CALIBRATION, ROW, replace(ROW, threshold=None, fnmr=None)])
def test_records_survive_a_dictionary_and_refuse_what_they_do_not_know(
    record: Calibration | ThresholdRow,
) -> None:
    values = record.to_dict()
    assert type(record).from_dict(values) == record
    name = "n_target"
    without = {key: value for key, value in values.items() if key != name}
    with pytest.raises(CardError, match=rf"missing fields \['{name}'\]"):
        type(record).from_dict(without)
    with pytest.raises(CardError, match=r"unknown fields \['n_tragets'\]"):
        type(record).from_dict({**values, "n_tragets": 1})
    for wrong in ("many", 1.5, None, True):
        with pytest.raises(CardError, match=f"n_target is {wrong!r}; wanted int"):
            type(record).from_dict({**values, name: wrong})


def test_a_row_says_what_it_is() -> None:
    assert str(ROW) == "fmr 0.01: threshold 0.4300, fnmr 0.0200"
    missing = replace(ROW, threshold=None, fnmr=None, n_false_matches=7)
    assert str(missing) == "fmr 0.01: not measurable (7 false matches)"
    with pytest.raises(CardError, match="together or not at all"):
        replace(ROW, threshold=None)
