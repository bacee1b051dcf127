"""Models on the evaluation pool, clean and under conditions made by seed: one table.

python benchmarks/conditions.py --speech SPEECH --work FOLDER --model campplus-zh-en \
    --peers-python PYTHON --out conditions.md

Every pair of the pool's utterances, both sides under the same condition. "about 10 s joined" is an
enrollment joined from three of a speaker's utterances against the one or two that are left, whole
and clean. The sounds of SPEECH/noise, of the conditions "noise" and "reverberation", are those that
the built-in model was trained with; "babble" (six voices of SPEECH/unlabelled at once) and
"simulated room" (image sources, drawn by seed) are kinds that it never met. "8 kHz G.711" keeps all
below 4 kHz; the telephone of 300 to 3400 Hz is the one of training. EER, minDCF and what
was refused, with speaker-level 95 % intervals (1,000 draws), over all and a corpus at a time; then
the first model against each other one on the trials that both could score, paired; then what each
of Groove's models makes of its default threshold and its calibration under the condition. PYTHON:
an environment with the peers' packages (requirements/bench-peers.txt); without it only Groove's
models are measured. The pool is for reporting only. What is in FOLDER already is not made again:
use a new one for another pool.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import degrade
from benchmarks.pools import PoolUtterance, crop, joined, read_joined, read_pool
from groove.api import Embedder
from groove.audio import SAMPLE_RATE, read_audio
from groove.bench import wav_bytes
from groove.bootstrap import Draws, Interval, draw_metrics
from groove.card import ModelCard
from groove.curve import DetPoints
from groove.evaluation.cache import EmbeddingCache, embed_files
from groove.evaluation.measures import MIN_CELL_SPEAKERS, MIN_CELL_TRIALS
from groove.metrics import cllr, min_cllr
from groove.telephone import telephone
from groove.training.rooms import draw_room, image_source

SEED = 20261125
SNRS_DB = (20, 10, 5, 0)
CROPS_S = (1, 2, 3)
RESEMBLYZER = "Resemblyzer"
PROMISED = 0.01  # of false matches, at the default threshold
JOINED_S = 10.0
JOINED = "about 10 s joined"
BABBLE, N_BABBLE = "babble 10 dB", 6
SIMULATED, T60_S = "simulated room", (0.3, 0.7)
CALL = "telephone, 300 to 3400 Hz"
CONDITIONS = (
    "full",
    *(f"noise {snr} dB" for snr in SNRS_DB),
    "reverberation",
    "8 kHz G.711",
    "Opus 16 kbit/s",
    *(f"crop {seconds} s" for seconds in CROPS_S),
    JOINED,
    BABBLE,  # the last, because a condition's place is in its seed
    SIMULATED,
    CALL,
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
    sounds = _sounds(speech, condition)
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
    if condition == BABBLE:
        drawn = rng.choice(len(sounds["voices"]), N_BABBLE, replace=False)
        noise = degrade.babble([sounds["voices"][i] for i in drawn], len(waveform), rng)
        return degrade.add_noise(waveform, noise, 10.0, rng), 0.0
    if condition == SIMULATED:
        room = image_source(draw_room(rng, T60_S), samples=SAMPLE_RATE)
        return degrade.reverberate(waveform, room), 0.0
    if condition == CALL:
        return telephone(waveform, "alaw"), 0.0
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


def _sounds(speech: Path, condition: str) -> dict[str, list[NDArray[np.float32]]]:
    """What a condition mixes in."""
    if condition == BABBLE:
        return {"voices": [read_audio(u.path) for u in read_pool(speech / "unlabelled")]}
    if not condition.startswith(("noise", "rev")):
        return {}
    folder = speech / "noise"
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {
        kind: [read_audio(folder / row["path"]) for row in rows if row["kind"] == kind]
        for kind in ("noise", "rir")
    }


@dataclass(frozen=True)
class Heard:
    """What the verifier knows of recordings besides their embeddings."""

    speech_s: NDArray[np.float64]  # [N]
    narrow_band: NDArray[np.bool_]  # [N]: telephone sound


def embed(
    items: list[Item], embedder: Embedder, cache: EmbeddingCache
) -> tuple[NDArray[np.float64], Heard]:
    """Embeddings [N, D], NaN where there is none, and what was heard."""
    found = embed_files([item.path for item in items], embedder, cache, workers=1)
    rows = np.full((len(items), embedder.encoder.card.embedding_size), np.nan)
    for i, item in enumerate(items):
        if (embedding := found[item.path].embedding) is not None:
            rows[i] = embedding
    recordings = [found[item.path] for item in items]
    return rows, Heard(
        np.array([recording.speech_s for recording in recordings]),
        np.array([recording.narrow_band for recording in recordings]),
    )


def embed_by_resemblyzer(items: list[Item], peers_python: str, work: Path) -> NDArray[np.float64]:
    """Embeddings [N, 256]; NaN where there is none."""
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


Metric = Callable[[DetPoints], float]
METRICS: dict[str, Metric] = {"eer": DetPoints.eer, "min_dcf": DetPoints.min_dcf}


@dataclass(frozen=True)
class Trials:
    """Every pair of some recordings, scored."""

    scores: NDArray[np.float64]
    same: NDArray[np.bool_]
    speakers: NDArray[np.int64]  # [N, 2]
    sides: NDArray[np.int64]  # [N, 2]: which recordings

    @classmethod
    def of(
        cls, items: list[Item], embeddings: NDArray[np.float64], usable: NDArray[np.int64]
    ) -> Trials:
        """Pairs of enrollment and test where there are roles, else all pairs."""
        who = np.unique([items[i].speaker_id for i in usable], return_inverse=True)[1]
        role = np.array([items[i].role for i in usable])
        a, b = np.triu_indices(len(usable), 1)
        if BOTH not in role:
            kept = role[a] != role[b]
            a, b = a[kept], b[kept]
        rows = embeddings[usable]
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        scores = np.einsum("nd,nd->n", rows[a], rows[b])
        speakers, sides = (np.stack([of[a], of[b]], axis=1) for of in (who, usable))
        return cls(scores, who[a] == who[b], speakers, sides)

    @property
    def n_target(self) -> int:
        """How many are of one speaker."""
        return int(self.same.sum())

    @property
    def n_nontarget(self) -> int:
        """How many are of two."""
        return int((~self.same).sum())

    @property
    def are_enough(self) -> bool:
        """Whether a rate of them says anything."""
        n_speakers = len(set(self.speakers[self.same, 0].tolist()))
        least = min(self.n_target, self.n_nontarget)
        return least >= MIN_CELL_TRIALS and n_speakers >= MIN_CELL_SPEAKERS

    def draws(self, n_draws: int, metrics: Mapping[str, Metric] = METRICS) -> Draws:
        """EER and minDCF, or other metrics, for draws of the speakers."""
        return draw_metrics(
            metrics,
            self.scores[self.same],
            self.scores[~self.same],
            self.speakers[self.same, 0],
            self.speakers[~self.same],
            n_draws=n_draws,
        )


def heard(embeddings: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N]: which recordings gave an embedding."""
    found: NDArray[np.bool_] = np.isfinite(embeddings).all(axis=1)
    return found


