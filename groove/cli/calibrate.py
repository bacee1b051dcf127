"""groove calibrate: thresholds and log-likelihood ratios, measured and written into a model."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groove.cli import options
from groove.cli.progress import line
from groove.errors import SettingsError
from groove.metrics import MIN_FALSE_MATCHES
from groove.verifier import DEFAULT_FMR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from groove.card import ModelCard, ThresholdTable
    from groove.embedder import Embedder
    from groove.evaluation.cache import EmbeddingCache
    from groove.evaluation.card_measures import MeasuredCard

FILE = click.Path(path_type=Path)


@click.command("calibrate")
@options.model
@click.option("--manifest", type=FILE, help="Speakers of neither training nor evaluation.")
@click.option("--trials", type=FILE, help="A list of its trials; without it every length.")
@click.option("--audio", type=FILE, help="The folder where the names of --trials begin.")
@click.option("--out", required=True, type=FILE, help="The calibrated copy of the model.")
@click.option("--measured-on", help="Name of the data, for the card.  [default: the file's]")
@click.option(
    "--telephone/--no-telephone",
    default=None,
    help="With --manifest alone: measure all again on telephone sound.  [default: yes]",
)
@click.option("--workers", type=click.IntRange(min=1), help="Workers.  [default: cores]")
@click.option("--cache", type=FILE, help="Keep embeddings here, to go on after a kill.")
@options.as_json
def command(
    model: str | None,
    manifest: Path | None,
    trials: Path | None,
    audio: Path | None,
    out: Path,
    measured_on: str | None,
    telephone: bool | None,
    workers: int | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Measure thresholds, limits of speech and a calibration, and write them into a copy.

    With --manifest alone utterances are cut and joined to lengths from 0.5 to 10 s, and there is a
    table of thresholds a length; then all of it once more through two simulated telephones (8 kHz,
    G.711; one passes 300 to 3400 Hz), for recordings that have nothing above 4 kHz. With --trials
    there is one table, for trials as they are, and the limits of speech stay. Use speakers that
    neither training nor evaluation holds: on its training speakers a model promises far too much.
    The copy has another hash than the model, so calibrate before enrolling voices.

    Example:  groove calibrate --model m.onnx --manifest calibration.jsonl --out calibrated.onnx
    """
    from groove.api import Embedder
    from groove.card_file import write_card
    from groove.evaluation.cache import EmbeddingCache
    from groove.models import path_of

    if trials is None and manifest is None:
        raise SettingsError("give --manifest, or --trials with --audio or --manifest")
    if trials is not None and telephone is not None:
        raise SettingsError(
            "--telephone and --no-telephone are for --manifest alone; trials are taken as they are"
        )
    if not out.parent.is_dir():  # before the work, not after it
        raise SettingsError(f"{out}: no such folder {out.parent}; make it first")
    embedder = Embedder(model, threads=1)
    name = measured_on or (trials or manifest or out).name
    n_workers = workers or os.cpu_count() or 1
    with EmbeddingCache(cache) as known:
        if trials is not None:
            card = _from_trials(embedder, known, trials, audio, manifest, name, n_workers)
        else:
            assert manifest is not None
            card = _from_manifest(
                embedder, known, manifest, name, n_workers, on_telephone=telephone is not False
            )
    write_card(path_of(model), card, out)
    line.clear()
    if as_json:
        click.echo(json.dumps(_measured(card), ensure_ascii=False))
        _warn_of_rates(card)
        return
    click.echo(_text(card))
    click.echo(str(out))
    _warn_of_rates(card)


def _from_manifest(
    embedder: Embedder,
    cache: EmbeddingCache,
    manifest: Path,
    name: str,
    workers: int,
    *,
    on_telephone: bool,
) -> ModelCard:
    from groove.embedder import Embedder as Plain
    from groove.evaluation.card_measures import measure_card
    from groove.evaluation.card_pieces import Lenient, embed_pieces
    from groove.manifest import read_manifest

    card = embedder.encoder.card
    utterances = read_manifest(manifest)
    listening = Plain(Lenient(embedder.encoder))

    def measured(where: str, *, on_telephone: bool) -> MeasuredCard:
        sets = embed_pieces(
            utterances,
            listening,
            cache,
            on_telephone=on_telephone,
            workers=workers,
            progress=lambda what, done, total: line.show(f"embedding at {what}", done, total),
            lost=_say_lost,
        )
        return measure_card(sets, f"{name}{where}", lambda text: click.echo(text, err=True))

    found = measured("", on_telephone=False)
    if not on_telephone:
        return found.applied_to(card)
    click.echo("the same through a telephone:", err=True)
    narrow = measured(", through a telephone", on_telephone=True)
    return found.applied_to(card, on_telephone=narrow)


