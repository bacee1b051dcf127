"""How the scores of both classes lie, and whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groove.evaluation.measures import Measured
from groove.plots.fonts import drawable
from groove.plots.style import COLOURS, FAINT, INK, NONTARGET, TARGET, figure, percent


def score_histogram(
    path: Path, name: str, measured: Measured, *, card_threshold: float | None = None
) -> Path:
    """Both classes' scores with the threshold of the EER, and the card's where it is given."""
    names = drawable([name])
    found = measured.histogram
    centres, width = (found.edges[1:] + found.edges[:-1]) / 2, found.edges[1] - found.edges[0]
    with figure(path, names, size=(6.8, 4.2)) as (_, axes):
        for share, colour, label in (
            (found.nontarget, NONTARGET, f"different voices, {measured.n_nontarget:,} trials"),
            (found.target, TARGET, f"same voice, {measured.n_target:,} trials"),
        ):
            axes.bar(centres, 100 * share, width, color=colour, alpha=0.55, lw=0, label=label)
            axes.step(found.edges[:-1], 100 * share, where="post", color=colour, lw=1.2)
        top = 100 * float(max(found.nontarget.max(), found.target.max()))
        axes.set_ylim(0, 1.3 * top)
        eer = measured.metrics["eer"].value
        # The labels point away from each other, whichever line is on the left.
        left = card_threshold is not None and measured.eer_threshold < card_threshold
        at = measured.eer_threshold
        _threshold(axes, at, f"{at:.3f}  EER {percent(eer)}", INK, 0.80, left=left)
        if card_threshold is not None:
            text = f"{card_threshold:.3f}  the card's, for FMR 1 %"
            _threshold(axes, card_threshold, text, COLOURS[1], 0.80, left=not left)
        axes.set_xlabel("score")
        axes.set_ylabel("share of the class's trials, %")
        axes.set_title(f"Scores: {names[name]}")
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper left")
    return path


def reliability(path: Path, systems: Sequence[tuple[str, Measured]]) -> Path:
    """Claimed probability against found share at even odds; on the diagonal they agree."""
    names = drawable(name for name, _ in systems)
    with figure(path, names, size=(5.2, 5.5 + 0.2 * len(systems))) as (drawn, axes):
        axes.plot([0, 100], [0, 100], color=FAINT, lw=0.9, ls=(0, (4, 4)), label="perfect")
        for i, (name, measured) in enumerate(systems):
            found = measured.reliability
            if found is None:
                continue
            cllr = measured.metrics["cllr"].value
            least = measured.metrics["min_cllr"].value
            axes.plot(
                100 * found.claimed,
                100 * found.found,
                "o-",
                ms=5,
                color=COLOURS[i % len(COLOURS)],
                mec="white",
                label=f"{names[name]}: Cllr {cllr:.3f}, {cllr - least:.3f} lost by calibration",
            )
        axes.set_xlim(-2, 102)
        axes.set_ylim(-2, 102)
        axes.set_aspect("equal")
        axes.set_xlabel("claimed probability of the same voice, %")
        axes.set_ylabel("found share of the same voice, %")
        axes.set_title("Calibration at even odds")
        drawn.legend(loc="outside lower left", ncols=1)
        drawn.draw_without_rendering()  # a layout with a fixed aspect settles at the second drawing
    return path


def _threshold(axes: Any, at: float, text: str, colour: str, height: float, *, left: bool) -> None:
    if not np.isfinite(at):
        return
    axes.axvline(at, color=colour, lw=1.2, ls=(0, (5, 2)))
    axes.annotate(
        text,
        (at, height),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if left else 5, 0),
        textcoords="offset points",
        color=colour,
        fontsize=9,
        ha="right" if left else "left",
        va="top",
        bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1.5},
    )
