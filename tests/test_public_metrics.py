"""Against public implementations, on scores where those are right: scikit-learn's, NIST's script,
speechbrain's. With ties theirs differ from one another; ours are tested by brute force elsewhere.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from groove.metrics import auc, det_points, eer, min_dcf
from tests.conftest import ROOT
from tests.data.make_public_metrics_golden import CASES, scores_of

GOLDEN = json.loads((ROOT / "tests" / "data" / "public_metrics_golden.json").read_text())


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: str(row["case"]))
def test_eer_and_min_dcf_are_those_of_nists_script_and_of_speechbrain(row: dict) -> None:
    target, nontarget = scores_of(*row["case"])
    assert eer(target, nontarget) == pytest.approx(row["nist_eer"], abs=1e-12)
    for p in (0.01, 0.05):
        assert min_dcf(target, nontarget, p) == pytest.approx(row[f"nist_min_dcf_{p:g}"], abs=1e-12)
        # speechbrain does not divide by the cost of the better blind decision, and works in float32
        cost = min_dcf(target, nontarget, p) * p
        assert cost == pytest.approx(row[f"speechbrain_min_cost_{p:g}"], abs=1e-6)


@pytest.mark.parametrize("decimals", [0, 1, 6])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_curve_and_its_area_are_scikit_learns_with_ties_too(case: tuple, decimals: int) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    target, nontarget = (scores.round(decimals) for scores in scores_of(*case))
    labels = np.r_[np.ones(len(target)), np.zeros(len(nontarget))]
    scores = np.r_[target, nontarget]
    assert auc(target, nontarget) == pytest.approx(
        sklearn_metrics.roc_auc_score(labels, scores), abs=1e-12
    )
    fmr, tpr, threshold = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    points = det_points(target, nontarget)
    np.testing.assert_allclose(points.fmr, fmr, atol=1e-12)
    np.testing.assert_allclose(points.fnmr, 1 - tpr, atol=1e-12)
    np.testing.assert_array_equal(points.threshold, threshold)
