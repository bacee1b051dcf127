"""The encoder of a waveform-in file against the bare network, by onnxruntime alone.

python benchmarks/bare_network.py model.onnx features-in.onnx [--seconds 3 10] [--threads 1 2]

Both files are of one network: `groove export` with `--input waveform` and `--input fbank`. The
bare network gets features that were computed before the clock runs; the other one is asked as
Groove asks it (`OnnxEncoder`). Turns alternate; what counts is the ratio of the fastest.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from groove.audio import SAMPLE_RATE
from groove.encoder import OnnxEncoder
from groove.fbank import log_mel
from groove.runtime import open_session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("waveform_in")
    parser.add_argument("features_in")
    parser.add_argument("--seconds", type=float, nargs="*", default=[3, 10])
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    print("| audio s | threads | bare network ms | whole encoder ms | whole / bare |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for threads in given.threads:
        encoder = OnnxEncoder(given.waveform_in, threads=threads)
        session = open_session(given.features_in, threads=threads)
        name = session.get_inputs()[0].name
        for seconds in given.seconds:
            rng = np.random.default_rng(0)
            waveform = 0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE)).astype(np.float32)
            frames = log_mel(waveform, encoder.card.fbank)[None]
            best = {"bare": np.inf, "whole": np.inf}
            for _ in range(given.rounds):
                for what in best:
                    started = time.perf_counter()
                    if what == "bare":
                        session.run(None, {name: frames})
                    else:
                        encoder(waveform[None])
                    best[what] = min(best[what], time.perf_counter() - started)
            bare, whole = 1e3 * best["bare"], 1e3 * best["whole"]
            print(f"| {seconds:g} | {threads} | {bare:.1f} | {whole:.1f} | {whole / bare:.3f} |")


if __name__ == "__main__":
    main()
