"""Speech limits, threshold tables and calibration of a catalogue model, from embedded speakers.

python benchmarks/embed_pool.py --speech SPEECH --pool train --model campplus-zh-en --out FOLDER
python benchmarks/calibrate.py --embeddings FOLDER --model campplus-zh-en

Writes the measured card fields into groove/assets/catalogue.json and prints the table for
RESULTS.md. Trials of a length are of two kinds, both between different utterances: crop against
crop, and crop against whole utterance. Rules, fixed before looking at any evaluation speaker:

- no answer below the amount of speech at which crop against crop reaches 20 % EER, nor below the
  shortest measured;
- a warning below the amount at which it reaches twice the EER of whole utterances;
- a threshold table a length, from crop against whole (the stricter kind, as strangers score higher
  the longer either side is); crops with too little speech for an answer are left out;
- one calibration on both kinds of all lengths, each kind and length with the same weight.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.embed_pool import CROPS_S, JOINED_S
from groove.calibration import fit_calibration, threshold_table
from groove.metrics import eer

CATALOGUE = Path(__file__).resolve().parent.parent / "groove" / "assets" / "catalogue.json"
REFUSE_EER, WARN_RATIO = 0.20, 2.0
N_NONTARGET = 200_000  # a kind and length, for the calibration
ANY_SPEECH_S = 0.01
JOINED = [f"{s:g}" for s in JOINED_S]
SEED = 20261124


@dataclass(frozen=True)
class Embedded:
    """A pool under one condition, a row each."""

    embedding: NDArray[np.float32]
    speaker: NDArray[np.str_]
    utterance: NDArray[np.str_]
    speech_s: NDArray[np.float64]

    def at_least(self, speech_s: float) -> Embedded:
        """The rows with at least so much speech."""
        kept = self.speech_s >= speech_s
        return Embedded(*(column[kept] for column in vars(self).values()))


@dataclass(frozen=True)
class Trials:
    """Scores and the shorter side's speech, target and non-target."""

    target: NDArray[np.float32]
    nontarget: NDArray[np.float32]
    target_speech_s: NDArray[np.float32]
    nontarget_speech_s: NDArray[np.float32]
    n_speakers: int


def load(folder: Path, pool: str, condition: str) -> Embedded:
    with np.load(folder / f"{pool}-{condition}.npz") as data:
        utterance = np.char.add(np.char.add(data["speaker_id"], "/"), data["path"])
        return Embedded(data["embedding"], data["speaker_id"], utterance, data["speech_s"])


def trials(a: Embedded, b: Embedded) -> Trials:
    """Every pair of different utterances; within one set each pair once."""
    rows: list[tuple[NDArray[np.float32], ...]] = []
    same_set = a is b
    for i in range(0, len(a.speaker), 256):
        rows_i = slice(i, i + 256)
        scores = a.embedding[rows_i] @ b.embedding.T
        target = a.speaker[rows_i, None] == b.speaker[None]
        valid = a.utterance[rows_i, None] != b.utterance[None]
        if same_set:
            valid &= np.arange(i, i + len(scores))[:, None] < np.arange(len(b.speaker))[None]
        speech = np.minimum(a.speech_s[rows_i, None], b.speech_s[None]).astype(np.float32)
        rows.append(
            tuple(
                values[mask]
                for values in (scores, speech)
                for mask in (target & valid, ~target & valid)
            )
        )
    target, nontarget, target_s, nontarget_s = (np.concatenate(c) for c in zip(*rows, strict=True))
    speakers = len(set(a.speaker.tolist()) | set(b.speaker.tolist()))
    return Trials(target, nontarget, target_s, nontarget_s, speakers)


def crossing(speech_s: list[float], eers: list[float], level: float) -> float:
    """Where the falling curve of EER over log speech meets ``level``, rounded up to 0.1 s."""
    at = np.exp(np.interp(-np.log(level), -np.log(eers), np.log(speech_s)))
    return float(np.ceil(at * 10) / 10)


