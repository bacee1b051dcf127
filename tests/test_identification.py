"""Exact search against plain numpy, thresholds against the formula, and a simulated population."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from groove.card import ThresholdTable
from groove.errors import ScoringError, SettingsError
from groove.models import catalogue
from groove.scoring import Calibration, ThresholdRow
from groove.voiceprints.identification import (
    BLOCK_ROWS,
    Gallery,
    GalleryBuilder,
    fmr_of_comparison,
    llrs_of,
    posteriors,
    threshold_for,
)
from tests.fakes import fake_card

CALIBRATION = Calibration(20.0, 2.0, -1.0, -9.0, 0.5, 10.0, 1000, 10_000, 100, "nothing")


def unit_rows(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    rows = rng.standard_normal((n, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def gallery_of(matrix: np.ndarray) -> Gallery:
    n = len(matrix)
    speech_s, narrow_band = np.full(n, 3, np.float32), np.zeros(n, np.bool_)
    return Gallery(np.arange(n), matrix.astype(np.float32), speech_s, narrow_band)


def test_search_is_exact_over_several_blocks(rng: np.random.Generator) -> None:
    n = 2 * BLOCK_ROWS + 777
    matrix = unit_rows(rng, n, 24)
    query = unit_rows(rng, 1, 24)[0]
    expected = matrix.astype(np.float64) @ query.astype(np.float64)
    for threads in (1, 2, 3):
        scores = gallery_of(matrix).scores(query, threads=threads)
        np.testing.assert_allclose(scores, expected, atol=1e-6)
        best = gallery_of(matrix).best(scores, 7)
        assert best.tolist() == np.argsort(-expected)[:7].tolist()
    with pytest.raises(ScoringError, match=r"shape \(3,\)"):
        gallery_of(matrix).scores(np.ones(3, np.float32))


def test_ties_come_in_the_order_of_keys_and_top_may_exceed_n() -> None:
    nobody = np.zeros(3, np.bool_)
    gallery = Gallery(np.array([9, 4, 7]), np.eye(3, dtype=np.float32), np.ones(3), nobody)
    scores = np.array([0.5, 0.5, 0.5], np.float32)
    assert gallery.keys[gallery.best(scores, 2)].tolist() == [4, 7]
    assert len(gallery.best(scores, 50)) == 3
    assert len(gallery.best(scores[:0], 5)) == 0


def test_the_builder_means_by_person_whatever_the_order_and_blocks(
    rng: np.random.Generator,
) -> None:
    keys = np.array([3, 10, 11, 40])
    owners = rng.choice(keys, 50)
    owners[:4] = keys
    rows, speech = unit_rows(rng, 50, 16), rng.uniform(1, 5, 50).astype(np.float32)
    means = np.stack([rows[owners == key].mean(axis=0) for key in keys])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    narrow = rng.random(50) < 0.8
    narrow[owners == 10] = True  # all that is enrolled of this one
    narrow[np.flatnonzero(owners == 11)[-1]] = False
    order = rng.permutation(50)
    builder = GalleryBuilder(keys, 16)
    for part in np.array_split(order, 7):
        builder.add(owners[part], rows[part], speech[part], narrow[part])
    built = builder.build()
    assert built.narrow_band.tolist() == [bool(narrow[owners == key].all()) for key in keys]
    assert built.narrow_band[1] and not built.narrow_band[2]
    np.testing.assert_allclose(built.matrix, means, atol=1e-6)
    np.testing.assert_allclose(built.speech_s, [speech[owners == k].sum() for k in keys], rtol=1e-6)


@pytest.mark.parametrize(("fpir", "n"), [(0.01, 1), (0.01, 100), (0.3, 7), (1e-4, 10**6)])
def test_the_rate_of_one_comparison_gives_back_that_of_all(fpir: float, n: int) -> None:
    fmr = fmr_of_comparison(fpir, n)
    assert -math.expm1(n * math.log1p(-fmr)) == pytest.approx(fpir, rel=1e-9)
    assert fpir / n <= fmr <= fpir


def test_a_measured_row_is_used_where_it_supports_the_population() -> None:
    card = fake_card(calibration=CALIBRATION)  # 0.1: 0.80, 0.01: 0.90, 0.005: 0.95
    assert threshold_for(card, 3.0, 1, fpir=0.1).value == 0.80
    assert threshold_for(card, 3.0, 2, fpir=0.1).value == 0.90  # 0.0513 a comparison
    ten = threshold_for(card, 3.0, 10, fpir=0.1)
    assert (ten.value, ten.measured) == (0.90, True)
    assert "false alarms among 1 person:" in threshold_for(card, 3.0, 1, fpir=0.1).rule
    assert "at most 10 % false alarms among 10 people" in ten.rule and "10,000 pairs" in ten.rule


def test_beyond_the_table_the_last_decade_is_continued_and_said_so() -> None:
    rows = tuple(
        ThresholdRow(fmr, threshold, 0.0, 50, 10**6, 10, 10)
        for fmr, threshold in ((1e-1, 0.20), (1e-2, 0.32), (5e-3, 0.41), (1e-3, 0.42))
    )
    card = fake_card(thresholds=(ThresholdTable(1.0, "x", rows),), calibration=None)
    fmr = fmr_of_comparison(0.01, 1000)
    found = threshold_for(card, 3.0, 1000)
    assert found.value == pytest.approx(0.42 + 0.10 * math.log10(1e-3 / fmr))
    assert not found.measured and "not measured (smallest measured: 0.001)" in found.rule
    calibrated = fake_card(thresholds=card.thresholds, calibration=CALIBRATION)
    assert CALIBRATION.llr(found.value, 3.0) < math.log(1000)
    assert threshold_for(calibrated, 3.0, 1000).value > found.value  # the stricter of the two
    sure = replace(CALIBRATION, bias=0.0)
    assert CALIBRATION.llr(found.value, 3.0) + 9.0 > math.log(1000)
    certain = fake_card(thresholds=card.thresholds, calibration=sure)
    assert threshold_for(certain, 3.0, 1000).value == found.value
    values = [threshold_for(card, 3.0, n).value for n in (1, 10, 11, 100, 1000, 10**5)]
    assert values == sorted(values)
    with pytest.raises(SettingsError, match="no score could keep that promise"):
        threshold_for(card, 3.0, 10**7)


def test_beyond_the_table_nobody_is_named_whom_the_calibration_doubts() -> None:
    rows = tuple(
        ThresholdRow(fmr, threshold, 0.0, 50, 10**6, 10, 10)
        for fmr, threshold in ((1e-1, 0.10), (1e-2, 0.11), (1e-3, 0.12))
    )
    card = fake_card(thresholds=(ThresholdTable(1.0, "x", rows),), calibration=CALIBRATION)
    value = threshold_for(card, 3.0, 5000).value
    assert CALIBRATION.llr(value, 3.0) == pytest.approx(math.log(5000))


def test_a_measured_row_names_nobody_whom_the_calibration_doubts() -> None:
    doubtful = replace(CALIBRATION, bias=-18.0)  # even odds at 0.834 for 3 s, above the row's 0.80
    for n_people, row in ((1, 0.80), (2, 0.90)):
        found = threshold_for(fake_card(calibration=doubtful), 3.0, n_people, fpir=0.1)
        floor = (math.log(n_people) + 18 + math.log(3)) / (20 + 2 * math.log(3))
        assert found.value == pytest.approx(max(row, floor)) and found.measured
        assert ("raised from 0.8000" in found.rule) is (floor > row)
    hopeless = fake_card(calibration=replace(CALIBRATION, bias=-30.0))
    with pytest.raises(SettingsError, match="no score as likely as nobody among 1 person"):
        threshold_for(hopeless, 3.0, 1, fpir=0.1)


def test_the_default_model_names_nobody_whom_its_own_calibration_calls_unlikely() -> None:
    published = catalogue()["campplus-zh-en"].card
    calibration = Calibration.from_dict(published["calibration"])
    tables = [
        ThresholdTable(table["speech_s"], "x", tuple(map(ThresholdRow.from_dict, table["rows"])))
        for table in published["thresholds"]
    ]
    card = fake_card(thresholds=tuple(tables), calibration=calibration)
    for speech_s in (1.0, 3.0, 8.0, 30.0):
        for n_people in (1, 2, 10, 100):
            llr = calibration.llr(threshold_for(card, speech_s, n_people).value, speech_s)
            assert llr >= math.log(n_people) - 1e-9, (speech_s, n_people)


def test_what_cannot_be_promised_is_refused() -> None:
    with pytest.raises(SettingsError, match="no measured thresholds; give --threshold"):
        threshold_for(fake_card(thresholds=()), 3.0, 10)
    with pytest.raises(SettingsError, match="between 0 and 1"):
        threshold_for(fake_card(), 3.0, 10, fpir=1.0)
    with pytest.raises(SettingsError, match="nobody is enrolled"):
        threshold_for(fake_card(), 3.0, 0)
    (table,) = fake_card().thresholds
    single = fake_card(thresholds=(ThresholdTable(1.0, "x", table.rows[:1]),))
    with pytest.raises(SettingsError, match="no score could keep"):  # nothing to continue from
        threshold_for(single, 3.0, 1000)


def test_strangers_are_named_as_rarely_as_promised(rng: np.random.Generator) -> None:
    """Scores of strangers drawn from a normal distribution, whose quantiles make the table."""
    quantiles = {1e-1: 1.2815515655, 1e-2: 2.3263478740, 1e-3: 3.0902323062, 1e-4: 3.7190164855}
    rows = tuple(
        ThresholdRow(fmr, 0.1 * z, 0.0, 100, 10**6, 10, 10) for fmr, z in quantiles.items()
    )
    card = fake_card(thresholds=(ThresholdTable(1.0, "x", rows),), calibration=None)
    for n, fpir, n_questions in ((20, 0.1, 4000), (100, 0.01, 4000), (1000, 0.05, 2000)):
        threshold = threshold_for(card, 3.0, n, fpir=fpir)
        assert threshold.measured is (n < 1000)
        best = np.array([0.1 * rng.standard_normal(n).max() for _ in range(n_questions)])
        alarms = float((best >= threshold.value).mean())
        assert alarms <= fpir + 3 * math.sqrt(fpir * (1 - fpir) / n_questions)
        assert alarms > 0  # strict, but not absurdly so


def test_llrs_and_posteriors_follow_bayes(rng: np.random.Generator) -> None:
    scores = rng.uniform(-0.2, 0.9, 500).astype(np.float32)
    speech = rng.uniform(0.2, 20, 500).astype(np.float32)
    llrs = llrs_of(CALIBRATION, scores, speech, 6.0)
    expected = CALIBRATION.llr(scores.astype(np.float64), np.minimum(speech, 6.0))
    np.testing.assert_allclose(llrs, expected, atol=1e-4)
    ratios = np.exp(expected)
    chances, nobody = posteriors(llrs, np.arange(500))
    np.testing.assert_allclose(chances, ratios / (500 + ratios.sum()), rtol=1e-3)
    assert nobody == pytest.approx(500 / (500 + ratios.sum()), rel=1e-3)
    assert sum(chances) + nobody == pytest.approx(1, abs=1e-6)


def test_posteriors_do_not_overflow() -> None:
    chances, nobody = posteriors(np.array([900, -900], np.float32), np.array([0, 1]))
    assert chances == [pytest.approx(1), pytest.approx(0)] and nobody == pytest.approx(0)
    chances, nobody = posteriors(np.full(3, -1e4, np.float32), np.array([0]))
    assert chances == [pytest.approx(0)] and nobody == pytest.approx(1)


def test_the_continuation_is_strict_in_every_table_that_was_measured() -> None:
    """From the rows 1e-2 and 1e-3 alone it leads above the threshold that 1e-4 really has."""
    tables = catalogue()["campplus-zh-en"].card["thresholds"]
    assert len(tables) > 5
    for table in tables:
        measured = {row["fmr"]: row["threshold"] for row in table["rows"]}
        rows = [ThresholdRow.from_dict(row) for row in table["rows"] if row["fmr"] >= 1e-3]
        card = fake_card(thresholds=(ThresholdTable(1.0, "x", tuple(rows)),), calibration=None)
        continued = threshold_for(card, 1.0, 1, fpir=1e-4)
        assert not continued.measured
        assert measured[1e-4] < continued.value < measured[1e-4] + 0.03
