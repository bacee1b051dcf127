"""groove compare: two recordings in, one answer out."""

from __future__ import annotations

import json
import sys
from typing import NoReturn

import click

from groove.cli import options
from groove.verifier import Comparison, Judgement, Side

EXIT_STATUS = {"same": 0, "different": 1, "undecided": 2}
HEADLINES = {"same": "same voice", "different": "different voices", "undecided": "undecided"}


@click.command("compare")
@click.argument("a")
@click.argument("b")
@options.model
@click.option("--fmr", type=float, help="False-match rate to promise.  [default: 0.01]")
@click.option("--threshold", type=float, help="Accept from this cosine on, not a measured one.")
@options.num_crops
@options.crop_sec
@options.channel
@click.option("--threads", type=int, help="Threads of the encoder.  [default: all cores]")
@options.as_json
def command(
    a: str,
    b: str,
    model: str | None,
    fmr: float | None,
    threshold: float | None,
    num_crops: int | None,
    crop_sec: float | None,
    channel: int | None,
    threads: int | None,
    as_json: bool,
) -> NoReturn:
    """Say whether two recordings hold the same voice, how sure, and why it may be wrong.

    Exit status: 0 same, 1 different, 2 undecided or error.

    Example:  groove compare examples/voice_a_1.wav examples/voice_a_2.wav
    """
    from groove.api import Verifier

    verifier = Verifier(
        model,
        threads=threads,
        fmr=fmr,
        threshold=threshold,
        num_crops=num_crops,
        crop_sec=crop_sec,
        channel=channel,
    )
    comparison = verifier.compare(a, b, progress=_progress if sys.stderr.isatty() else None)
    click.echo(json.dumps(to_json(comparison), ensure_ascii=False) if as_json else text(comparison))
    sys.exit(EXIT_STATUS[comparison.decision])


def to_json(comparison: Comparison) -> dict[str, object]:
    """The object that ``--json`` prints: a `Comparison`'s fields, the headline ones first."""
    values = comparison.to_dict()
    first = ("score", "threshold", "decision", "probability", "llr", "warnings", "model", "seconds")
    return {key: values[key] for key in first} | values


def text(comparison: Comparison) -> str:
    """What a person reads."""
    c = comparison
    score = "none" if c.score is None else f"{c.score:.4f}  (cosine, -1 to 1)"
    lines = [
        f"decision     {HEADLINES[c.decision]}",
        f"score        {score}",
        *judged_lines(c),
        _side("a", c.a),
        _side("b", c.b),
    ]
    lines.append(f"model        {c.model}, {c.seconds:.2f} s")
    lines += [
        f"warning      {w.recording + ': ' if w.recording else ''}{w.text}" for w in c.warnings
    ] or ["warnings     none"]
    return "\n".join(lines)


def judged_lines(judged: Judgement) -> list[str]:
    """The threshold and the probability of an answer that has a score."""
    if judged.score is None:
        return []
    lines = [f"threshold    {judged.threshold:.4f}  {judged.rule}"]
    if judged.probability is not None and judged.llr is not None:
        lines.append(
            f"probability  {percent(judged.probability)} that the voice is the same, at even odds "
            f"beforehand (log-likelihood ratio {judged.llr:+.2f})"
        )
    return lines


def _side(label: str, side: Side) -> str:
    speech = side.speech
    noise = "" if speech.snr_db is None else f", {speech.snr_db:.0f} dB above the noise"
    return (
        f"{label}            {side.name}: {speech.seconds:.1f} s, {speech.speech_s:.1f} s of "
        f"speech{noise}"
    )


def percent(chance: float) -> str:
    """Never 100 % nor 0 %: a calibration cannot know that."""
    value = 100 * chance
    if value > 99.99:
        return "> 99.99 %"
    return "< 0.01 %" if value < 0.01 else f"{value:.2f} %"


def _progress(name: str, seconds: float) -> None:
    """One line that overwrites itself, for recordings of more than one window."""
    if seconds > 60:
        sys.stderr.write(f"\r\033[K{name}: {seconds / 60:.0f} min listened to")
        sys.stderr.flush()
        if seconds % 60:
            sys.stderr.write("\r\033[K")