def _from_trials(
    embedder: Embedder,
    cache: EmbeddingCache,
    trials: Path,
    audio: Path | None,
    manifest: Path | None,
    name: str,
    workers: int,
) -> ModelCard:
    from groove.card import NarrowBand
    from groove.evaluation.calibrate import measure_calibration
    from groove.evaluation.trial_sets import from_list, from_manifest

    if manifest is not None:
        found = from_manifest(manifest, trials=trials)
    elif audio is not None:
        found = from_list(trials, audio)
    else:
        raise SettingsError("--trials needs --audio FOLDER or --manifest FILE: what its names mean")
    fitted = measure_calibration(
        embedder, found, name, cache=cache, workers=workers, progress=line.show
    )
    left_out = fitted.exclusions
    _say_lost([(path, "no such file") for path in left_out.missing_files], "files")
    _say_lost(left_out.failed, f"of {left_out.n_recordings:,} recordings")
    if fitted.without_speech:
        click.echo(f"groove: fitted on the score alone, {fitted.without_speech}", err=True)
    card, narrow_band = embedder.encoder.card, None
    if fitted.is_telephone:
        narrow_band = NarrowBand((fitted.table,), fitted.calibration)
    elif card.narrow_band is not None:
        click.echo("groove: the card's thresholds for telephone sound are dropped", err=True)
    return replace(
        card,
        thresholds=(fitted.table,),
        calibration=fitted.calibration,
        narrow_band=narrow_band,
    )


def _say_lost(lost: Sequence[tuple[str, str]], of_what: str) -> None:
    """One line on standard error about what was left out; none where nothing was."""
    if lost:
        path, reason = lost[0]
        first = f"the first: {path}: {reason}"
        click.echo(f"groove: left out {len(lost):,} {of_what}; {first}", err=True)


def _measured(card: ModelCard) -> dict[str, object]:
    values = asdict(card)
    keys = (
        "name", "min_speech_s", "short_speech_s", "thresholds", "calibration", "narrow_band",
    )  # fmt: skip
    return {key: values[key] for key in keys}


def _text(card: ModelCard) -> str:
    narrow = card.narrow_band
    lines = [
        f"no answer below {card.min_speech_s:g} s of speech, a warning below "
        f"{card.short_speech_s:g} s",
        "thresholds by seconds of speech (down) and promised share of false matches (across)",
        *_grid(card.thresholds),
    ]
    if narrow is not None:
        lines += ["the same for telephone sound", *_grid(narrow.thresholds)]
    for what, fit in (
        ("calibration", card.calibration),
        ("calibration for telephone sound", narrow.calibration if narrow else None),
    ):
        if fit:
            lines.append(
                f"{what} on {fit.n_target:,} target and {fit.n_nontarget:,} non-target trials of "
                f"{fit.n_speakers:,} speakers"
            )
    return "\n".join(lines)


def _grid(tables: Sequence[ThresholdTable]) -> list[str]:
    """A row for each amount of speech, a column for each rate; "-" is not measurable."""
    rates = [row.fmr for row in tables[0].rows]
    lines = ["  speech s" + "".join(f"{f'{100 * rate:g} %':>9}" for rate in rates)]
    for table in tables:
        found = {row.fmr: row.threshold for row in table.rows}
        cells = [found.get(rate) for rate in rates]
        shown = "".join(f"{'-' if x is None else f'{x:.4f}':>9}" for x in cells)
        lines.append(f"{table.speech_s:10.2f}{shown}")
    return lines


def _warn_of_rates(card: ModelCard) -> None:
    """Say which promises are refused afterwards: one that some table lacks."""
    measured = [
        {row.fmr for row in table.rows if row.threshold is not None} for table in card.every_table
    ]
    common = set.intersection(*measured)
    if DEFAULT_FMR in common:
        return
    kept = f"with --fmr {min(common):g}, or" if common else "only"
    click.echo(
        "groove: these are too few pairs of different voices to promise the usual "
        f"{100 * DEFAULT_FMR:g} % of false matches at every amount of speech (it takes "
        f"{MIN_FALSE_MATCHES} false matches; '-' has fewer): compare answers {kept} with "
        "--threshold; a hundred speakers are enough",
        err=True,
    )
