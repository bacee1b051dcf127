"""Speech limits, threshold tables and calibration of a catalogue model, from embedded speakers.

python benchmarks/embed_pool.py --speech SPEECH --pool train --model campplus-zh-en --out FOLDER
python benchmarks/calibrate.py --embeddings FOLDER --model campplus-zh-en
python benchmarks/embed_pool.py --speech SPEECH --pool train --model campplus-zh-en --out FOLDER \
    --telephone --speakers 500
python benchmarks/calibrate.py --embeddings FOLDER --model campplus-zh-en --telephone \
    --speakers 500

Writes the measured card fields into groove/assets/catalogue.json and prints the table for
RESULTS.md; with --telephone those of telephone sound alone, which go when the others are measured
again. The rules stand in groove/evaluation/card_measures.py and were fixed before looking at any
evaluation speaker; `groove calibrate` measures by the same ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.embed_pool import pool_name
from groove.card import NarrowBand, ThresholdTable
from groove.evaluation.card_measures import CONDITIONS, measure_card, supporting
from groove.evaluation.card_trials import EmbeddedSet
from groove.models import catalogue
from groove.scoring import ThresholdRow

CATALOGUE = Path(__file__).resolve().parent.parent / "groove" / "assets" / "catalogue.json"


def load(folder: Path, pool: str, condition: str) -> EmbeddedSet:
    with np.load(folder / f"{pool}-{condition}.npz") as data:
        utterance = np.char.add(np.char.add(data["speaker_id"], "/"), data["path"])
        return EmbeddedSet(
            data["embedding"], data["speaker_id"], utterance, data["speech_s"], data["channel"]
        )


def update(model: str, measured: dict[str, object]) -> None:
    entries = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    (entry,) = (e for e in entries if e["name"] == model)
    entry["card"] |= measured
    CATALOGUE.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def table_from(values: dict[str, Any]) -> ThresholdTable:
    rows = tuple(ThresholdRow.from_dict(row) for row in values["rows"])
    return ThresholdTable(values["speech_s"], values["measured_on"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pool", default="train")
    parser.add_argument("--measured-on", default="training pool")
    parser.add_argument("--telephone", action="store_true", help="as embed_pool.py was told")
    parser.add_argument("--speakers", type=int, help="likewise")
    given = parser.parse_args()
    pool = pool_name(given.pool, given.speakers, telephone=given.telephone)
    on = f"{given.measured_on}, through a telephone" if given.telephone else given.measured_on
    sets = {name: load(given.embeddings, pool, name) for name in CONDITIONS}
    measured = measure_card(sets, on, print)
    if given.telephone:
        wide = catalogue()[given.model].card["thresholds"]
        tables = supporting(measured.thresholds, [table_from(table) for table in wide])
        narrow = NarrowBand(tables, measured.calibration)
        update(given.model, {"narrow_band": asdict(narrow)})
    else:
        update(given.model, {**asdict(measured), "narrow_band": None})


if __name__ == "__main__":
    main()
