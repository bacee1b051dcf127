"""All-pairs EER of a model on the evaluation pool, through Groove, with speaker-level intervals.

python benchmarks/eval_pairs.py --speech SPEECH --model campplus-zh-en

One pass over the whole utterance against crops, overall and per corpus; then the false-match rate
that was promised against the one that is found. The pool is used for reporting only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.pools import PoolUtterance, read_pool
from groove.api import Embedder, Verifier
from groove.bootstrap import bootstrap_interval
from groove.curve import DetPoints
from groove.embedder import Examined
from groove.verifier import channel_of

SETTINGS: dict[str, dict[str, float]] = {
    "whole utterance": {},
    "6 crops of 3 s": {"num_crops": 6, "crop_sec": 3.0},
    "6 crops of 2 s": {"num_crops": 6, "crop_sec": 2.0},
    "1 crop of 3 s": {"num_crops": 1, "crop_sec": 3.0},
}


def embed(
    pool: list[PoolUtterance], model: str, settings: dict[str, float]
) -> tuple[list[Examined], int]:
    embedder = Embedder(model, **settings)  # type: ignore[arg-type]
    examined = [embedder.examine(u.path) for u in pool]
    return examined, sum(item.embedding is None for item in examined)


def report(name: str, speakers: list[str], embeddings: NDArray[np.float32]) -> None:
    scores = embeddings @ embeddings.T
    i, j = np.triu_indices(len(speakers), 1)
    who = np.array(speakers)
    same = who[i] == who[j]
    values = scores[i, j]
    interval = bootstrap_interval(
        DetPoints.eer,
        values[same],
        values[~same],
        who[i[same]],
        np.stack([who[i[~same]], who[j[~same]]], axis=1),
    )
    print(
        f"| {name} | {len(set(speakers))} | {same.sum()} / {(~same).sum()} | "
        f"{100 * interval.value:.2f} | {100 * interval.low:.2f} to {100 * interval.high:.2f} |",
        flush=True,
    )


def promised(pool: list[PoolUtterance], examined: list[Examined], model: str) -> None:
    """False-match and false non-match rate at the thresholds that the verifier would use."""
    print("\n| promised FMR | found FMR | found FNMR |\n| --- | --- | --- |")
    for fmr in (0.1, 0.05, 0.01, 0.005, 0.001):
        verifier = Verifier(model, fmr=fmr)
        wrong = {True: 0, False: 0}
        total = {True: 0, False: 0}
        for i, a in enumerate(examined):
            for j in range(i):
                b = examined[j]
                if a.embedding is None or b.embedding is None:
                    continue
                same = pool[i].speaker_id == pool[j].speaker_id
                score = float(a.embedding @ b.embedding)
                judged = verifier.judge(
                    score,
                    min(a.speech.speech_s, b.speech.speech_s),
                    channel=channel_of(a.speech.is_narrow_band, b.speech.is_narrow_band),
                )
                accepted = judged.decision == "same"
                wrong[same] += accepted != same
                total[same] += 1
        print(
            f"| {fmr:.1%} | {wrong[False] / total[False]:.2%} ({wrong[False]} of {total[False]}) "
            f"| {wrong[True] / total[True]:.2%} ({wrong[True]} of {total[True]}) |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--model", default="campplus-zh-en")
    given = parser.parse_args()
    pool = read_pool(given.speech / "eval")
    print("| what | speakers | target / non-target | EER % | 95 % interval |")
    print("| --- | --- | --- | --- | --- |")
    for name, settings in SETTINGS.items():
        examined, n_refused = embed(pool, given.model, settings)
        assert not n_refused, f"{n_refused} utterances were refused"
        embeddings = np.array([item.embedding for item in examined])
        report(name, [u.speaker_id for u in pool], embeddings)
        if settings:
            continue
        whole = examined
        for corpus in sorted({u.corpus for u in pool}):
            own = [k for k, u in enumerate(pool) if u.corpus == corpus]
            report(f"{name}, {corpus}", [pool[k].speaker_id for k in own], embeddings[own])
    if Embedder(given.model).encoder.card.thresholds:  # a checkpoint of training promises nothing
        promised(pool, whole, given.model)


if __name__ == "__main__":
    main()
