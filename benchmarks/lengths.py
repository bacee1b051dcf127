"""Models or checkpoints on one list, at several lengths: EER and the difference from the first.

python benchmarks/lengths.py --manifest outputs/pools/val.jsonl --lengths 8 2 1 \
    --model checkpoints/groove-ecapa.pt --model outputs_trial/last.pt

All pairs of the list's utterances, each cut to the middle so many seconds (shorter ones are
repeated to fill it, whole ones stay as they are: the first length is a ceiling). Nothing is
refused and no speech is looked for, so that every model sees the same samples. Intervals by 1,000
draws of the speakers, differences paired. --power also shows each checkpoint whitened by as much
(groove/training/whitening.py), its covariance from --whiten-on. --speakers draws so many of the
list that have --least utterances, by seed: of the training list, how well it knows those it knows.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.conditions import BOTH, Item, Trials
from groove.audio import SAMPLE_RATE, read_audio
from groove.bootstrap import Draws
from groove.encoder import Encoder
from groove.loading import open_encoder
from groove.manifest import Utterance, read_manifest
from groove.training.whitening import turn_of


def chosen(listed: list[Utterance], speakers: int, least: int, seed: int) -> list[Utterance]:
    """All utterances, or those of some speakers that have enough, drawn by seed."""
    if not speakers:
        return listed
    own: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in listed:
        own[utterance.speaker_id].append(utterance)
    rich = sorted(speaker for speaker, found in own.items() if len(found) >= least)
    drawn = np.random.default_rng(seed).permutation(rich)[:speakers].tolist()
    return [utterance for speaker in sorted(drawn) for utterance in own[speaker]]


def middle(waveform: NDArray[np.float32], seconds: float, *, ceiling: bool) -> NDArray[np.float32]:
    """The middle so many seconds [S]; a shorter waveform is repeated, or stays as it is."""
    n = round(seconds * SAMPLE_RATE)
    start = max(0, (len(waveform) - n) // 2)
    cut = waveform[start : start + n]
    return cut if ceiling or len(cut) == n else np.resize(cut, n)


def embeddings(
    encoder: Encoder,
    listed: list[Utterance],
    lengths: list[float],
    label: str,
    *,
    from_start: bool = False,
) -> list[NDArray[np.float64]]:
    """Of each length [N, D], not length-normalised."""
    rows: list[list[NDArray[np.float32]]] = [[] for _ in lengths]
    with click.progressbar(listed, label=label, file=sys.stderr) as items:
        for utterance in items:
            waveform = read_audio(utterance.path)
            for i, seconds in enumerate(lengths):
                cut = middle(waveform, seconds, ceiling=i == 0)
                if from_start:  # as scripts/whiten.py hears them
                    cut = waveform[: len(cut)]
                rows[i].append(encoder(cut[None])[0])
    return [np.array(found, dtype=np.float64) for found in rows]


def draws_of(rows: NDArray[np.float64], who: NDArray[np.int64], n_draws: int) -> Draws:
    """EER and minDCF of all pairs, for draws of the speakers."""
    items = [Item(Path(), str(speaker), "all", BOTH) for speaker in who]
    return Trials.of(items, rows, np.arange(len(rows))).draws(n_draws)


def cell(found: Draws, first: Draws | None) -> str:
    """EER with its interval, minDCF, and how far the EER is from the first model's."""
    eer, cost = found.interval("eer"), found.interval("min_dcf")
    text = f"{100 * eer.value:.2f} ({100 * eer.low:.2f} to {100 * eer.high:.2f}) | {cost.value:.3f}"
    if first is None:
        return f"{text} |"
    apart = found.minus(first, "eer")
    values = (100 * x for x in (apart.difference, apart.low, apart.high))
    return f"{text} | {{:+.2f}} ({{:+.2f}} to {{:+.2f}})".format(*values)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--model", action="append", dest="models", required=True)
    parser.add_argument("--lengths", type=float, nargs="+", default=[8.0, 2.0, 1.0])
    parser.add_argument("--power", type=float, nargs="*", default=[])
    parser.add_argument("--whiten-on", type=Path, help="a manifest: for the covariance")
    parser.add_argument("--most", type=int, default=2500, help="of its utterances, by seed")
    parser.add_argument("--speakers", type=int, default=0)
    parser.add_argument("--least", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--draws", type=int, default=1000)
    given = parser.parse_args()
    if given.power and not given.whiten_on:
        parser.error("--power wants --whiten-on: utterances that the covariance is taken of")
    listed = chosen(list(read_manifest(given.manifest)), given.speakers, given.least, given.seed)
    who = np.unique([utterance.speaker_id for utterance in listed], return_inverse=True)[1]
    print(f"{len(listed)} utterances of {who.max() + 1} speakers\n")
    print("| model | length s | EER % | minDCF 0.01 | EER against the first, points |")
    print("| --- | ---: | --- | --- | --- |", flush=True)
    first: list[Draws] = []
    for model in given.models:
        encoder = open_encoder(model, threads=1)
        whole = embeddings(encoder, listed, given.lengths, model)
        kinds = {model: np.eye(whole[0].shape[1])}
        if given.power:
            other = list(read_manifest(given.whiten_on))
            kept = np.random.default_rng(0).permutation(len(other))[: given.most]
            taken = [other[i] for i in np.sort(kept)]
            (rows,) = embeddings(encoder, taken, given.lengths[:1], "covariance", from_start=True)
            kinds |= {f"{model}, whitened by {p:g}": turn_of(rows, p) for p in given.power}
        for name, turn in kinds.items():
            for i, seconds in enumerate(given.lengths):
                found = draws_of(whole[i] @ turn.T, who, given.draws)
                against = first[i] if len(first) > i else None
                if against is None:
                    first.append(found)
                print(f"| {name} | {seconds:g} | {cell(found, against)} |", flush=True)


if __name__ == "__main__":
    main()
