"""Telephone sound: how surely it is told from wide-band speech, and what it does to thresholds.

python -m benchmarks.telephone detect --manifest outputs/pools/val.jsonl
python -m benchmarks.telephone trials --manifest outputs/pools/cal.jsonl --model groove-ecapa

``detect`` hears each of the list's utterances (6 s of it) as it is and through the four telephones
of groove/evaluation/card_pieces.py, also with noise added afterwards and quiet in 16 bits, and
counts how many are called telephone sound. ``trials`` scores all pairs of the list with both sides
wide-band, both through a telephone, and one of each, at the thresholds of 1 % false matches that
the first two give. The list's speakers may not be among those that the model was trained on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.synthetic_sounds import at_level, noise
from groove.api import Embedder
from groove.audio import SAMPLE_RATE, read_audio
from groove.evaluation.card_pieces import by_telephone
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
            for kind, sound in enumerate((whole, by_telephone(whole, utterance.utterance_id))):
                stream = detector.stream()
                stream.push(change(sound, seed))
                if (report := stream.report()).speech_s:
                    called[kind].append(report.is_narrow_band)
        wide, narrow = (f"{100 * np.mean(kind):.1f}" for kind in called)
        print(f"| {name} | {wide} | {narrow} |", flush=True)


def trials(utterances: list[Utterance], model: str) -> None:
    """A table: errors of each kind of trial at the thresholds of two kinds."""
    embedder = Embedder(model, threads=1)
    speakers, sides = [], []
    for utterance in utterances:
        whole = read_audio(utterance.path)
        sounds = (whole, by_telephone(whole, utterance.utterance_id))
        found = [embedder.examine((sound, SAMPLE_RATE)).embedding for sound in sounds]
        if found[0] is not None and found[1] is not None:
            speakers.append(utterance.speaker_id)
            sides.append(found)
    wide, narrow = (np.stack([side[i] for side in sides]) for i in (0, 1))  # [N, D] each
    same = np.array(speakers)[:, None] == np.array(speakers)
    other = ~np.eye(len(speakers), dtype=bool)  # not an utterance with itself
    kinds = {
        "wide-band, both": wide @ wide.T,
        "telephone, both": narrow @ narrow.T,
        "one of each": wide @ narrow.T,
    }
    limits = [float(np.quantile(s[~same], 1 - FMR)) for s in list(kinds.values())[:2]]
    print(f"{len(speakers)} utterances of {len(set(speakers))} speakers")
    heads = [f"FMR %, FNMR % at {limit:.3f}" for limit in limits]
    print(f"| sides | EER % | {heads[0]} (wide-band) | {heads[1]} (telephone) |")
    print("| --- | ---: | --- | --- |")
    for name, scores in kinds.items():
        target, nontarget = scores[same & other], scores[~same]
        rates = [
            f"{100 * np.mean(nontarget >= limit):.2f}, {100 * np.mean(target < limit):.1f}"
            for limit in limits
        ]
        print(f"| {name} | {100 * eer(target, nontarget):.2f} | {' | '.join(rates)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["detect", "trials"])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--model", default="groove-ecapa")
    parser.add_argument("--most", type=int, default=200, help="utterances that detect hears")
    given = parser.parse_args()
    listed = list(read_manifest(given.manifest))
    if given.what == "trials":
        trials(listed, given.model)
        return
    order = np.random.default_rng(1).permutation(len(listed))[: given.most]
    detect([listed[i] for i in order])


if __name__ == "__main__":
    main()
