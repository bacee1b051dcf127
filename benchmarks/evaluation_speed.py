"""How long an evaluation of CN-Celeb's size takes once the embeddings are there, in one run.

python benchmarks/evaluation_speed.py [--loop-trials 20000] [--without-50m]

Random embeddings of 196 enrollments, 17,777 tests and 2,793 cohort speakers, 192 numbers each:
3,484,292 trials. The same work as a loop in Python (the statistics of each side, then trial by
trial) is timed on some of it and scaled, because all would take minutes; scikit-learn's roc_curve
gets the same scores as ours. "CPU s" is what the process itself used, both cores together, and says
more than the clock where other work shares the machine. Peak memory is that of the whole process
up to that line.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from groove.bootstrap import draw_metrics
from groove.curve import DetPoints, corner_points
from groove.measures import TrialScores, measure
from groove.trial_scores import BackEnd, Cohort, Side
from groove.trial_table import TrialTable, read_trial_table

E, T, K, D = 196, 17_777, 2_793, 192
N_SPEAKERS = 200
TOP_N = 300
Pair = tuple[int, int]
Result = TypeVar("Result")


def timed(what: str, work: Callable[[], Result], scale: float = 1.0) -> Result:
    started, used = time.perf_counter(), time.process_time()
    result = work()
    elapsed = (time.perf_counter() - started) * scale
    used = (time.process_time() - used) * scale
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    mark = " (scaled)" if scale != 1.0 else ""
    print(f"| {what} | {elapsed:.2f}{mark} | {used:.2f} | {peak:.0f} |", flush=True)
    return result


def embeddings(random: np.random.Generator, voices: NDArray[np.float64]) -> NDArray[np.float64]:
    found = voices + 1.6 * random.standard_normal(voices.shape)
    unit: NDArray[np.float64] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def loop_statistics(side: Side, cohort: Cohort, n: int) -> list[tuple[float, float]]:
    """Mean and deviation of the nearest cohort scores, a recording at a time."""
    speakers = cohort.mean / np.linalg.norm(cohort.mean, axis=1, keepdims=True)
    found = []
    for row in side.embedding[:n]:
        nearest = np.sort(speakers @ row)[-TOP_N:]
        found.append((float(nearest.mean()), float(nearest.std())))
    return found


def loop_trials(
    sides: tuple[Side, ...], statistics: list[list[tuple[float, float]]], pairs: list[Pair]
) -> list[float]:
    """AS-norm as its formula reads, a trial at a time."""
    scores = []
    for e, t in pairs:
        score = float(sides[0].embedding[e] @ sides[1].embedding[t])
        parts = [(score - m) / std for m, std in (statistics[0][e], statistics[1][t])]
        scores.append(sum(parts) / 2)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loop-trials", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--without-50m", action="store_true")
    given = parser.parse_args()
    random = np.random.default_rng(20261125)
    voices = random.standard_normal((N_SPEAKERS, D))
    who = np.arange(E), random.integers(0, N_SPEAKERS, T)
    sides = tuple(
        Side(embeddings(random, voices[s]), np.ones(len(s)), np.ones(len(s))) for s in who
    )
    cohort = Cohort(random.standard_normal((K, D)), tuple(map(str, range(K))))
    enrollment, test = (x.ravel().astype(np.int32) for x in np.indices((E, T)))
    # a loop over the first trials must meet as many new tests as one over all of them would
    order = random.permutation(E * T)
    enrollment, test = enrollment[order], test[order]
    is_target = who[0][enrollment] == who[1][test]
    names = tuple(f"id{i:05d}-enroll" for i in range(E)), tuple(f"test/{i}.wav" for i in range(T))
    table = TrialTable(*names, enrollment, test, is_target)
    print("| what | s | CPU s | peak MiB |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trials.lst"
        with path.open("w") as file:
            for e, t, target in zip(enrollment, test, is_target, strict=True):
                file.write(f"{names[0][e]} {names[1][t]} {int(target)}\n")
        timed("reading the list, 3.5 M lines", lambda: read_trial_table(path))
    back_end = BackEnd(cohort=cohort, top_n=TOP_N)
    scores = timed("3.5 M trials with AS-norm, Groove", lambda: back_end.scores(table, *sides))
    n, some = given.loop_trials, 1_000
    statistics = [
        timed(
            f"the same, a Python loop: statistics of {some:,} tests",
            lambda: loop_statistics(sides[1], cohort, some),
            (E + T) / some,
        )
    ]
    statistics.insert(0, loop_statistics(sides[0], cohort, E))
    at = np.flatnonzero(test < some)[:n]
    pairs = list(zip(enrollment[at].tolist(), test[at].tolist(), strict=True))
    slow = timed(
        f"the same, a Python loop: {n:,} trials",
        lambda: loop_trials(sides, statistics, pairs),
        E * T / n,
    )
    assert np.allclose(slow, scores[at], atol=1e-9)
    target, nontarget = scores[is_target], scores[~is_target]
    points = timed("EER and minDCF of 3.5 M scores, Groove", lambda: rates(target, nontarget))
    theirs = timed("the same by scikit-learn's roc_curve", lambda: sklearn_rates(target, nontarget))
    print(f"| EER: {100 * points[0]:.4f} %, scikit-learn {100 * theirs[0]:.4f} % | | | |")
    assert abs(points[0] - theirs[0]) < 1e-3 and abs(points[1] - theirs[1]) < 1e-9
    trials = TrialScores(scores, is_target, who[0][enrollment], who[1][test], 2 * scores - 3)
    timed(
        f"all metrics with intervals, {given.draws:,} draws",
        lambda: measure(trials, n_draws=given.draws),
    )
    speakers = trials.speakers
    timed(
        f"of which EER alone, {given.draws:,} draws",
        lambda: draw_metrics(
            {"eer": DetPoints.eer}, target, nontarget, *speakers, n_draws=given.draws
        ),
    )
    if not given.without_50m:
        few = random.standard_normal(250_000) + 2.5
        many = random.standard_normal(49_750_000)
        timed("EER and minDCF of 50 M scores, Groove", lambda: rates(few, many))
        timed("the same by scikit-learn's roc_curve", lambda: sklearn_rates(few, many))


def rates(target: NDArray[np.float64], nontarget: NDArray[np.float64]) -> tuple[float, float]:
    points = corner_points(target, nontarget)
    return points.eer(), points.min_dcf(0.01)


def sklearn_rates(
    target: NDArray[np.float64], nontarget: NDArray[np.float64]
) -> tuple[float, float]:
    """What is usually written: the nearest step of the curve for the EER."""
    from sklearn.metrics import roc_curve

    labels = np.r_[np.ones(len(target), bool), np.zeros(len(nontarget), bool)]
    fmr, hits, _ = roc_curve(labels, np.r_[target, nontarget])
    fnmr = 1 - hits
    at = int(np.abs(fnmr - fmr).argmin())
    return float((fmr[at] + fnmr[at]) / 2), float((fnmr + 99 * fmr).min())


if __name__ == "__main__":
    main()
