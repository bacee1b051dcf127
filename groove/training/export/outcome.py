"""What became of each target of an export, for people, programs and ``export.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from groove.card import ModelCard
from groove.parity import Gate
from groove.training.export.aside import aside

REPORT = "export.json"


@dataclass(frozen=True)
class Exported:
    """One target: where it lies, and how its gate went (None: nothing was compared)."""

    target: str
    path: Path
    size: int  # bytes; 0 where no file was left
    gate: Gate | None = None
    note: str = ""
    failed: str = ""  # why the file could not be made or asked at all; then there is no gate

    @property
    def holds(self) -> bool:
        """Whether the file may be used."""
        return not self.failed and (self.gate is None or self.gate.holds)


def report(card: ModelCard, done: Sequence[Exported], *, finished: bool = True) -> dict[str, Any]:
    """What was exported, as plain values; a run that did not finish does not hold."""
    return {
        "model": card.name,
        "version": card.version,
        "architecture": card.architecture,
        "torch": torch.__version__,
        "finished": finished,
        "holds": finished and all(e.holds for e in done),
        "targets": [
            {"target": e.target, "file": e.path.name, "bytes": e.size, "holds": e.holds}
            | {"gate": e.gate and asdict(e.gate), "note": e.note, "failed": e.failed}
            for e in done
        ],
    }


def write_report(
    folder: Path, card: ModelCard, done: Sequence[Exported], *, finished: bool
) -> None:
    """Put the report beside the files.

    Raises:
        ModelError: the folder cannot be written to.
    """
    values = report(card, done, finished=finished)
    with aside(folder / REPORT) as path:
        path.write_text(
            json.dumps(values, ensure_ascii=False, indent=1) + "\n",
            encoding="utf-8",
        )
