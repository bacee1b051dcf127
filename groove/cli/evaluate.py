"""groove evaluate: trials and models in, a report out."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from groove.cli import options
from groove.cli.progress import line
from groove.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from groove.embedder import Embedder
    from groove.encoder import Encoder
    from groove.evaluation.cache import Embedded
    from groove.evaluation.systems import Settings, System
    from groove.evaluation.trial_sets import TrialSet

FILE = click.Path(path_type=Path)


@click.command("evaluate")
@click.option(
    "--model", "models", multiple=True, metavar="NAME|PATH", help="A model; again to compare."
)
@click.option("--manifest", type=FILE, help="Utterances: every pair, or those of --trials.")
@click.option("--trials", type=FILE, help="A list: VoxCeleb's, Kaldi's or CSV.")
@click.option("--audio", type=FILE, help="The folder where the names of --trials begin.")
@click.option("--enroll-map", type=FILE, help="Lines `enrollment file file ...` for --trials.")
@click.option("--form", type=click.Choice(["voxceleb", "kaldi", "csv"]), help="Of --trials.")
@click.option("--val-meta", type=FILE, help="val_meta.jsonl of preprocessing: pairs by seed.")
@click.option("--cnceleb", type=FILE, help="CN-Celeb_flac: the official trials, both protocols.")
@click.option("--out", required=True, type=FILE, help="Folder for the report; it is made.")
@click.option("--as-norm", type=FILE, help="Normalise scores against a manifest's speakers.")
@click.option("--top-n", type=click.IntRange(min=2), default=300, help="Nearest cohort speakers.")
@click.option("--cohort", type=FILE, help="A manifest for --subtract-mean without --as-norm.")
@click.option("--subtract-mean", is_flag=True, help="Subtract the cohort's mean embedding.")
@click.option("--calibrate-on", type=FILE, help="Fit log-likelihood ratios on this manifest.")
@click.option("--by", default="genre", help="The manifest's field to break down by.")
@options.num_crops
@options.crop_sec
@click.option(
    "--average",
    type=click.Choice(["embeddings", "scores"]),
    default="embeddings",
    help="What is averaged over crops.",
)
@options.channel
@click.option("--n-trials", type=click.IntRange(min=2), help="Most pairs of a manifest.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Pairs and draws.")
@click.option("--draws", type=click.IntRange(min=1), default=1000, help="Draws of an interval.")
@click.option("--workers", type=click.IntRange(min=1), help="Workers.  [default: cores]")
@click.option("--cache", type=FILE, help="Known embeddings.  [default: in --out]")
@click.option("--strict", is_flag=True, help="A missing file is an error, not a counted loss.")
@click.option(
    "--every-recording",
    is_flag=True,
    help="Score recordings with little or no speech too, as other toolkits do.",
)
@click.option("--no-figures", is_flag=True, help="Numbers and tables only.")
@options.as_json
def command(models: tuple[str, ...], out: Path, as_json: bool, **given: Any) -> None:
    """Evaluate models on trials: every metric with its interval, figures, one report.

    Give one of --manifest, --trials with --audio (or --manifest), --val-meta, --cnceleb. With two
    or more models the differences are tested on the same draws of speakers.

    Exit status: 0 done, 2 error.

    Example:  groove evaluate --model campplus-zh-en --manifest test.jsonl --out report/
    """
    from groove.evaluation.cache import EmbeddingCache
    from groove.evaluation.evaluate import evaluate
    from groove.evaluation.report import to_json, write_report

    asked = Asked(**given)
    trial_sets = _trial_sets(asked)
    systems, settings = _systems(models or (None,), asked, trial_sets), _settings(asked)
    with EmbeddingCache(asked.cache or out / "embeddings.sqlite") as cache:
        report = evaluate(systems, trial_sets, settings, cache=cache, progress=line.show)
    line.show("writing", 1, 1)
    written = write_report(report, out, figures=not asked.no_figures)
    line.clear()
    if as_json:
        click.echo(json.dumps(to_json(report), ensure_ascii=False))
        return
    click.echo((out / "metrics.txt").read_text(encoding="utf-8"))
    click.echo("\n".join(str(path) for path in written))


@dataclass(frozen=True)
class Asked:
    """What was asked for; see the options of the same names."""

    manifest: Path | None
    trials: Path | None
    audio: Path | None
    enroll_map: Path | None
    form: Literal["voxceleb", "kaldi", "csv"] | None
    val_meta: Path | None
    cnceleb: Path | None
    as_norm: Path | None
    top_n: int
    cohort: Path | None
    subtract_mean: bool
    calibrate_on: Path | None
    by: str
    num_crops: int | None
    crop_sec: float | None
    average: str
    channel: int | None
    n_trials: int | None
    seed: int
    draws: int
    workers: int | None
    cache: Path | None
    strict: bool
    every_recording: bool
    no_figures: bool


def _trial_sets(asked: Asked) -> tuple[TrialSet, ...]:
    from groove.corpora.cnceleb_eval import read_cnceleb_eval
    from groove.evaluation import trial_sets

    sources = [asked.val_meta, asked.cnceleb, asked.manifest or asked.trials]
    if sum(source is not None for source in sources) != 1:
        raise SettingsError(
            "give one of --manifest, --trials with --audio or --manifest, --val-meta, --cnceleb"
        )
    n_trials = asked.n_trials or trial_sets.ALL_PAIRS_UP_TO
    if asked.cnceleb:
        return read_cnceleb_eval(asked.cnceleb)
    if asked.val_meta:
        return (trial_sets.from_val_meta(asked.val_meta, n_trials=n_trials, seed=asked.seed),)
    if asked.manifest:
        return (
            trial_sets.from_manifest(
                asked.manifest,
                trials=asked.trials,
                form=asked.form,
                enroll_map=asked.enroll_map,
                n_trials=n_trials,
                seed=asked.seed,
                condition=asked.by,
            ),
        )
    assert asked.trials is not None
    if asked.audio is None:
        raise SettingsError("--trials needs --audio FOLDER or --manifest FILE: what its names mean")
    return (
        trial_sets.from_list(
            asked.trials, asked.audio, form=asked.form, enroll_map=asked.enroll_map
        ),
    )


def _systems(
    models: tuple[str | None, ...], asked: Asked, trial_sets: tuple[TrialSet, ...]
) -> list[System]:
    from groove.api import Embedder
    from groove.evaluation.systems import STORED_SUFFIX, System

    files = [path for one in trial_sets for path in one.test_files if path is not None]
    has_stored = any(path.suffix == STORED_SUFFIX for path in files)

    found: list[System] = []
    for model in models:
        embedder = Embedder(
            model,
            threads=1,
            num_crops=asked.num_crops,
            crop_sec=asked.crop_sec,
            channel=asked.channel,
        )
        embedder.every_recording = asked.every_recording
        name = embedder.encoder.card.name
        taken = {system.name for system in found}
        while name in taken:
            name = f"{embedder.encoder.card.name} ({model or len(found) + 1})"
            name = name if name not in taken else f"{name} {len(found) + 1}"
        stored = stored_embedder(embedder) if has_stored else None
        trained_on, chosen_on = _known_speakers(embedder.encoder, asked, trial_sets)
        found.append(System(name, embedder, stored, trained_on, chosen_on))
    return found


def _known_speakers(
    encoder: Encoder, asked: Asked, trial_sets: tuple[TrialSet, ...]
) -> tuple[frozenset[str], frozenset[str]]:
    """Whom a checkpoint was trained on, and on whom its best epoch was chosen; else nobody."""
    from groove.manifest import read_manifest

    trained_on: frozenset[str] = getattr(encoder, "training_speakers", frozenset())
    validated_on = Path(getattr(encoder, "validated_on", ""))
    if not trained_on:
        return frozenset(), frozenset()
    if validated_on.is_file():
        return trained_on, frozenset(u.speaker_id for u in read_manifest(validated_on))
    if asked.val_meta:  # what preprocessing holds back is what training validates on
        return trained_on, frozenset().union(*(one.named_speakers for one in trial_sets))
    return trained_on, frozenset()


def stored_embedder(embedder: Embedder) -> Callable[[Path], Embedded]:
    """For val_meta.jsonl whose recordings are not here but whose features are."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("evaluating stored features", "train", "torch opens them")
    from groove.training.stored_embedding import StoredEmbedder

    return StoredEmbedder(embedder)


