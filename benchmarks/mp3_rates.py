"""What low-rate mp3 does to errors: pairs of a list, both sides or one of them through the coder.

python benchmarks/mp3_rates.py --manifest outputs/pools/val.jsonl --model groove-ecapa

Every second utterance of the list, coded by libsndfile's LAME at a constant rate; the threshold is
that of 1 % false matches of the same utterances as they are. The rates are those measured on the
files, for a level of compression names no rate.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from groove.api import Embedder
from groove.audio import SAMPLE_RATE, read_audio
from groove.manifest import read_manifest
from groove.metrics import eer

LEVELS = (0.7, 0.8, 0.85, 0.9, 0.95)
FMR = 0.01


def coded(waveform: NDArray[np.float32], level: float) -> bytes:
    """An mp3 file."""
    file = io.BytesIO()
    settings = {"compression_level": level, "bitrate_mode": "CONSTANT"}
    soundfile.write(file, waveform, SAMPLE_RATE, format="MP3", **settings)
    return file.getvalue()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--model", default="groove-ecapa")
    given = parser.parse_args()
    embedder = Embedder(given.model, threads=1)
    speakers, rows = [], []
    n_bits, seconds = np.zeros(len(LEVELS)), 0.0
    for utterance in list(read_manifest(given.manifest))[::2]:
        waveform = read_audio(utterance.path)
        files = [coded(waveform, level) for level in LEVELS]
        found = [embedder.examine(s).embedding for s in ((waveform, SAMPLE_RATE), *files)]
        kept = [embedding for embedding in found if embedding is not None]
        if len(kept) == len(found):
            speakers.append(utterance.speaker_id)
            rows.append(np.stack(kept))
            n_bits += [8 * len(file) for file in files]
            seconds += len(waveform) / SAMPLE_RATE
    sides, who = np.stack(rows), np.array(speakers)  # [N, 1 + levels, D], [N]
    same, other = who[:, None] == who, ~np.eye(len(who), dtype=bool)
    plain = sides[:, 0] @ sides[:, 0].T
    limit = float(np.quantile(plain[~same], 1 - FMR))
    print(f"{len(who)} utterances of {len(set(speakers))} speakers, threshold {limit:.3f}")
    print("| sides | EER % | FMR % | FNMR % |\n| --- | ---: | ---: | ---: |")
    names = ["as it is", *(f"mp3 {rate:.0f} kbit/s" for rate in n_bits / seconds / 1000)]
    for i, name in enumerate(names):
        for j in {i, 0}:
            scores = sides[:, i] @ sides[:, j].T
            target, nontarget = scores[same & other], scores[~same]
            print(
                f"| {name}, {'both' if i == j else 'the other as it is'} | "
                f"{100 * eer(target, nontarget):.2f} | {100 * np.mean(nontarget >= limit):.2f} | "
                f"{100 * np.mean(target < limit):.1f} |"
            )


if __name__ == "__main__":
    main()
