"""Telephone sound: how surely it is told from wide-band speech, and what it does to thresholds.

python -m benchmarks.telephone detect --manifest outputs/pools/val.jsonl
python -m benchmarks.telephone trials --manifest outputs/pools/cal.jsonl \
    --tested outputs/pools/val.jsonl --model groove-ecapa

``detect`` hears each of the list's utterances (6 s of it) as it is and through one of the
telephones of groove/evaluation/card_pieces.py, also with noise added afterwards and quiet in 16
bits, and counts how many are called telephone sound. ``trials`` takes from one list the thresholds
of 1 % false matches of the wide band and of each telephone, both sides through it, and scores all
pairs of another, through every two channels, at the wide band's threshold and the stricter one of
the telephones. The lists' speakers may not be among those that the model was trained on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.synthetic_sounds import at_level, noise
from groove.api import Embedder
from groove.audio import SAMPLE_RATE, read_audio
from groove.evaluation.card_pieces import TELEPHONES, by_telephone, by_turns
from groove.evaluation.card_trials import WIDE_BAND
from groove.manifest import Utterance, read_manifest
from groove.metrics import eer
from groove.speech import SpeechDetector

Waveform = NDArray[np.float32]
HEARD_S = 6.0
FMR = 0.01


def added(sound: Waveform, exponent: float, snr_db: float, seed: int) -> Waveform:
    """With noise whose power falls as frequency^-exponent, by the ratio of mean powers."""
    level = 10 * np.log10(max(float(np.mean(sound.astype(np.float64) ** 2)), 1e-12))
    return sound + at_level(noise(exponent, len(sound) / SAMPLE_RATE, seed), level - snr_db)[
        : len(sound)
    ].astype(np.float32)


def quiet(sound: Waveform) -> Waveform:
    """At -55 dBFS, in 16 bits."""
    return (np.rint(at_level(sound, -55.0) * 32768) / 32768).astype(np.float32)


AFTER: dict[str, Callable[[Waveform, int], Waveform]] = {
    "as it is": lambda sound, seed: sound,
    "white noise, 50 dB": lambda sound, seed: added(sound, 0.0, 50, seed),
    "white noise, 40 dB": lambda sound, seed: added(sound, 0.0, 40, seed),
    "white noise, 30 dB": lambda sound, seed: added(sound, 0.0, 30, seed),
    "pink noise, 30 dB": lambda sound, seed: added(sound, 1.0, 30, seed),
    "-55 dBFS in 16 bits": lambda sound, seed: quiet(sound),
}


def detect(utterances: list[Utterance]) -> None:
    """A table: the share that is called telephone sound."""
    detector = SpeechDetector()
    print("| what is done afterwards | wide-band % | by telephone % |\n| --- | ---: | ---: |")
    for name, change in AFTER.items():
        called: list[list[bool]] = [[], []]
        for seed, utterance in enumerate(utterances):
            whole = read_audio(utterance.path)[: round(HEARD_S * SAMPLE_RATE)]
            name_of = utterance.utterance_id
            call = by_telephone(whole, name_of, by_turns(name_of))
            for kind, sound in enumerate((whole, call)):
                stream = detector.stream()
                stream.push(change(sound, seed))
                if (report := stream.report()).speech_s:
                    called[kind].append(report.is_narrow_band)
        wide, narrow = (f"{100 * np.mean(kind):.1f}" for kind in called)
        print(f"| {name} | {wide} | {narrow} |", flush=True)


Sides = dict[str, NDArray[np.float32]]  # channel -> [N, D]


def heard(utterances: list[Utterance], embedder: Embedder) -> tuple[NDArray[np.str_], Sides]:
    """The speaker of each utterance, and its embedding through every channel."""
    speakers, rows = [], []
    for utterance in utterances:
        whole = read_audio(utterance.path)
        calls = [by_telephone(whole, utterance.utterance_id, channel) for channel in TELEPHONES]
        found = [embedder.examine((sound, SAMPLE_RATE)).embedding for sound in (whole, *calls)]
        kept = [embedding for embedding in found if embedding is not None]
        if len(kept) == len(found):
            speakers.append(utterance.speaker_id)
            rows.append(kept)
    sides = np.stack([np.stack(row) for row in rows], axis=1)
    return np.array(speakers), dict(zip((WIDE_BAND, *TELEPHONES), sides, strict=True))


def pairs(speakers: NDArray[np.str_], a: NDArray[Any], b: NDArray[Any]) -> tuple[Any, Any]:
    """Scores of one voice and of two, an utterance never with itself."""
    scores, same = a @ b.T, speakers[:, None] == speakers
    return scores[same & ~np.eye(len(speakers), dtype=bool)], scores[~same]


def trials(measured: list[Utterance], tested: list[Utterance], model: str) -> None:
    """A table: errors of each kind of trial, at the wide band's threshold and the telephone's."""
    embedder = Embedder(model, threads=1)
    speakers, sides = heard(measured, embedder)
    found = [float(np.quantile(pairs(speakers, side, side)[1], 1 - FMR)) for side in sides.values()]
    limits = found[0], max(found[1:])
    print(", ".join(f"{channel}: {x:.4f}" for channel, x in zip(sides, found, strict=True)))
    speakers, sides = heard(tested, embedder)
    print(f"{len(speakers)} utterances of {len(set(speakers))} speakers")
    heads = [f"FMR %, FNMR % at {limit:.3f}" for limit in limits]
    print(f"| sides | EER % | {heads[0]} (wide band) | {heads[1]} (telephone) |")
    print("| --- | ---: | --- | --- |")
    for one, other in combinations_with_replacement(sides, 2):
        target, nontarget = pairs(speakers, sides[one], sides[other])
        rates = [
            f"{100 * np.mean(nontarget >= limit):.2f}, {100 * np.mean(target < limit):.1f}"
            for limit in limits
        ]
        name = f"{one}, both" if one == other else f"{one} and {other}"
        print(f"| {name} | {100 * eer(target, nontarget):.2f} | {' | '.join(rates)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["detect", "trials"])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--tested", type=Path, help="whose trials are scored; else --manifest")
    parser.add_argument("--model", default="groove-ecapa")
    parser.add_argument("--most", type=int, default=200, help="utterances that detect hears")
    given = parser.parse_args()
    listed = list(read_manifest(given.manifest))
    if given.what == "trials":
        trials(listed, list(read_manifest(given.tested or given.manifest)), given.model)
        return
    order = np.random.default_rng(1).permutation(len(listed))[: given.most]
    detect([listed[i] for i in order])


if __name__ == "__main__":
    main()
