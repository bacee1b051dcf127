"""curves.png: loss and margin, accuracy, learning rate, validation EER over the steps of a log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from groove.errors import MissingExtra
from groove.training.runlog import read_log

PANELS = (  # kind of line, value, factor, title
    ("step", "loss", 1, "loss (dashed: margin, which makes it rise)"),
    ("step", "accuracy", 100, "accuracy, %"),
    ("step", "lr", 1, "learning rate"),
    ("epoch", "eer", 100, "validation EER, %"),
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
    figure.subplots_adjust(0.08, 0.07, 0.96, 0.94, 0.24, 0.3)
    panels = list(figure.subplots(2, 2).flat)
    for axes, (kind, key, factor, title) in zip(panels, PANELS, strict=True):
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.plot(*_series(lines, kind, key, factor), marker="o" if kind == "epoch" else "")
    margin = panels[0].twinx()
    margin.plot(*_series(lines, "step", "margin_rad", 1), color="0.6", linestyle="--")
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        FigureCanvasAgg(figure).print_png(str(aside))  # type: ignore[no-untyped-call]
        os.replace(aside, out)
    finally:
        aside.unlink(missing_ok=True)


def _series(
    lines: list[dict[str, Any]], kind: str, key: str, factor: float
) -> tuple[list[int], list[float]]:
    """Steps and values of the lines of a kind that hold the value."""
    points = [(x["step"], factor * x[key]) for x in lines if x["kind"] == kind and _has(x, key)]
    return [step for step, _ in points], [value for _, value in points]


def _has(line: dict[str, Any], key: str) -> bool:
    return line.get(key) is not None
