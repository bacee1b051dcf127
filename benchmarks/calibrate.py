"""Speech limits, threshold tables and calibration of a catalogue model, from embedded speakers.

python benchmarks/embed_pool.py --speech SPEECH --pool train --model campplus-zh-en --out FOLDER
python benchmarks/calibrate.py --embeddings FOLDER --model campplus-zh-en

Writes the measured card fields into groove/assets/catalogue.json and prints the table for
RESULTS.md. The rules stand in groove/card_measures.py and were fixed before looking at any
evaluation speaker; `groove calibrate` measures by the same ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from groove.card_measures import CONDITIONS, EmbeddedSet, MeasuredCard, measure_card

CATALOGUE = Path(__file__).resolve().parent.parent / "groove" / "assets" / "catalogue.json"


def load(folder: Path, pool: str, condition: str) -> EmbeddedSet:
    with np.load(folder / f"{pool}-{condition}.npz") as data:
        utterance = np.char.add(np.char.add(data["speaker_id"], "/"), data["path"])
        return EmbeddedSet(data["embedding"], data["speaker_id"], utterance, data["speech_s"])


def update(model: str, measured: MeasuredCard) -> None:
    entries = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    (entry,) = (e for e in entries if e["name"] == model)
    entry["card"] |= asdict(measured)
    CATALOGUE.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pool", default="train")
    parser.add_argument("--measured-on", default="training pool")
    given = parser.parse_args()
    sets = {name: load(given.embeddings, given.pool, name) for name in CONDITIONS}
    update(given.model, measure_card(sets, given.measured_on, print))


if __name__ == "__main__":
    main()
