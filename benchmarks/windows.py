"""What the ceiling of one pass costs: speed and memory of a long recording by window length.

python benchmarks/windows.py --model model.onnx RECORDING [RECORDING ...]

Ten minutes are made by repeating the recordings; each window length runs in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

WINDOWS_S = (5, 10, 30, 60, 120, 300, 600)

CODE = """
import dataclasses, resource, sys, time
import numpy as np
from groove.embedder import Embedder
from groove.encoder import OnnxEncoder
encoder = OnnxEncoder(sys.argv[1], threads=2)
encoder._card = dataclasses.replace(encoder.card, window_s=float(sys.argv[3]))
embedder = Embedder(encoder)
started = time.perf_counter()
embedding = embedder.embed(sys.argv[2])
elapsed = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
np.save(sys.argv[4], embedding)
print(elapsed, peak)
"""


def main() -> None:
    import numpy as np

    from groove.audio import SAMPLE_RATE, read_audio
    from groove.bench import wav_bytes

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--model", required=True)
    given = parser.parse_args()
    speech = np.concatenate([read_audio(path) for path in given.recordings])
    n = 600 * SAMPLE_RATE
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "long.wav"
        long.write_bytes(wav_bytes(np.tile(speech, -(-n // len(speech)))[:n]))
        print("| window s | audio s per s | peak MiB | cosine to one pass of 600 s |")
        print("| --- | --- | --- | --- |")
        rows = []
        for window in WINDOWS_S:
            out = Path(folder) / f"{window}.npy"
            command = [sys.executable, "-c", CODE, str(Path(given.model).resolve()), str(long)]
            done = subprocess.run(
                [*command, str(window), str(out)],
                capture_output=True,
                text=True,
                check=True,
                cwd=root,
            )
            rows.append((window, *map(float, done.stdout.split()), np.load(out)))
        for window, elapsed, peak, embedding in rows:
            cosine = float(embedding @ rows[-1][-1])
            print(f"| {window} | {600 / elapsed:.0f} | {peak:.0f} | {cosine:.4f} |")


if __name__ == "__main__":
    main()