def _settings(asked: Asked) -> Settings:
    from groove.evaluation.systems import Settings
    from groove.evaluation.trial_sets import from_manifest
    from groove.manifest import read_manifest

    cohort = asked.cohort or asked.as_norm
    if asked.subtract_mean and cohort is None:
        raise SettingsError("--subtract-mean needs --as-norm or --cohort: whose mean is it?")
    if asked.cohort and asked.as_norm and asked.cohort != asked.as_norm:
        raise SettingsError("--cohort and --as-norm name different manifests; give one")
    if asked.average == "scores" and asked.num_crops is None:
        raise SettingsError("--average scores needs --num-crops: it averages over pairs of crops")
    if asked.average == "scores" and asked.subtract_mean:
        raise SettingsError("--average scores and --subtract-mean do not go together; drop one")
    return Settings(
        cohort=tuple(read_manifest(cohort)) if cohort else (),
        as_norm=asked.as_norm is not None,
        top_n=asked.top_n,
        subtract_mean=asked.subtract_mean,
        crop_scores=asked.average == "scores",
        calibration_set=from_manifest(asked.calibrate_on) if asked.calibrate_on else None,
        n_draws=asked.draws,
        seed=asked.seed,
        workers=asked.workers or os.cpu_count() or 1,
        strict=asked.strict,
    )
