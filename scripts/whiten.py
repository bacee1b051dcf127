"""Whiten a trained network's embedding space in part, without labels.

python scripts/whiten.py --ckpt outputs_builtin/best.pt --manifest outputs/pools/train.jsonl \
    --out outputs_builtin/whitened.pt

Embeds the list's utterances (the first 8 s of each, clean) and folds the change into the last
layer; see groove/training/whitening.py. Measure before and after on speakers of neither list.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # works where it was not installed

from groove.audio import SAMPLE_RATE, read_audio
from groove.errors import AudioError, GrooveError
from groove.manifest import read_manifest
from groove.training.checkpoint import load, load_encoder, save
from groove.training.encoder import TorchEncoder
from groove.training.whitening import DEFAULT_POWER, whitened

LONGEST_S = 8.0


def embeddings(ckpt: Path, manifest: Path, most: int) -> np.ndarray:
    """[N, D] of every utterance that can be read, or of ``most`` drawn by seed."""
    encoder, rows = TorchEncoder(*load_encoder(ckpt)), []
    listed = list(read_manifest(manifest))
    if most and most < len(listed):
        drawn = np.random.default_rng(0).permutation(len(listed))[:most]
        listed = [listed[i] for i in np.sort(drawn)]
    with click.progressbar(listed, label="embedding", file=sys.stderr) as items:
        for utterance in items:
            try:
                waveform = read_audio(utterance.path)[: round(LONGEST_S * SAMPLE_RATE)]
                rows.append(encoder(waveform[None])[0])
            except AudioError as error:
                sys.stderr.write(f"left out: {error}\n")
    return np.array(rows)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt", type=Path, required=True, help="a checkpoint of training")
    parser.add_argument("--manifest", type=Path, required=True, help="many speakers' utterances")
    parser.add_argument(
        "--power", type=float, default=DEFAULT_POWER, help="0: nothing; 0.5: wholly white"
    )
    parser.add_argument("--most", type=int, default=0, help="draw so many utterances; 0: all")
    parser.add_argument("--out", type=Path, required=True, help="the changed checkpoint")
    given = parser.parse_args()
    try:
        rows = embeddings(given.ckpt, given.manifest, given.most)
        found = whitened(load(given.ckpt), rows, power=given.power)
        save(found, given.out)
    except GrooveError as error:
        sys.exit(f"whiten: {error}")
    sys.stdout.write(f"{given.out}\n")


if __name__ == "__main__":
    main()
