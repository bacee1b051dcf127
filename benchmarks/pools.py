"""The speech pools as lists, and the conditions that are made from them by seed."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE, read_audio

GAP_S = 0.12  # between utterances that are joined


@dataclass(frozen=True)
class PoolUtterance:
    """One row of a pool's manifest.tsv."""

    path: Path
    corpus: str
    speaker_id: str
    language: str
    seconds: float


def read_pool(pool: Path) -> list[PoolUtterance]:
    """The utterances of a pool, in the manifest's order; speakers are unique across corpora."""
    with (pool / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        return [
            PoolUtterance(
                pool / row["path"],
                row["corpus"],
                f"{row['corpus']}/{row['speaker']}",
                row["language"],
                float(row["seconds"]),
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


def crop(
    waveform: NDArray[np.float32], seconds: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A seeded crop; the whole waveform where it is not longer."""
    n = round(seconds * SAMPLE_RATE)
    if len(waveform) <= n:
        return waveform
    start = int(rng.integers(len(waveform) - n + 1))
    return waveform[start : start + n]


def joined(
    utterances: list[PoolUtterance], seconds: float
) -> list[tuple[str, list[PoolUtterance]]]:
    """Groups of one speaker's utterances that last ``seconds`` together; nothing is used twice."""
    by_speaker: dict[str, list[PoolUtterance]] = defaultdict(list)
    for utterance in utterances:
        by_speaker[utterance.speaker_id].append(utterance)
    groups = []
    for speaker_id, own in by_speaker.items():
        group: list[PoolUtterance] = []
        for utterance in own:
            group.append(utterance)
            if sum(u.seconds + GAP_S for u in group) >= seconds:
                groups.append((speaker_id, group))
                group = []
    return groups


def read_joined(group: list[PoolUtterance]) -> NDArray[np.float32]:
    """The group's utterances with short gaps between them."""
    gap = np.zeros(round(GAP_S * SAMPLE_RATE), np.float32)
    parts = [part for u in group for part in (read_audio(u.path), gap)]
    return np.concatenate(parts[:-1])
