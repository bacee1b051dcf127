"""groove verify and identify: is it the one who enrolled, and who is it?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from groove.cli import options
from groove.cli.compare import EXIT_STATUS, HEADLINES, judged_lines, percent
from groove.cli.people import count, open_store, to_json, warning_lines

if TYPE_CHECKING:
    from groove.verifier import Side
    from groove.voiceprints.answers import Identification, Verification

IDENTIFIED = {"named": 0, "nobody": 1, "undecided": 2}


@click.command("verify")
@click.argument("name")
@click.argument("file")
@options.model
@click.option("--fmr", type=float, help="False-match rate to promise.  [default: 0.01]")
@options.threshold
@options.db
@options.as_json
def verify(
    name: str,
    file: str,
    model: str | None,
    fmr: float | None,
    threshold: float | None,
    db: Path | None,
    as_json: bool,
) -> NoReturn:
    """Say whether a recording holds the voice of somebody who is enrolled.

    NAME is a name or an id. Exit status: 0 yes, 1 no, 2 undecided or error.

    Example:  groove verify 张三 c.wav
    """
    answer = open_store(db, model, must_exist=True, fmr=fmr, threshold=threshold).verify(name, file)
    click.echo(to_json(answer.to_dict()) if as_json else _verification_text(answer))
    sys.exit(EXIT_STATUS[answer.decision])


@click.command("identify")
@click.argument("file")
@click.option("--top", type=click.IntRange(min=1), default=5, help="Candidates to show.")
@click.option(
    "--fpir", type=float, default=0.01, help="How often a stranger may be named.  [default: 0.01]"
)
@options.model
@options.threshold
@options.db
@options.as_json
def identify(
    file: str,
    top: int,
    fpir: float,
    model: str | None,
    threshold: float | None,
    db: Path | None,
    as_json: bool,
) -> NoReturn:
    """Say who of those who are enrolled is talking, or nobody of them.

    The threshold grows with the number of people. Exit status: 0 somebody, 1 nobody, 2 undecided or
    error.

    Example:  groove identify c.wav --top 5
    """
    store = open_store(db, model, must_exist=True, threshold=threshold, fpir=fpir)
    answer = store.identify(file, top=top)
    click.echo(to_json(answer.to_dict()) if as_json else _identification_text(answer))
    sys.exit(IDENTIFIED[answer.decision])


COMMANDS = (verify, identify)


def _verification_text(answer: Verification) -> str:
    a = answer
    score = "none" if a.score is None else f"{a.score:.4f}  (cosine, -1 to 1)"
    lines = [
        f"decision     {HEADLINES[a.decision]}",
        f"score        {score}",
        *judged_lines(a),
    ]
    lines += [
        f"enrolled     {a.name}: {count(a.n_utterances, 'recording')}, "
        f"{a.enrolled_speech_s:.1f} s of speech",
        _side(a.test),
        f"model        {a.model}, {a.seconds:.2f} s",
        *warning_lines(a.warnings),
    ]
    return "\n".join(lines)


def _identification_text(answer: Identification) -> str:
    a = answer
    who = {"named": a.name, "nobody": "nobody who is enrolled", "undecided": "undecided"}
    lines = [f"speaker      {who[a.decision]}"]
    for i, c in enumerate(a.candidates, 1):
        chance = "" if c.probability is None else f"  {percent(c.probability)}"
        mark = "  accepted" if c.accepted else ""
        lines.append(f"{i:<12} {c.score:.4f}{chance}  {c.name}  {c.person_id}{mark}")
    if a.nobody_probability is not None:
        lines.append(f"nobody       {percent(a.nobody_probability)}")
    lines += [
        f"threshold    {a.threshold:.4f}  {a.rule}",
        _side(a.test),
        f"model        {a.model}, {count(a.n_people, 'person', 'people')}, {a.seconds:.2f} s",
        *warning_lines(a.warnings),
    ]
    return "\n".join(lines)


def _side(side: Side) -> str:
    speech = side.speech
    return f"recording    {side.name}: {speech.seconds:.1f} s, {speech.speech_s:.1f} s of speech"
