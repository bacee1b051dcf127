"""Schedules against WeSpeaker's formulas (utils/schedulers.py), written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from groove.training.schedule import learning_rate, margin_rad

EPOCH, EPOCHS, WARM = 50, 150, 6


def test_the_exponential_is_wespeakers_with_its_scale_ratio() -> None:
    step = np.arange(EPOCHS * EPOCH)
    coefficient = np.where(step < WARM * EPOCH, 4.0 * step / (WARM * EPOCH), 4.0)
    wanted = coefficient * 0.1 * np.exp(step / (EPOCHS * EPOCH) * np.log(5e-5 / 0.1))
    found = [
        learning_rate(int(s), len(step), peak=4 * 0.1, final=4 * 5e-5, warmup=WARM * EPOCH)
        for s in step
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_cosine_is_wespeakers() -> None:
    n, warm = 1000, 100
    step = np.arange(n)
    fall = 1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + np.cos(np.pi * (step - warm) / (n - warm)))
    wanted = np.where(step < warm, 1e-3 * step / warm, fall)
    found = [
        learning_rate(int(s), n, peak=1e-3, final=1e-5, warmup=warm, shape="cosine") for s in step
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert learning_rate(n, n, peak=1e-3, final=1e-5, warmup=warm, shape="cosine") == 1e-5


def test_constant_stays_after_the_warm_up() -> None:
    rates = [
        learning_rate(s, 10, peak=0.5, final=0.1, warmup=2, shape="constant") for s in range(4)
    ]
    assert rates == [0.0, 0.25, 0.5, 0.5]


@pytest.mark.parametrize("shape", ["cosine", "exponential"])
def test_no_warm_up_starts_at_the_peak_and_ends_at_the_final_rate(shape: str) -> None:
    first, last = (
        learning_rate(s, 100, peak=0.1, final=0.001, warmup=0, shape=shape) for s in (0, 100)
    )
    assert first == pytest.approx(0.1) and last == pytest.approx(0.001)


@pytest.mark.parametrize("shape", ["exponential", "linear"])
def test_the_margin_is_wespeakers(shape: str) -> None:
    start, full, final = 19 * EPOCH, 39 * EPOCH, 0.2
    for step in range(0, 60 * EPOCH, 7):
        done = (step - start) / (full - start)
        if step < start:
            wanted = 0.0
        elif step >= full:
            wanted = final
        elif shape == "linear":
            wanted = final * done
        else:
            wanted = final * (1.0 - math.exp(done * math.log(1e-3 / (1.0 + 1e-6))) * 1.0)
        found = margin_rad(step, start=start, full=full, final=final, shape=shape)
        assert found == pytest.approx(wanted, abs=1e-15)


def test_a_fixed_margin_needs_no_rise() -> None:
    assert margin_rad(0, start=0, full=0, final=0.5) == 0.5
