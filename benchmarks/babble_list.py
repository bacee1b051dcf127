"""A list's recordings once more, each under voices that talk at the same time.

python benchmarks/babble_list.py --speech SPEECH --list outputs/pools/val.jsonl --out FOLDER

FOLDER gets the recordings and a list of the same name. Six voices of SPEECH/unlabelled at once, at
5 dB, drawn by seed for each utterance: a kind of noise that benchmarks/ablation.py trains no row
with.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import degrade
from benchmarks.pools import read_pool
from groove.audio import read_audio
from groove.bench import wav_bytes
from groove.manifest import read_manifest, write_manifest

SEED, N_VOICES, SNR_DB = 20261127, 6, 5.0


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--list", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    voices = [read_audio(u.path) for u in read_pool(given.speech / "unlabelled")]
    written = []
    for i, utterance in enumerate(read_manifest(given.list)):
        rng = np.random.default_rng([SEED, zlib.crc32(utterance.utterance_id.encode())])
        waveform = read_audio(utterance.path)
        drawn = rng.choice(len(voices), N_VOICES, replace=False)
        noise = degrade.babble([voices[k] for k in drawn], len(waveform), rng)
        path = given.out / f"{i:05d}.wav"
        path.write_bytes(wav_bytes(degrade.add_noise(waveform, noise, SNR_DB, rng)))
        written.append(replace(utterance, path=path))
    write_manifest(written, given.out / given.list.name)


if __name__ == "__main__":
    main()
