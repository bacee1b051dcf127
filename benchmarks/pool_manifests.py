"""Manifests of the speech pools, speaker-disjoint by seed: what the training experiments read.

python benchmarks/pool_manifests.py --speech SPEECH --out outputs/pools

Writes train.jsonl, val.jsonl (150 speakers with at least 4 utterances, for choosing), cal.jsonl
(150 more such speakers, for thresholds and calibration; used neither for training nor for choosing)
and unlabelled.jsonl. With --no-cal those speakers stay in training. Common Voice gives a person one
id in every language, so who is met again under another of its corpora, or among the unlabelled, is
in neither of the two sets that were held out, nor in any other. The evaluation pool is not read.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.pools import read_pool
from groove.manifest import Utterance, write_manifest

N_VAL, N_CAL, LEAST_UTTERANCES, SEED = 150, 150, 4, 20261125


def utterances(pool: Path) -> list[Utterance]:
    """A pool's manifest.tsv as utterances; ids are paths without suffix."""
    return [
        Utterance(
            str(u.path.relative_to(pool).with_suffix("")),
            u.speaker_id,
            u.path.resolve(),
            u.seconds,
            {"corpus": u.corpus, "language": u.language},
        )
        for u in read_pool(pool)
    ]


def person(speaker_id: str) -> str:
    """Who it is: parts of one collection (cv-en, cv-zh-CN) name a person alike."""
    corpus, _, name = speaker_id.partition("/")
    return f"{corpus.partition('-')[0]}/{name}"


def met_elsewhere(held_out: set[str], everyone: set[str]) -> set[str]:
    """The speakers of ``held_out`` who are among all the others of ``everyone`` by another id."""
    others = {person(speaker) for speaker in everyone - held_out}
    return {speaker for speaker in held_out if person(speaker) in others}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--no-cal", action="store_true", help="train on the third set as well")
    given = parser.parse_args()
    labelled = utterances(given.speech / "train")
    n_files = Counter(u.speaker_id for u in labelled)
    rich = sorted(speaker for speaker, n in n_files.items() if n >= LEAST_UTTERANCES)
    drawn = np.random.default_rng(SEED).permutation(rich).tolist()
    sets = {"val": set(drawn[:N_VAL]), "cal": set(drawn[N_VAL : N_VAL + N_CAL])}
    if given.no_cal:
        del sets["cal"]
    held_out = set().union(*sets.values())
    sets["train"] = set(n_files) - held_out
    nameless = utterances(given.speech / "unlabelled")
    heard = sets["train"] | {u.speaker_id for u in nameless}
    for name in sets.keys() - {"train"}:
        if known := met_elsewhere(sets[name], heard | held_out):
            print(f"{name}: left out, met elsewhere: {', '.join(sorted(known))}")
            sets[name] -= known
    for name, speakers in sets.items():
        chosen = [u for u in labelled if u.speaker_id in speakers]
        write_manifest(chosen, given.out / f"{name}.jsonl")
        print(f"{name}: {len(speakers)} speakers, {len(chosen)} utterances")
    # Nobody knows who they are: each is a speaker of its own, and none is trained on by name.
    unlabelled = [replace(u, utterance_id=f"unlabelled/{u.utterance_id}") for u in nameless]
    write_manifest(unlabelled, given.out / "unlabelled.jsonl")
    print(f"unlabelled: {len(unlabelled)} utterances")


if __name__ == "__main__":
    main()
