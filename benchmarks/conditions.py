"""Models on the evaluation pool, clean and under conditions made by seed: one table.

python benchmarks/conditions.py --speech SPEECH --work FOLDER --model campplus-zh-en \
    --peers-python PYTHON --out conditions.md

Every pair of the pool's utterances, both sides under the same condition; the last condition is an
enrollment of about 10 s, joined from three of a speaker's utterances, against the one or two that
are left, whole and clean. EER, minDCF and what was refused, with speaker-level 95 % intervals
(1,000 draws), over all and a corpus at a time. PYTHON: an environment with the peers' packages
(requirements/bench-peers.txt); without it only Groove's models are measured. The pool is for
reporting only. What is in FOLDER already is not made again.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import degrade
from benchmarks.pools import PoolUtterance, crop, joined, read_joined, read_pool
from groove.api import Embedder
from groove.audio import read_audio
from groove.bench import wav_bytes
from groove.bootstrap import Draws, draw_metrics
from groove.curve import DetPoints
from groove.embedding_cache import EmbeddingCache, embed_files
from groove.measures import MIN_CELL_SPEAKERS, MIN_CELL_TRIALS

SEED = 20261125
SNRS_DB = (20, 10, 5, 0)
CROPS_S = (1, 2, 3)
JOINED_S = 10.0
JOINED = "about 10 s joined"
CONDITIONS = (
    "full",
    *(f"noise {snr} dB" for snr in SNRS_DB),
    "reverberation",
    "8 kHz G.711",
    "Opus 16 kbit/s",
    *(f"crop {seconds} s" for seconds in CROPS_S),
    JOINED,
)
ENROLLMENT, TEST, BOTH = "enrollment", "test", "both"


@dataclass(frozen=True)
class Item:
    """One recording of a condition."""

    path: Path
    speaker_id: str
    corpus: str
    role: str


def make(speech: Path, work: Path, condition: str) -> list[Item]:
    """The recordings of a condition, written where they are not there yet."""
    pool = read_pool(speech / "eval")
    folder = work / condition.replace("/", " per ").replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    sounds = _noises(speech / "noise") if condition.startswith(("noise", "rev")) else {}
    items, rates = [], []
    for i, (utterance, role, read) in enumerate(_sources(pool, condition)):
        path = folder / f"{i:03d}.wav"
        items.append(Item(path, utterance.speaker_id, utterance.corpus, role))
        if path.is_file():
            continue
        rng = np.random.default_rng([SEED, CONDITIONS.index(condition), i])
        waveform, kbit_s = _degraded(read(), condition, sounds, rng)
        rates.append(kbit_s)
        aside = path.with_suffix(".part")
        aside.write_bytes(wav_bytes(waveform))
        os.replace(aside, path)
    if any(rates):
        print(f"{condition}: {np.mean(rates):.1f} kbit/s measured", flush=True)
    return items


def _sources(pool: list[PoolUtterance], condition: str) -> Iterator[tuple]:  # type: ignore[type-arg]
    if condition != JOINED:
        yield from ((u, BOTH, lambda u=u: read_audio(u.path)) for u in pool)
        return
    used = set()
    for _, group in joined(pool, JOINED_S):
        used |= {u.path for u in group}
        yield group[0], ENROLLMENT, lambda group=group: read_joined(group)
    yield from ((u, TEST, lambda u=u: read_audio(u.path)) for u in pool if u.path not in used)


def _degraded(
    waveform: NDArray[np.float32],
    condition: str,
    sounds: dict[str, list[NDArray[np.float32]]],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], float]:
    kind, _, rest = condition.partition(" ")
    if kind == "noise":
        noise = sounds["noise"][int(rng.integers(len(sounds["noise"])))]
        return degrade.add_noise(waveform, noise, float(rest.split()[0]), rng), 0.0
    if kind == "reverberation":
        response = sounds["rir"][int(rng.integers(len(sounds["rir"])))]
        return degrade.reverberate(waveform, response), 0.0
    if kind == "8":
        return degrade.telephone(waveform), 0.0
    if kind == "Opus":
        return degrade.opus(waveform)
    if kind == "crop":
        return crop(waveform, float(rest.split()[0]), rng), 0.0
    return waveform, 0.0


def _noises(folder: Path) -> dict[str, list[NDArray[np.float32]]]:
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {
        kind: [read_audio(folder / row["path"]) for row in rows if row["kind"] == kind]
        for kind in ("noise", "rir")
    }


def embed(
    items: list[Item], model: str, cache: EmbeddingCache, peers_python: str, work: Path
) -> NDArray[np.float64]:
    """Embeddings [N, D]; NaN where there is none."""
    if model != "Resemblyzer":
        embedder = Embedder(model, threads=1)
        found = embed_files([item.path for item in items], embedder, cache, workers=1)
        rows = np.full((len(items), embedder.encoder.card.embedding_size), np.nan)
        for i, item in enumerate(items):
            if (embedding := found[item.path].embedding) is not None:
                rows[i] = embedding
        return rows
    out = work / f"{items[0].path.parent.name}.resemblyzer.npz"
    if not out.is_file():
        listed = out.with_suffix(".txt")
        listed.write_text("".join(f"{item.path.resolve()}\n" for item in items))
        aside = out.with_suffix(".part.npz")
        script = str(Path(__file__).with_name("peer_embed.py"))
        subprocess.run([peers_python, script, str(listed), str(aside)], check=True)
        os.replace(aside, out)
    with np.load(out) as data:
        return np.asarray(data["embedding"], dtype=np.float64)


def rows_of(items: list[Item], embeddings: NDArray[np.float64], n_draws: int) -> Iterator[tuple]:  # type: ignore[type-arg]
    """(corpus or "all", n target, n non-target, refused, draws or None)."""
    embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for corpus in ("all", *sorted({item.corpus for item in items})):
        own = [i for i, item in enumerate(items) if corpus in ("all", item.corpus)]
        usable = np.array([i for i in own if not np.isnan(embeddings[i]).any()])
        refused = f"{len(own) - len(usable)} of {len(own)}"
        who = np.unique([items[i].speaker_id for i in usable], return_inverse=True)[1]
        role = np.array([items[i].role for i in usable])
        a, b = np.triu_indices(len(usable), 1)
        if BOTH not in role:
            kept = role[a] != role[b]
            a, b = a[kept], b[kept]
        scores = np.einsum("nd,nd->n", embeddings[usable[a]], embeddings[usable[b]])
        same = who[a] == who[b]
        enough = min(same.sum(), (~same).sum()) >= MIN_CELL_TRIALS
        enough &= len(set(who[a[same]].tolist())) >= MIN_CELL_SPEAKERS
        found = None
        if enough or corpus == "all":
            pairs = np.stack([who[a], who[b]], axis=1)
            found = draw_metrics(
                {"eer": DetPoints.eer, "min_dcf": DetPoints.min_dcf},
                scores[same],
                scores[~same],
                who[a[same]],
                pairs[~same],
                n_draws=n_draws,
            )
        yield corpus, int(same.sum()), int((~same).sum()), refused, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--peers-python")
    parser.add_argument("--conditions", nargs="*", default=list(CONDITIONS))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    models = given.models or ["campplus-zh-en"]
    models += ["Resemblyzer"] if given.peers_python else []
    given.work.mkdir(parents=True, exist_ok=True)
    lines = [
        "| condition | pool | model | target / non-target | refused | EER % | minDCF 0.01 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines))
    with EmbeddingCache(given.work / "embeddings.sqlite") as cache:
        for condition in given.conditions:
            items = make(given.speech, given.work, condition)
            for model in models:
                vectors = embed(items, model, cache, given.peers_python, given.work)
                for corpus, n_target, n_nontarget, refused, found in rows_of(
                    items, vectors, given.draws
                ):
                    counts = f"{n_target:,} / {n_nontarget:,}"
                    start = f"| {condition} | {corpus} | {Path(model).name} | {counts} | {refused}"
                    lines.append(f"{start} | {_rates(found)} |")
                    print(lines[-1], flush=True)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rates(found: Draws | None) -> str:
    if found is None:
        return "too few | too few"
    eer, cost = found.interval("eer"), found.interval("min_dcf")
    return (
        f"{100 * eer.value:.2f} ({100 * eer.low:.2f} to {100 * eer.high:.2f}) | "
        f"{cost.value:.3f} ({cost.low:.3f} to {cost.high:.3f})"
    )


if __name__ == "__main__":
    main()