def limits(folder: Path, pool: str) -> tuple[float, float]:
    full = load(folder, pool, "full").at_least(ANY_SPEECH_S)
    found = trials(full, full)
    full_eer = eer(found.target, found.nontarget)
    speech, eers = [], []
    for seconds in CROPS_S:
        crops = load(folder, pool, f"{seconds:g}").at_least(ANY_SPEECH_S)
        found = trials(crops, crops)
        speech.append(float(np.median(crops.speech_s)))
        eers.append(eer(found.target, found.nontarget))
        print(f"{seconds:g} s crops, {speech[-1]:.2f} s of speech: EER {100 * eers[-1]:.2f} %")
    print(f"whole utterances, {np.median(full.speech_s):.2f} s: EER {100 * full_eer:.2f} %")
    return crossing(speech, eers, REFUSE_EER), crossing(speech, eers, WARN_RATIO * full_eer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pool", default="train")
    parser.add_argument("--measured-on", default="training pool")
    given = parser.parse_args()
    rng = np.random.default_rng(SEED)
    min_speech_s, short_speech_s = limits(given.embeddings, given.pool)
    print(f"no answer below {min_speech_s:g} s of speech, a warning below {short_speech_s:g} s")

    full = load(given.embeddings, given.pool, "full").at_least(min_speech_s)
    tables, calibration_trials = [], []
    for condition in [f"{s:g}" for s in CROPS_S if s > min_speech_s] + ["full", *JOINED]:
        crops = load(given.embeddings, given.pool, condition).at_least(min_speech_s)
        crops = full if condition == "full" else crops
        # Joined utterances contain their whole ones, so they are compared with one another.
        kinds = [trials(crops, crops)]
        kinds += [] if condition in ("full", *JOINED) else [trials(crops, full)]
        calibration_trials += [draw(kind, rng) for kind in kinds]
        strict = kinds[-1]
        rows = threshold_table(strict.target, strict.nontarget, strict.n_speakers)
        shorter_s = round(float(np.median(strict.nontarget_speech_s)), 2)
        tables.append({"speech_s": shorter_s, "measured_on": given.measured_on})
        tables[-1]["rows"] = [row.to_dict() for row in rows]
        one = next(row for row in rows if row.fmr == 0.01)
        print(
            f"{condition:>5}  {shorter_s:5.2f} s  {len(strict.target)} target, "
            f"{len(strict.nontarget)} non-target  "
            f"EER {100 * eer(strict.target, strict.nontarget):.2f} %  threshold at 1 % "
            f"{one.threshold:.4f}, FNMR {100 * one.fnmr:.2f} %"
        )
    calibration = fit(calibration_trials, given.measured_on)
    print(calibration)
    update(given.model, min_speech_s, short_speech_s, tables, asdict(calibration))


def draw(found: Trials, rng: np.random.Generator) -> Trials:
    """The same number of trials from every kind, so that each weighs the same."""
    t = rng.choice(len(found.target), 20_000, replace=len(found.target) < 20_000)
    n = rng.choice(len(found.nontarget), N_NONTARGET, replace=False)
    return Trials(
        found.target[t],
        found.nontarget[n],
        found.target_speech_s[t],
        found.nontarget_speech_s[n],
        found.n_speakers,
    )


def fit(drawn: list[Trials], measured_on: str):  # type: ignore[no-untyped-def]
    def joined(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(kind, name) for kind in drawn]).astype(np.float64)

    return fit_calibration(
        joined("target"),
        joined("nontarget"),
        joined("target_speech_s"),
        joined("nontarget_speech_s"),
        n_speakers=max(kind.n_speakers for kind in drawn),
        measured_on=measured_on,
    )


def update(
    model: str, min_speech_s: float, short_speech_s: float, tables: object, calibration: object
) -> None:
    entries = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    (entry,) = (e for e in entries if e["name"] == model)
    entry["card"] |= {
        "min_speech_s": min_speech_s,
        "short_speech_s": short_speech_s,
        "thresholds": tables,
        "calibration": calibration,
    }
    CATALOGUE.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