def rows_of(items: list[Item], embeddings: NDArray[np.float64], n_draws: int) -> Iterator[str]:
    """Cells of a table: pool, counts, refused, EER, minDCF; over all and of each corpus."""
    for corpus in ("all", *sorted({item.corpus for item in items})):
        own = np.array([corpus in ("all", item.corpus) for item in items])
        usable = np.flatnonzero(own & heard(embeddings))
        trials = Trials.of(items, embeddings, usable)
        worth = trials.are_enough or corpus == "all"
        yield (
            f"{corpus} | {trials.n_target:,} / {trials.n_nontarget:,} | "
            f"{own.sum() - len(usable)} of {own.sum()} | "
            f"{_rates(trials.draws(n_draws)) if worth else 'too few | too few'}"
        )


def difference(
    items: list[Item],
    first: NDArray[np.float64],
    other: NDArray[np.float64],
    n_draws: int,
) -> str:
    """Cells of a table: trials that both could score, then first - other with its interval."""
    usable = np.flatnonzero(heard(first) & heard(other))
    ours, theirs = (Trials.of(items, vectors, usable) for vectors in (first, other))
    a, b = ours.draws(n_draws), theirs.draws(n_draws)
    cells = [f"{ours.n_target:,} / {ours.n_nontarget:,}"]
    for name, scale, digits in (("eer", 100, 2), ("min_dcf", 1, 3)):
        found = a.minus(b, name)
        verdict = "better" if found.high < 0 else "worse" if found.low > 0 else "tie"
        value, low, high = (scale * x for x in (found.difference, found.low, found.high))
        cells.append(f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f}): {verdict}")
    return " | ".join(cells)


