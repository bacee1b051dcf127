"""What raising quiet recordings does to CAM++ by 3D-Speaker: EER by level and `min_rms`.

python benchmarks/quiet.py --speech SPEECH --checkpoint campplus_cn_en_common.pt
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.pools import PoolUtterance, read_pool
from groove.audio import read_audio
from groove.metrics import eer
from groove.training.encoder import EncoderModule, TorchEncoder
from groove.training.importers import import_checkpoint

N_SPEAKERS, N_UTTERANCES, SEED = 250, 3, 1
LIMITS = (0.0, 0.02, 0.04, 0.06)


def chosen(pool: list[PoolUtterance], rng: np.random.Generator) -> list[PoolUtterance]:
    """Three utterances each of 250 speakers."""
    files = Counter(u.speaker_id for u in pool)
    speakers = sorted(s for s in files if files[s] >= N_UTTERANCES)
    drawn, used = set(rng.choice(speakers, N_SPEAKERS, replace=False)), Counter[str]()
    kept = []
    for u in pool:
        if u.speaker_id in drawn and used[u.speaker_id] < N_UTTERANCES:
            used[u.speaker_id] += 1
            kept.append(u)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    given = parser.parse_args()
    rng = np.random.default_rng(SEED)
    utterances = chosen(read_pool(given.speech / "train"), rng)
    loud = [read_audio(u.path) for u in utterances]
    gains = 10 ** (-rng.uniform(20, 40, len(loud)) / 20)
    quiet = [w * np.float32(g) for w, g in zip(loud, gains, strict=True)]
    speakers = np.array([u.speaker_id for u in utterances])
    imported = import_checkpoint(given.checkpoint, "3dspeaker-campplus")
    print(
        "| min_rms | natural level | one side down | both sides down |\n| --- | --- | --- | --- |"
    )
    for limit in LIMITS:
        card = replace(imported.card, fbank=replace(imported.card.fbank, min_rms=limit))
        encoder = TorchEncoder(EncoderModule(card.fbank, imported.module.backbone), card)
        a, b = embed(encoder, loud), embed(encoder, quiet)
        figures = [100 * pairs_eer(*sides, speakers) for sides in ((a, a), (a, b), (b, b))]
        print(f"| {limit:g} | " + " | ".join(f"{x:.2f}" for x in figures) + " |", flush=True)


def embed(encoder: TorchEncoder, waveforms: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    rows = np.concatenate([encoder(waveform[None]) for waveform in waveforms])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pairs_eer(a: NDArray[np.float32], b: NDArray[np.float32], speakers: NDArray[np.str_]) -> float:
    i, j = np.triu_indices(len(speakers), 1)
    same = speakers[i] == speakers[j]
    scores = np.einsum("nd,nd->n", a[i], b[j])
    return eer(scores[same], scores[~same])


if __name__ == "__main__":
    main()
