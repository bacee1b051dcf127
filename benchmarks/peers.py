"""Groove beside Resemblyzer, sherpa-onnx and eager PyTorch, in one run, on this machine.

python benchmarks/peers.py --model campplus-zh-en --peers-python PYTHON --groove-python PYTHON \
    --checkpoint campplus_cn_en_common.pt A.wav B.wav

PYTHON: one environment with the peers' packages (requirements/bench-peers.txt), one with Groove's
base install. Cold runs are whole processes, alternated (A B C D A B C D ...), so that a noisy
machine is noisy for all of them; steady runs embed the same utterance in one process each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

RESEMBLYZER = """
import sys, time, numpy as np
from resemblyzer import VoiceEncoder, preprocess_wav
encoder = VoiceEncoder("cpu", verbose=False)
def embed(path): return encoder.embed_utterance(preprocess_wav(path))
"""

SHERPA = """
import sys, time, numpy as np, sherpa_onnx, soundfile
config = sherpa_onnx.SpeakerEmbeddingExtractorConfig(model={sherpa_model!r}, num_threads={threads})
extractor = sherpa_onnx.SpeakerEmbeddingExtractor(config)
def embed(path):
    samples, rate = soundfile.read(path, dtype="float32")
    stream = extractor.create_stream()
    stream.accept_waveform(rate, samples)
    stream.input_finished()
    return np.array(extractor.compute(stream))
"""

PYTORCH = """
import sys, time, numpy as np, torch, soundfile
sys.path.insert(0, {root!r})
torch.set_num_threads({threads})
from groove.training.importers import import_checkpoint
from groove.training.encoder import TorchEncoder
imported = import_checkpoint({checkpoint!r}, "3dspeaker-campplus")
encoder = TorchEncoder(imported.module, imported.card)
def embed(path):
    samples, rate = soundfile.read(path, dtype="float32")
    return np.asarray(encoder(samples[None]))[0]
"""

GROOVE = """
import sys, time, numpy as np, groove
embedder = groove.Embedder({model!r}, threads={threads})
def embed(path): return embedder.embed(path)
"""

COLD = """
a, b = embed(sys.argv[1]), embed(sys.argv[2])
print(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
"""

STEADY = """
embed(sys.argv[1])
times = []
for _ in range(7):
    started = time.perf_counter()
    embed(sys.argv[1])
    times.append(time.perf_counter() - started)
print(sorted(times)[3])
"""


def run(python: str, code: str, *arguments: str) -> tuple[str, float, float]:
    """What a process printed, its seconds, its peak resident MiB."""
    import os

    started = time.perf_counter()
    process = subprocess.Popen(
        [python, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tempfile.gettempdir(),
    )
    assert process.stdout is not None and process.stderr is not None
    out = process.stdout.read().decode()
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(said)
    return out, time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs=2)
    parser.add_argument("--model", required=True, help="a Groove model file")
    parser.add_argument("--sherpa-model", required=True, help="made by make_sherpa_model.py")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--groove-python", default=sys.executable)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--repeat", type=int, default=7)
    given = parser.parse_args()
    settings = {
        "model": str(Path(given.model).resolve()),
        "sherpa_model": str(Path(given.sherpa_model).resolve()),
        "checkpoint": str(Path(given.checkpoint).resolve()),
        "root": str(ROOT),
    }
    systems = {
        "groove": (given.groove_python, GROOVE),
        "sherpa-onnx": (given.peers_python, SHERPA),
        "Resemblyzer": (given.peers_python, RESEMBLYZER),
        "eager PyTorch": (given.torch_python, PYTORCH),
    }
    recordings = [str(Path(path).resolve()) for path in given.recordings]
    cold(systems, settings, recordings, given.repeat)
    steady(systems, settings, recordings)


def cold(
    systems: dict[str, tuple[str, str]],
    settings: dict[str, str],
    recordings: list[str],
    repeat: int,
) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    peaks: dict[str, float] = {}
    for round_ in range(repeat + 1):  # the first fills the file cache and is not counted
        for name, (python, code) in systems.items():
            whole = code.format(threads=2, **settings) + COLD
            _, elapsed, peak = run(python, whole, *recordings)
            if round_:
                seconds[name].append(elapsed)
            peaks[name] = max(peak, peaks.get(name, 0.0))
    print("| cold, two files | median s | min to max | groove's share of it | peak MiB |")
    print("| --- | --- | --- | --- | --- |")
    ours = statistics.median(seconds["groove"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"| {name} | {median:.2f} | {min(values):.2f} to {max(values):.2f} | "
            f"{ours / median:.2f} | {peaks[name]:.0f} |",
            flush=True,
        )


def steady(
    systems: dict[str, tuple[str, str]], settings: dict[str, str], recordings: list[str]
) -> None:
    print("\n| steady, audio s per s | " + " | ".join(systems) + " |")
    print("| --- |" + " --- |" * len(systems))
    with tempfile.TemporaryDirectory() as folder:
        for threads in (1, 2):
            for length in (3, 10, 60):
                path = str(Path(folder) / f"{length}.wav")
                write_utterance(recordings, length, path)
                row = []
                for python, code in systems.values():
                    limited = f"import os\nos.environ['OMP_NUM_THREADS'] = '{threads}'\n"
                    whole = limited + code.format(threads=threads, **settings) + STEADY
                    row.append(length / float(run(python, whole, path)[0]))
                shown = " | ".join(f"{value:.0f}" for value in row)
                print(f"| {length} s, {threads} threads | {shown} |", flush=True)


def write_utterance(recordings: list[str], seconds: int, path: str) -> None:
    """Speech of the two recordings, repeated to ``seconds``."""
    sys.path.insert(0, str(ROOT))
    import numpy as np

    from groove.audio import SAMPLE_RATE, read_audio
    from groove.bench import wav_bytes

    speech = np.concatenate([read_audio(name) for name in recordings])
    n = seconds * SAMPLE_RATE
    Path(path).write_bytes(wav_bytes(np.tile(speech, -(-n // len(speech)))[:n]))


if __name__ == "__main__":
    print(json.dumps({"argv": [Path(a).name for a in sys.argv]}))
    main()
