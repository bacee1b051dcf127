"""How long it takes to find one voice among a million, and what faiss takes for the same.

    OPENBLAS_NUM_THREADS=1 python benchmarks/identify_speed.py [--people 1000000] [--size 192]

Random unit vectors stand for voices: exact search takes as long for any vectors. The store is made
(not timed), then a fresh process loads it and searches, so that its peak memory is that of use.
With `faiss-cpu` installed, its exact index (Flat, inner product) searches the same vectors in the
same process, afterwards. One BLAS thread: Groove's own two threads share the blocks.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from groove.models import entry
from groove.scoring import Calibration
from groove.voiceprints import tables
from groove.voiceprints.identification import llrs_of, posteriors
from groove.voiceprints.people import ModelTag, NewUtterance
from groove.voiceprints.store import VoiceprintStore

BLOCK, SEED, TOP, REPEAT = 10_000, 20261124, 5, 21


def tag_of(size: int) -> ModelTag:
    return ModelTag("0" * 64, "0" * 16, "random vectors", size)


def vectors(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    rows = rng.standard_normal((n, size), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make(path: Path, n_people: int, size: int) -> None:
    """A store of so many people with one utterance each, through the store's own statements."""
    rng, tag = np.random.default_rng(SEED), tag_of(size)
    store = VoiceprintStore(path)
    for start in range(0, n_people, BLOCK):
        with store._database.writing() as transaction:
            model_key = tables.model_key_of(transaction, tag)
            for i, row in enumerate(vectors(min(BLOCK, n_people - start), size, rng)):
                key = tables.insert_person(transaction, f"person {start + i}")
                utterance = NewUtterance(row, 5.0, 4.0)
                blob = tables.to_blob(row, tag)
                tables.insert_utterance(transaction, key, model_key, utterance, blob)


def milliseconds(work: Callable[[], object]) -> dict[str, float]:
    work()
    seconds = []
    for _ in range(REPEAT):
        started = time.perf_counter()
        work()
        seconds.append(1000 * (time.perf_counter() - started))
    return {"min_ms": min(seconds), "median_ms": statistics.median(seconds), "max_ms": max(seconds)}


def measure(path: Path, size: int, with_faiss: bool) -> dict[str, object]:
    started = time.perf_counter()
    gallery = VoiceprintStore(path).gallery(tag_of(size))
    load_s = time.perf_counter() - started
    query = vectors(1, size, np.random.default_rng(1))[0]
    calibration = Calibration.from_dict(entry("campplus-zh-en").card["calibration"])

    def search() -> np.ndarray:
        return gallery.best(gallery.scores(query), TOP)

    def search_and_weigh() -> None:
        scores = gallery.scores(query)
        best = gallery.best(scores, TOP)
        posteriors(llrs_of(calibration, scores, gallery.speech_s, 4.0), best)

    result: dict[str, object] = {"people": len(gallery), "size": size, "load_s": load_s}
    result["search"] = milliseconds(search)
    result["search and probabilities"] = milliseconds(search_and_weigh)
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    if with_faiss:
        result["faiss"] = against_faiss(gallery.matrix, query, search())
    return result


def against_faiss(matrix: np.ndarray, query: np.ndarray, ours: np.ndarray) -> dict[str, object]:
    try:
        import faiss
    except ImportError:
        return {"installed": False}
    faiss.omp_set_num_threads(2)
    started = time.perf_counter()
    index = faiss.IndexFlatIP(matrix.shape[1])
    index.add(matrix)
    load_s = time.perf_counter() - started
    _, found = index.search(query[None], TOP)
    same = found[0].tolist() == ours.tolist()
    times = milliseconds(lambda: index.search(query[None], TOP))
    return {"version": faiss.__version__, "add_s": load_s, "same_answer": same, **times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--faiss", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.size, given.faiss), indent=1))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.db"
        make(path, given.people, given.size)
        print(f"store: {path.stat().st_size / 1e6:.0f} MB on disk, {os.cpu_count()} cores")
        again = [sys.executable, __file__, "--measure", str(path), "--size", str(given.size)]
        subprocess.run(again, check=True)
        subprocess.run([*again, "--faiss"], check=True)


if __name__ == "__main__":
    main()
