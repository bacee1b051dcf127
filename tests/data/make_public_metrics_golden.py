"""Makes public_metrics_golden.json: what two public implementations say of three sets of scores.

    python -m tests.data.make_public_metrics_golden wespeaker_unofficial-0.0.2-py3-none-any.whl \
        speechbrain-1.1.2-py3-none-any.whl

From the first wheel comes NIST's script of SRE 2016 (wespeaker/utils/score_metrics.py), from the
second speechbrain's minDCF (needs torch). Only the functions below are taken out of the files and
run. The scores have no ties, because neither treats ties as one step; speechbrain's EER is left out
because it takes the nearest step and not the crossing.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

OUT = Path(__file__).with_name("public_metrics_golden.json")
CASES = ((1, 40, 400, 2.0), (2, 300, 3000, 1.2), (3, 1000, 500, 3.0))  # seed, sizes, distance


def scores_of(seed: int, n_target: int, n_nontarget: int, distance: float) -> Any:
    random = np.random.RandomState(seed)
    return random.randn(n_target) + distance, random.randn(n_nontarget)


def functions(wheel: str, member: str, names: set[str], scope: dict[str, Any]) -> dict[str, Any]:
    tree = ast.parse(zipfile.ZipFile(wheel).read(member))
    wanted = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in names]
    assert {node.name for node in wanted} == names
    exec(compile(ast.Module(wanted, []), member, "exec"), scope)
    return scope


def main() -> None:
    import torch

    nist = functions(
        sys.argv[1],
        "wespeaker/utils/score_metrics.py",
        {"compute_pmiss_pfa_rbst", "compute_eer", "compute_c_norm"},
        {"np": np},
    )
    brain = functions(
        sys.argv[2], "speechbrain/utils/metric_stats.py", {"minDCF"}, {"torch": torch}
    )
    golden = []
    for case in CASES:
        target, nontarget = scores_of(*case)
        labels = np.r_[np.ones(len(target)), np.zeros(len(nontarget))]
        fnr, fpr = nist["compute_pmiss_pfa_rbst"](np.r_[target, nontarget], labels)
        row = {"case": case, "nist_eer": float(nist["compute_eer"](fnr, fpr))}
        for p in (0.01, 0.05):
            row[f"nist_min_dcf_{p:g}"] = float(nist["compute_c_norm"](fnr, fpr, p))
            cost, _ = brain["minDCF"](
                torch.from_numpy(target), torch.from_numpy(nontarget), p_target=p
            )
            row[f"speechbrain_min_cost_{p:g}"] = float(cost)
        golden.append(row)
    OUT.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
