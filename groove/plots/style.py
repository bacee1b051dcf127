"""How every figure looks, and how it gets onto the disk."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from groove.errors import MissingExtra
from groove.plots.fonts import Drawable

# Okabe & Ito 2008, darkened a little: told apart by colour-blind readers, and in print.
COLOURS = ("#0060a8", "#d0541b", "#00805e", "#9b4c92", "#a87a00", "#3b3b3b", "#c2185b", "#4f86c6")
TARGET, NONTARGET = "#00805e", "#9aa3ad"
INK, FAINT, GRID = "#22272e", "#6b7480", "#e4e8ec"
DPI = 160

_STYLE: dict[str, Any] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": "#aab2bb",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "axes.unicode_minus": False,
    "text.parse_math": False,  # a name with two dollar signs is a name
}


def available() -> bool:
    """Whether the plots extra is installed."""
    return all(importlib.util.find_spec(name) for name in ("matplotlib", "sklearn"))


@contextmanager
def figure(
    path: Path, names: Drawable, *, size: tuple[float, float] = (6.4, 5.2)
) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes, which is written to ``path`` at the end: aside, then renamed.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    if not available():
        raise MissingExtra("drawing figures", "plots")
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "font.family": list(names.families)}
    with matplotlib.rc_context(style):
        drawn = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(drawn)
        axes = drawn.add_subplot()
        yield drawn, axes
        if names.note:
            drawn.supxlabel(_wrapped(names.note), fontsize=8, color="#b3261e", x=0.01, ha="left")
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            # Without the program's version in it the same numbers give the same file.
            drawn.savefig(aside, format="png", metadata={"Software": None})
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def percent(value: float) -> str:
    """0.0123 -> "1.23 %"; as many digits as the value needs, and no more."""
    scaled = 100 * value
    return f"{scaled:.2f} %" if scaled < 10 else f"{scaled:.1f} %"


def _wrapped(text: str, width: int = 88) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))