def kept_promises(
    items: list[Item],
    rows: NDArray[np.float64],
    what: Heard,
    card: ModelCard,
    n_draws: int,
) -> str:
    """Cells of a table: FMR and FNMR at the default threshold, Cllr and its minimum."""
    trials = Trials.of(items, rows, np.flatnonzero(heard(rows)))
    shorter = what.speech_s[trials.sides].min(axis=1)
    narrow = what.narrow_band[trials.sides].all(axis=1)
    thresholds = np.empty(len(shorter))
    for is_narrow in (False, True):
        chosen = narrow == is_narrow
        lengths, which = np.unique(shorter[chosen], return_inverse=True)
        tables = [card.table_for(float(length), narrow_band=is_narrow) for length in lengths]
        values = np.array([t.row_for(PROMISED).threshold if t else np.nan for t in tables])
        thresholds[chosen] = values[which]
    accepted = replace(trials, scores=(trials.scores >= thresholds).astype(np.float64))
    found = accepted.draws(
        n_draws,
        {
            "fmr": lambda points: float(points.fmr[_where_accepted(points)]),
            "fnmr": lambda points: float(points.fnmr[_where_accepted(points)]),
        },
    )
    cells = [_percent(found.interval(name)) for name in ("fmr", "fnmr")]
    if card.calibration is None:
        return " | ".join([*cells, "no calibration"])
    both = [
        card.calibration_for(narrow_band=of).llr(trials.scores, shorter) for of in (False, True)
    ]
    llrs = np.where(narrow, both[1], both[0])
    target, nontarget = llrs[trials.same], llrs[~trials.same]
    return " | ".join(
        [*cells, f"{cllr(target, nontarget):.3f} ({min_cllr(target, nontarget):.3f})"]
    )


def _where_accepted(points: DetPoints) -> int:
    """The point between the scores 0, rejected, and 1, accepted."""
    return int(np.count_nonzero(points.threshold >= 0.5)) - 1


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
    models += [RESEMBLYZER] if given.peers_python else []
    given.work.mkdir(parents=True, exist_ok=True)
    lines = [
        "| condition | model | pool | target / non-target | refused | EER % | minDCF 0.01 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    paired = [
        f"| condition | {models[0]} against | target / non-target | EER, points | minDCF 0.01 |",
        "| --- | --- | --- | --- | --- |",
    ]
    promises = [
        f"| condition | model | FMR %, {PROMISED:.0%} promised | FNMR % | Cllr (minimum) |",
        "| --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines))
    embedders = {m: Embedder(m, threads=1) for m in models if m != RESEMBLYZER}
    with EmbeddingCache(given.work / "embeddings.sqlite") as cache:
        for condition in given.conditions:
            items = make(given.speech, given.work, condition)
            first = None
            for model in models:
                if model == RESEMBLYZER:
                    vectors = embed_by_resemblyzer(items, given.peers_python, given.work)
                else:
                    vectors, what = embed(items, embedders[model], cache)
                    card = embedders[model].encoder.card
                    cells = kept_promises(items, vectors, what, card, given.draws)
                    promises.append(f"| {condition} | {Path(model).name} | {cells} |")
                    print(promises[-1], flush=True)
                for cells in rows_of(items, vectors, given.draws):
                    lines.append(f"| {condition} | {Path(model).name} | {cells} |")
                    print(lines[-1], flush=True)
                if first is None:
                    first = vectors
                    continue
                cells = difference(items, first, vectors, given.draws)
                paired.append(f"| {condition} | {Path(model).name} | {cells} |")
                print(paired[-1], flush=True)
    if given.out:
        tables = [*lines, "", *paired, "", *promises]
        given.out.write_text("\n".join(tables) + "\n", encoding="utf-8")


def _rates(found: Draws) -> str:
    cost = found.interval("min_dcf")
    return (
        f"{_percent(found.interval('eer'))} | {cost.value:.3f} ({cost.low:.3f} to {cost.high:.3f})"
    )


def _percent(rate: Interval) -> str:
    return f"{100 * rate.value:.2f} ({100 * rate.low:.2f} to {100 * rate.high:.2f})"


if __name__ == "__main__":
    main()
