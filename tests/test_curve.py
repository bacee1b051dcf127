"""The short curve says the same as the long one, and both as counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groove.curve import corner_points, det_points
from groove.errors import ScoringError

few = st.lists(
    st.integers(0, 6).map(float) | st.sampled_from([-math.inf, math.inf]), min_size=1, max_size=14
)
READ_OFF = {
    "eer": lambda p: p.eer(),
    "eer_rocch": lambda p: p.eer_rocch(),
    "min_dcf": lambda p: p.min_dcf(0.05),
    "min_dcf_even": lambda p: p.min_dcf(0.5),
    "auc": lambda p: p.auc(),
    "min_cllr": lambda p: p.min_cllr(),
    **{f"fnmr_at_{r}": lambda p, r=r: p.fnmr_at(r) for r in (0.0, 0.1, 0.25, 0.5, 1.0)},
}


@settings(max_examples=300, deadline=None)
@given(target=few, nontarget=few, block=st.integers(1, 20))
def test_corners_give_what_all_points_give(
    target: list[float], nontarget: list[float], block: int
) -> None:
    long, short = det_points(target, nontarget), corner_points(target, nontarget, block=block)
    for name, read in READ_OFF.items():
        assert read(short) == pytest.approx(read(long), abs=1e-12), name
    assert (short.fmr[0], short.fnmr[0]) == (0, 1) and (short.fmr[-1], short.fnmr[-1]) == (1, 0)
    assert (np.diff(short.fmr) >= 0).all() and (np.diff(short.fnmr) <= 0).all()


@settings(max_examples=300, deadline=None)
@given(target=few, nontarget=few)
def test_every_corner_is_a_point_of_the_curve(target: list[float], nontarget: list[float]) -> None:
    long = set(zip(*_rounded(det_points(target, nontarget)), strict=True))
    short = set(zip(*_rounded(corner_points(target, nontarget)), strict=True))
    assert short <= long


def _rounded(points: object) -> tuple[list[float], list[float]]:
    return points.fmr.round(9).tolist(), points.fnmr.round(9).tolist()  # type: ignore[attr-defined]


def test_a_large_class_is_sorted_in_blocks() -> None:
    random = np.random.default_rng(0)
    target, nontarget = random.normal(2, 1, 500).round(2), random.normal(0, 1, 20_000).round(2)
    whole, blocks = corner_points(target, nontarget), corner_points(target, nontarget, block=999)
    for name in ("threshold", "fmr", "fnmr"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(blocks, name))
    assert len(whole.fmr) <= 2 * 500 + 2


def test_what_is_no_score_is_refused() -> None:
    with pytest.raises(ScoringError, match="no target trial"):
        corner_points([], [1.0])
    with pytest.raises(ScoringError, match="NaN"):
        corner_points([1.0], [math.nan])
