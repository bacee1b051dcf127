"""curves.png: loss, accuracy, learning rate and validation EER over the steps of a log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from groove.errors import MissingExtra
from groove.training.runlog import read_log

PANELS = (
    ("step", "loss", "loss"),
    ("step", "accuracy", "accuracy"),
    ("step", "lr", "learning rate"),
    ("epoch", "eer", "validation EER"),
)


def draw_curves(log: Path, out: Path) -> None:
    """Draw a run's log; the picture is written aside and renamed.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("curves.png", "plots", str(error)) from None
    lines = read_log(log)
    figure = Figure(figsize=(10, 7), dpi=80)
    figure.subplots_adjust(0.07, 0.07, 0.97, 0.94, 0.2, 0.3)
    for axes, (kind, key, title) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        points = [(line["step"], line[key]) for line in lines if _has(line, kind, key)]
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if points:
            axes.plot(*zip(*points, strict=True), marker="o" if kind == "epoch" else "")
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        FigureCanvasAgg(figure).print_png(str(aside))  # type: ignore[no-untyped-call]
        os.replace(aside, out)
    finally:
        aside.unlink(missing_ok=True)


def _has(line: dict[str, Any], kind: str, key: str) -> bool:
    return line["kind"] == kind and line.get(key) is not None
