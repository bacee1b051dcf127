"""How `groove embed` uses the cores: one worker, a worker a core, one session with many threads.

python benchmarks/embed_speed.py FOLDER [--model groove-ecapa] [--most 120] [--rounds 3]

FOLDER holds recordings. The three ways take turns; each round embeds all recordings anew, decoding
and speech detection included. Prints the median of audio seconds per second, least and most, and
what share of one session with as many threads as cores each way reaches.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from groove.api import Embedder
from groove.bulk import Recording, embed_many, find_recordings


def audio_s_per_s(recordings: list[Recording], model: str, workers: int, threads: int) -> float:
    """Of one round; the model is opened before the clock runs."""
    embedder = Embedder(model, threads=threads)
    embedder.examine(recordings[0].path)
    with tempfile.TemporaryDirectory() as folder:
        summary = embed_many(recordings, embedder, Path(folder), workers=workers)
    return summary.audio_s / summary.elapsed_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--model", default="groove-ecapa")
    parser.add_argument("--most", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    recordings = find_recordings(Path(given.folder))[: given.most]
    cores = os.cpu_count() or 1
    ways = {"one worker": (1, 1), f"{cores} workers": (cores, 1)}
    ways[f"one session, {cores} threads"] = (1, cores)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, (workers, threads) in ways.items():
            found[name].append(audio_s_per_s(recordings, given.model, workers, threads))
    base = np.median(list(found.values())[-1])
    print(f"{given.model}, {len(recordings)} recordings, {cores} cores")
    for name, rates in found.items():
        print(
            f"{name:24} {np.median(rates):6.0f} audio s/s ({min(rates):.0f} to {max(rates):.0f}), "
            f"{np.median(rates) / base:.2f} of the last"
        )


if __name__ == "__main__":
    main()
