"""Embed a speech pool under several lengths and keep the result.

python benchmarks/embed_pool.py --speech SPEECH --pool train --model campplus-zh-en --out FOLDER

Writes FOLDER/POOL-CONDITION.npz: embedding [N, D], speaker_id, corpus, language, speech_s, seconds,
channel.
Conditions: full, 6 and 10 (one speaker's utterances joined), and crops of 0.5, 0.75, 1, 1.5, 2 and
3 s by seed. A condition that is already there is not made again. With --telephone each is heard
through two telephones (see groove/evaluation/card_pieces.py); the
files are POOL-telephone-... then.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.pools import PoolUtterance, crop, joined, read_joined, read_pool
from groove.api import open_encoder
from groove.audio import SAMPLE_RATE, read_audio
from groove.embedder import Embedder
from groove.evaluation.card_measures import CROPS_S, JOINED_S
from groove.evaluation.card_pieces import TELEPHONES, Lenient, by_telephone
from groove.evaluation.card_trials import WIDE_BAND

SEED = 20261124
Item = tuple[PoolUtterance, Callable[[], NDArray[np.float32]]]


def items(pool: list[PoolUtterance], condition: str, limit: int) -> Iterator[Item]:
    """The utterances of a condition, each with what reads it."""
    if condition == "full":
        yield from ((u, lambda u=u: read_audio(u.path)) for u in pool)
        return
    if float(condition) in JOINED_S:
        for _, group in joined(pool, float(condition)):
            yield group[0], lambda group=group: read_joined(group)
        return
    files = Counter(u.speaker_id for u in pool)
    used: Counter[str] = Counter()
    for i, u in enumerate(pool):
        if files[u.speaker_id] < 2 or used[u.speaker_id] == limit:
            continue
        used[u.speaker_id] += 1
        rng = np.random.default_rng([SEED, i, round(1000 * float(condition))])
        yield u, lambda u=u, rng=rng: crop(read_audio(u.path), float(condition), rng)


Row = tuple[PoolUtterance, NDArray[np.float32] | None, float, float, str]


def embed(work: list[Item], embedder: Embedder, out: Path, *, telephone: bool = False) -> None:
    def one(item: Item, channel: str) -> Row:
        waveform = item[1]()
        if telephone:
            name = f"{item[0].speaker_id}/{item[0].path.name}"
            waveform = by_telephone(waveform, name, channel)
        examined = embedder.examine((waveform, SAMPLE_RATE))
        seconds = len(waveform) / SAMPLE_RATE
        return item[0], examined.embedding, examined.speech.speech_s, seconds, channel

    rows: list[Row] = []
    heard = [(item, c) for item in work for c in (TELEPHONES if telephone else (WIDE_BAND,))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for n, row in enumerate(pool.map(one, *zip(*heard, strict=True)), 1):
            rows.append(row)
            if n % 500 == 0:
                print(f"{out.name}: {n} of {len(heard)}", flush=True)
    refused = [str(row[0].path) for row in rows if row[1] is None]
    kept = [row for row in rows if row[1] is not None]
    np.savez(
        out,
        embedding=np.array([row[1] for row in kept]),
        speaker_id=np.array([row[0].speaker_id for row in kept]),
        corpus=np.array([row[0].corpus for row in kept]),
        language=np.array([row[0].language for row in kept]),
        path=np.array([str(row[0].path.name) for row in kept]),
        speech_s=np.array([row[2] for row in kept]),
        seconds=np.array([row[3] for row in kept]),
        channel=np.array([row[4] for row in kept]),
        refused=np.array(refused, dtype=np.str_),
    )
    print(f"{out}: {len(kept)} embedded, {len(refused)} refused", flush=True)


def pool_name(pool: str, n_speakers: int | None, *, telephone: bool) -> str:
    """How the files begin."""
    parts = [pool, "telephone" if telephone else "", f"{n_speakers}" if n_speakers else ""]
    return "-".join(filter(None, parts))


def drawn(pool: list[PoolUtterance], n_speakers: int | None) -> list[PoolUtterance]:
    """The utterances of so many speakers."""
    speakers = sorted({u.speaker_id for u in pool})
    order = np.random.default_rng(SEED).permutation(len(speakers))[:n_speakers]
    chosen = {speakers[i] for i in order}
    return [u for u in pool if u.speaker_id in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--pool", default="train")
    parser.add_argument("--model", default="campplus-zh-en")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=4, help="cropped utterances a speaker")
    parser.add_argument("--speakers", type=int, help="as many, drawn by seed; all if left out")
    parser.add_argument("--conditions", nargs="*")
    parser.add_argument("--telephone", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    # What a card refuses cannot be measured, so its own limit must not stand in the way.
    embedder = Embedder(Lenient(open_encoder(given.model, threads=1)))
    pool = drawn(read_pool(given.speech / given.pool), given.speakers)
    for condition in given.conditions or ["full", *(f"{s:g}" for s in JOINED_S + CROPS_S)]:
        name = pool_name(given.pool, given.speakers, telephone=given.telephone)
        out = given.out / f"{name}-{condition}.npz"
        if not out.exists():
            work = list(items(pool, condition, given.limit))
            embed(work, embedder, out, telephone=given.telephone)


if __name__ == "__main__":
    main()
