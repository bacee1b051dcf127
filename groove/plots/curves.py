"""DET and ROC, several systems on one plot.

A curve is solid as far as 30 false matches support it and dotted beyond (Doddington et al. 2000).
The band holds the middle 95 % of the draws of speakers, point by point. A circle marks the EER, a
triangle the point of least cost at a target prior of 0.01, a square that at 0.05.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.evaluation.measures import Measured
from groove.metrics import MIN_FALSE_MATCHES
from groove.plots.fonts import drawable
from groove.plots.style import COLOURS, FAINT, INK, figure, percent

Floats = NDArray[np.float64]
Named = tuple[str, Measured]

MARKERS = {0.01: ("^", 9.0), 0.05: ("s", 5.0)}  # by target prior; one may lie on the other
DET_TICKS = (1e-5, 1e-4, 1e-3, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
LEAST, MOST = 1e-6, 1 - 1e-6  # a normal deviate needs rates between 0 and 1


def det(path: Path, systems: Sequence[Named]) -> Path:
    """The DET plot: both error rates on normal-deviate axes (Martin et al. 1997)."""
    names = drawable(name for name, _ in systems)
    with figure(path, names, size=_size(systems)) as (drawn, axes):
        for i, (name, measured) in enumerate(systems):
            _det_line(axes, names[name], measured, COLOURS[i % len(COLOURS)])
        low_x, low_y = _lowest(systems)
        axes.plot(*[_deviate(np.array([1e-5, 0.5]))] * 2, color=FAINT, lw=0.8, ls=(0, (4, 4)))
        for axis, low in ((axes.xaxis, low_x), (axes.yaxis, low_y)):
            shown = [tick for tick in DET_TICKS if tick >= low]
            axis.set_ticks(_deviate(np.array(shown)), [f"{100 * tick:g}" for tick in shown])
        axes.set_xlim(_deviate(low_x), _deviate(0.5))
        axes.set_ylim(_deviate(low_y), _deviate(0.5))
        axes.set_xlabel("false-match rate, %")
        axes.set_ylabel("false non-match rate, %")
        axes.set_title("Detection error trade-off")
        _say_faultless(axes, [names[name] for name, m in systems if not m.metrics["eer"].value])
        _legend(drawn, axes)
    return path


def roc(path: Path, systems: Sequence[Named]) -> Path:
    """The ROC with a logarithmic axis of false-match rates, where verification is used."""
    names = drawable(name for name, _ in systems)
    with figure(path, names, size=_size(systems)) as (drawn, axes):
        for i, (name, measured) in enumerate(systems):
            _roc_line(axes, names[name], measured, COLOURS[i % len(COLOURS)])
        axes.set_xscale("log")
        axes.set_xlim(_lowest(systems)[0], 1)
        floor = min(float((1 - m.curve.fnmr)[m.curve.fmr >= 1e-4].min()) for _, m in systems)
        bottom = max(0.0, 100 * floor - 2)
        axes.set_ylim(bottom, 100 + 0.03 * (100 - bottom))
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
        axes.set_xlabel("false-match rate, %")
        axes.set_ylabel("true-match rate, %")
        axes.set_title("Receiver operating characteristic")
        _say_faultless(axes, [names[name] for name, m in systems if not m.metrics["eer"].value])
        _legend(drawn, axes)
    return path


def _det_line(axes: Any, name: str, measured: Measured, colour: str) -> None:
    curve = measured.curve
    x, y = _deviate(curve.fmr), _deviate(curve.fnmr)
    axes.fill_between(x, _deviate(curve.low), _deviate(curve.high), color=colour, alpha=0.13, lw=0)
    supported = _supported(measured)
    axes.plot(x[supported], y[supported], color=colour, label=_label(name, measured))
    beyond = np.flatnonzero(~supported)
    if len(beyond):
        part = slice(0, beyond[-1] + 2)
        axes.plot(x[part], y[part], color=colour, lw=1.1, ls=(0, (1, 2)))
    eer = measured.metrics["eer"].value
    _points(axes, measured, colour, (_deviate(eer), _deviate(eer)), _deviate)


def _roc_line(axes: Any, name: str, measured: Measured, colour: str) -> None:
    curve = measured.curve
    hits = 100 * (1 - curve.fnmr)
    axes.fill_between(
        curve.fmr, 100 * (1 - curve.high), 100 * (1 - curve.low), color=colour, alpha=0.13, lw=0
    )
    supported = _supported(measured)
    axes.plot(curve.fmr[supported], hits[supported], color=colour, label=_label(name, measured))
    beyond = np.flatnonzero(~supported)
    if len(beyond):
        part = slice(0, beyond[-1] + 2)
        axes.plot(curve.fmr[part], hits[part], color=colour, lw=1.1, ls=(0, (1, 2)))
    eer = measured.metrics["eer"].value
    axes.plot(eer, 100 * (1 - eer), "o", ms=6, color=colour, mec="white", mew=1.2, zorder=5)
    for p, (fmr, fnmr) in curve.min_dcf_points.items():
        marker, size = MARKERS[p]
        at = max(fmr, LEAST), 100 * (1 - fnmr)
        axes.plot(*at, marker, ms=size, color=colour, mec="white", mew=1.2, zorder=5)


def _points(axes: Any, measured: Measured, colour: str, eer: tuple[Any, Any], scale: Any) -> None:
    style = {"color": colour, "mec": "white", "mew": 1.2, "zorder": 5}
    axes.plot(*eer, "o", ms=6, **style)
    for p, (fmr, fnmr) in measured.curve.min_dcf_points.items():
        marker, size = MARKERS[p]
        axes.plot(scale(fmr), scale(fnmr), marker, ms=size, **style)


def _size(systems: Sequence[Named]) -> tuple[float, float]:
    """The legend stands below the axes, so that it hides nothing."""
    return 6.2, 5.4 + 0.2 * len(systems)


def _say_faultless(axes: Any, names: Sequence[str]) -> None:
    """A curve without errors lies on the edge, where nobody looks for it."""
    if names:
        axes.annotate(
            "one threshold separates all trials, so the curve lies on the edge:\n"
            + ", ".join(names),
            (0.5, 0.5),
            xycoords="axes fraction",
            fontsize=9,
            color=INK,
            ha="center",
            va="center",
            bbox={"facecolor": "white", "alpha": 0.9, "lw": 0, "pad": 4},
        )


def _legend(drawn: Any, axes: Any) -> None:
    """The systems, then what the signs mean."""
    from matplotlib.lines import Line2D

    signs = [
        Line2D([], [], marker=marker, ls="", ms=5, color=INK, label=text)
        for marker, text in (("o", "EER"), ("^", "least cost, P 0.01"), ("s", "least cost, P 0.05"))
    ]
    signs.append(
        Line2D([], [], color=INK, lw=1.1, ls=(0, (1, 2)), label="fewer than 30 false matches")
    )
    handles, _ = axes.get_legend_handles_labels()
    own = axes.legend(
        handles=signs, loc="upper right" if axes.get_xscale() == "linear" else "lower right"
    )
    own.set_alpha(0.8)
    drawn.legend(handles=handles, loc="outside lower left", ncols=1)


def _label(name: str, measured: Measured) -> str:
    eer = measured.metrics["eer"]
    return f"{name}: EER {percent(eer.value)} ({percent(eer.low)} to {percent(eer.high)})"


def _supported(measured: Measured) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = measured.curve.fmr * measured.n_nontarget >= MIN_FALSE_MATCHES
    return found


def _lowest(systems: Sequence[Named]) -> tuple[float, float]:
    """Where the axes begin: a false match or two, and a little below the lowest curve."""
    x = min(max(1e-5, 2 / m.n_nontarget) for _, m in systems)
    y = min(
        max(2e-4, 0.5 / m.n_target, float(m.curve.fnmr[m.curve.fmr <= 0.3].min()) * 0.7)
        for _, m in systems
    )
    eer = min(max(LEAST, 0.6 * m.metrics["eer"].value) for _, m in systems)  # its point is seen
    return min(x, eer, 0.01), max(LEAST, min(y, eer, 0.1))


def _deviate(rate: Any) -> Any:
    """Rates as standard-normal quantiles; 0 and 1 are drawn at the edge."""
    quantile = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])
    found = quantile(np.clip(rate, LEAST, MOST))
    return found if np.ndim(rate) else float(found)
