"""Pictures and cards of the web page, as HTML and SVG that need nothing from outside.

Everything that came from people (names, file names, errors) is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from groove.bands import FRAME
from groove.speech import THRESHOLD

N_BARS = 160
LOWEST, HIGHEST = -0.2, 1.0  # scores that the gauge shows


@dataclass(frozen=True)
class Trace:
    """A waveform to draw: peak [N_BARS] in 0 to 1, and whether a bar is speech."""

    peaks: NDArray[np.float32]
    is_speech: NDArray[np.bool_]


class Tracer:
    """Takes a recording in block by block and keeps the peak of each frame, not the samples."""

    def __init__(self) -> None:
        self._peaks: list[NDArray[np.float32]] = []
        self._rest = np.zeros(0, np.float32)

    def push(self, block: NDArray[np.float32]) -> None:
        """The next samples [s] at 16 kHz."""
        samples = np.concatenate([self._rest, block])
        whole = len(samples) - len(samples) % FRAME
        self._peaks.append(np.abs(samples[:whole].reshape(-1, FRAME)).max(axis=1))
        self._rest = samples[whole:]

    def trace(self, probabilities: NDArray[np.float32]) -> Trace:
        """What to draw, with the speech probabilities [T] of the same frames."""
        peaks = np.concatenate([np.zeros(0, np.float32), *self._peaks])
        n_frames = min(len(peaks), len(probabilities))
        if n_frames == 0:
            return Trace(np.zeros(N_BARS, np.float32), np.zeros(N_BARS, np.bool_))
        n_bars = min(N_BARS, n_frames)
        starts = np.arange(n_bars) * n_frames // n_bars
        bars = np.maximum.reduceat(peaks[:n_frames], starts)
        speech = np.maximum.reduceat(probabilities[:n_frames] >= THRESHOLD, starts)
        highest = np.float32(max(float(bars.max()), 1e-6))
        return Trace((bars / highest).astype(np.float32), speech)


def waveform(trace: Trace, title: str, note: str) -> str:
    """A waveform with its name and a note."""
    bars = []
    for i, (peak, speech) in enumerate(zip(trace.peaks, trace.is_speech, strict=True)):
        height = 2 + 58 * float(peak)
        kind = "speech" if speech else "pause"
        bars.append(
            f'<rect class="{kind}" x="{4 * i}" y="{32 - height / 2:.1f}" width="2.6" '
            f'height="{height:.1f}" rx="1.3"/>'
        )
    width = 4 * max(len(trace.peaks), 1)
    return (
        f'<figure class="wave"><figcaption><b>{escape(title)}</b><span>{escape(note)}</span>'
        f'</figcaption><svg viewBox="0 0 {width} 64" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}: {escape(note)}">{"".join(bars)}</svg></figure>'
    )


def gauge(score: float | None, threshold: float, words: tuple[str, str]) -> str:
    """A half circle from -0.2 to 1: refused below the threshold, accepted from it on.

    Args:
        score: where the needle points; None: no needle.
        threshold: where the colours change.
        words: for "score" and "threshold".
    """
    parts = [
        _arc(LOWEST, threshold, "refused"),
        _arc(threshold, HIGHEST, "accepted"),
        _tick(threshold, words[1], f"{threshold:.2f}"),
    ]
    shown = "–" if score is None else f"{score:.2f}"
    if score is not None:
        angle = 180 * _share(score) - 90
        parts.append(
            f'<g class="needle" style="--turn:{angle:.1f}deg">'
            '<path d="M -3.2 0 L 0 -74 L 3.2 0 Z"/><circle r="7"/></g>'
        )
    return (
        '<svg class="gauge" viewBox="-132 -124 264 168" role="img" '
        f'aria-label="{escape(words[0])} {shown}, {escape(words[1])} {threshold:.2f}">'
        f'{"".join(parts)}<text class="value" y="34">{shown}</text></svg>'
        f'<div class="gauge-name">{escape(words[0])}</div>'
    )


def beside(dial: str, text: str) -> str:
    """A gauge with the reasons beside it, or beneath it on a narrow screen."""
    return f'<div class="verdict"><div class="dial">{dial}</div>{text}</div>'


def waves(shown: Sequence[str]) -> str:
    """Waveforms beside each other."""
    return f'<div class="waves">{"".join(shown)}</div>'


def card(kind: str, headline: str, sub: str, body: str) -> str:
    """An answer. ``body`` is HTML that was made here; the rest is text."""
    return (
        f'<section class="card {kind}" role="status"><header><span class="mark"></span><div>'
        f'<h2>{escape(headline)}</h2><p class="sub">{escape(sub)}</p></div></header>'
        f"{body}</section>"
    )


def reasons(title: str, sentences: Sequence[str], warnings: Sequence[str]) -> str:
    """Why: sentences, and warnings beneath."""
    lines = "".join(f"<li>{escape(s)}</li>" for s in sentences)
    lines += "".join(f'<li class="warning">{escape(w)}</li>' for w in warnings)
    return f'<div class="why"><h3>{escape(title)}</h3><ul>{lines}</ul></div>'


@dataclass(frozen=True)
class Bar:
    """A row of `chances`."""

    name: str
    note: str
    share: float | None  # 0 to 1
    text: str
    accepted: bool


def chances(rows: Sequence[Bar]) -> str:
    """Candidates with a bar each."""
    shown = []
    for row in rows:
        kind = "candidate accepted" if row.accepted else "candidate"
        width = 0.0 if row.share is None else 100 * row.share
        shown.append(
            f'<div class="{kind}"><b>{escape(row.name)}</b><span>{escape(row.note)}</span>'
            f'<em>{escape(row.text)}</em><i style="width:{width:.1f}%"></i></div>'
        )
    return f'<div class="candidates">{"".join(shown)}</div>'


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain table."""
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-name="{escape(c)}">{escape(cell)}</td>'
            for c, cell in zip(columns, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<table class="people"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def live(kind: str, name: str, sub: str) -> str:
    """The name that is shown while somebody talks."""
    return (
        f'<section class="live {kind}" role="status"><span class="pulse"></span>'
        f"<h2>{escape(name)}</h2><p>{escape(sub)}</p></section>"
    )


def _share(score: float) -> float:
    return min(max((score - LOWEST) / (HIGHEST - LOWEST), 0.0), 1.0)


def _point(score: float, radius: float) -> tuple[float, float]:
    angle = math.pi * (1 - _share(score))
    return radius * math.cos(angle), -radius * math.sin(angle)


def _arc(start: float, end: float, kind: str) -> str:
    (x0, y0), (x1, y1) = _point(start, 88), _point(end, 88)
    return f'<path class="{kind}" d="M {x0:.2f} {y0:.2f} A 88 88 0 0 1 {x1:.2f} {y1:.2f}"/>'


def _tick(score: float, word: str, value: str) -> str:
    (x0, y0), (x1, y1), (x, y) = (_point(score, r) for r in (76, 100, 109))
    side = "end" if x < -12 else "start" if x > 12 else "middle"
    return (
        f'<line class="tick" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'
        f'<text class="label" x="{x:.1f}" y="{y:.1f}" text-anchor="{side}">'
        f"{escape(word)} {value}</text>"
    )
