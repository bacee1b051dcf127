"""groove prepare: a corpus on disk -> the lists that training and evaluation read."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groove.cli import options
from groove.cli.progress import bar
from groove.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    from groove.corpora.files import Corpus
    from groove.preparation import Plan
    from groove.preparation.report import Stored

FEATURES = ("val", "all", "none")


@click.group("prepare")
def group() -> None:
    """Prepare a corpus for training: lists, split, stored features.

    Kill it whenever you like; the same command goes on from there.
    """


def _shared(join_s: float) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that every corpus has."""
    out = click.Path(path_type=Path)
    found = [
        click.option("--out", required=True, type=out, help="Folder of the lists; made if needed."),
        click.option(
            "--features",
            type=click.Choice(FEATURES),
            default="val",
            show_default=True,
            help="Whose features to store in fbank_pt/.",
        ),
        click.option(
            "--val-speakers", type=int, help="Validation speakers.  [default: 1 in 20, 2 to 100]"
        ),
        click.option(
            "--val-utterances",
            type=int,
            default=4,
            show_default=True,
            help="A validation speaker has at least so many.",
        ),
        click.option(
            "--seed",
            type=int,
            default=0,
            show_default=True,
            help="Chooses the validation speakers.",
        ),
        click.option(
            "--join-s",
            type=float,
            default=join_s,
            show_default=True,
            help="Join shorter training utterances to this many seconds; 0: never.",
        ),
        click.option(
            "--min-s",
            type=float,
            default=0.5,
            show_default=True,
            help="Drop what is shorter, once joined.",
        ),
        click.option(
            "--verify/--no-verify",
            default=True,
            show_default=True,
            help="Decode every file to its end, or read headers and ends alone.",
        ),
        click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: cores]"),
        options.as_json,
    ]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(found):
            function = option(function)
        return function

    return decorate


def _speakers_folder(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say where speakers' folders lie."""
    depth = click.option(
        "--speaker-depth",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="How deep below it the speakers' folders lie.",
    )
    root = click.Path(path_type=Path)
    return click.option("--root", required=True, type=root, help="It holds a folder per speaker.")(
        depth(function)
    )


@group.command("cnceleb")
@click.option("--root", type=click.Path(path_type=Path), help="The folder CN-Celeb_flac.")
@click.option("--root2", type=click.Path(path_type=Path), help="The folder CN-Celeb2_flac.")
@click.option(
    "--archives",
    type=click.Path(path_type=Path),
    help="Check the MD5 of the archives in this folder as well.",
)
@_shared(join_s=5.0)
def cnceleb(
    root: Path | None, root2: Path | None, archives: Path | None, out: Path, **settings: Any
) -> None:
    """Prepare CN-Celeb 1 and 2; the 200 evaluation speakers are kept out by the corpus's lists.

    Without --root2 it is CN-Celeb1 alone, without --root CN-Celeb2 alone.

    Example:  groove prepare cnceleb --root CN-Celeb_flac --out processed/cn_celeb1
    """
    from groove.corpora.cnceleb import read_cnceleb

    _check(settings["features"])
    corpus = read_cnceleb(root, root2)
    if archives is not None:
        corpus = replace(corpus, warnings=(*corpus.warnings, *_check_archives(archives)))
    _prepare(corpus, out, **settings)


@group.command("folder")
@_speakers_folder
@_shared(join_s=0.0)
def folder(root: Path, speaker_depth: int, out: Path, **settings: Any) -> None:
    """Prepare any folder of speaker/utterance audio: VoxCeleb, AISHELL, your own.

    Example:  groove prepare folder --root recordings --out processed/recordings
    """
    from groove.corpora.folder import read_folder

    _check(settings["features"])
    if out.resolve().is_relative_to(root.resolve()):
        raise SettingsError(f"--out {out} lies inside --root {root}; choose a folder beside it")
    _prepare(read_folder(root, speaker_depth=speaker_depth), out, **settings)


@group.command("list")
@_speakers_folder
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The list, such as test.jsonl."
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: cores]")
@options.as_json
def list_(root: Path, speaker_depth: int, out: Path, workers: int | None, as_json: bool) -> None:
    """List a folder of speaker/utterance audio, to evaluate or to calibrate on: nothing is split.

    What cannot be read is named and left out. See docs/manifest.md.

    Example:  groove prepare list --root recordings --out test.jsonl
    """
    from groove.corpora.files import is_audio_name
    from groove.corpora.folder import read_folder
    from groove.preparation.listing import write_list

    if not out.absolute().parent.is_dir():
        raise SettingsError(f"{out}: no such folder {out.parent}; make it first")
    if out.is_dir() or is_audio_name(out.name):
        raise SettingsError(f"{out}: not a list's name; wanted one such as test.jsonl")
    corpus = read_folder(root, speaker_depth=speaker_depth)
    listed, dropped = write_list(corpus, out, workers=workers or os.cpu_count() or 1, progress=bar)
    for one in dropped:
        click.echo(f"groove: {one.path}: left out: {one.reason}", err=True)
    told = {
        "list": str(out),
        "speakers": len({utterance.speaker_id for utterance in listed}),
        "utterances": len(listed),
        "seconds": round(sum(utterance.seconds for utterance in listed), 3),
        "dropped": len(dropped),
    }
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    click.echo(f"{out}: {told['utterances']:,} utterances of {told['speakers']:,} speakers")


@group.command("noise")
@click.argument("folders", nargs=-1, required=True, type=click.Path(), metavar="FOLDER...")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The file, such as musan.i16."
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: cores]")
@options.as_json
def noise(folders: tuple[str, ...], out: Path, workers: int | None, as_json: bool) -> None:
    """Decode folders of noise once, into one file that training reads instead of them.

    It is worth it for mp3 or opus, of which training decodes every piece anew, and where memory is
    short. Training needs the folders still, written as they are here. Exit status: 0 all packed,
    1 some left out (training refuses the folder until they are removed), 2 error.

    Example:  groove prepare noise musan --out musan.i16
    """
    from groove.training.noises import noise_utterances
    from groove.training.packing import pack

    utterances = noise_utterances(folders)
    try:
        with bar("packing", len(utterances)) as advance:
            failed = pack(
                utterances, out, workers=workers or os.cpu_count() or 1, progress=_since(advance)
            )
    except OSError as error:
        raise SettingsError(
            f"{out}: cannot be written ({error.strerror or error}); what is packed is kept: free "
            "space and start again"
        ) from error
    settings = [f"augment.noise_folders=[{','.join(folders)}]", f"augment.noise_pack={out}"]
    if as_json:
        told = {"files": len(utterances), "failed": dict(failed), "settings": settings}
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        click.echo(f"{len(utterances) - len(failed):,} files in {out}; train with")
        click.echo("  " + " ".join(f"'{setting}'" for setting in settings))
    for path, reason in failed:
        click.echo(f"groove: {path}: left out: {reason}; remove or replace the file", err=True)
    if failed:
        sys.exit(1)


def _since(advance: Callable[[int], None]) -> Callable[[int, int], None]:
    """What is told how much is done in all, for a bar that is told how much since."""
    before = 0

    def told(done: int, n_all: int) -> None:
        nonlocal before
        advance(done - before)
        before = done

    return told


def _check_archives(folder: Path) -> list[str]:
    from groove.corpora.archives import check_archives, find_archives

    found = find_archives(folder)
    n_bytes = sum(path.stat().st_size for paths in found.values() for path in paths)
    with bar("checking archives", n_bytes) as advance:
        return check_archives(found, advance)


def _check(features: str) -> None:
    if features != "none" and importlib.util.find_spec("torch") is None:
        raise MissingExtra(
            "storing features", "train", "or leave them out with --features none; torch writes them"
        )


def _prepare(
    corpus: Corpus,
    out: Path,
    *,
    features: str,
    workers: int | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Listen, decide, store, write the lists, tell."""
    from groove.preparation import Options, plan_corpus, report_of, write_lists_of

    started = time.monotonic()
    workers = workers or os.cpu_count() or 1
    click.echo(f"{corpus.name}: {len(corpus.files):,} files to prepare", err=True)
    plan = plan_corpus(corpus, out, Options(**settings), workers=workers, progress=bar)
    plan, stored = _store(plan, out, features, workers)
    click.echo("writing the lists", err=True)
    report = report_of(plan, stored)
    write_lists_of(plan, report, out)
    if as_json:
        click.echo(json.dumps(report.to_dict(), ensure_ascii=False))
        return
    click.echo(report.text())
    click.echo(
        f"{out}, in {time.monotonic() - started:.0f} s ({plan.n_known:,} files known before)"
    )


def _store(plan: Plan, out: Path, features: str, workers: int) -> tuple[Plan, Stored | None]:
    """Store what was asked for; the plan comes back without what could not be stored."""
    if features == "none":
        return plan, None
    from groove.fbank import FbankConfig
    from groove.preparation.report import Stored, size_text
    from groove.training.storing import refuse_too_large, store_features

    config = FbankConfig()
    groups = plan.val if features == "val" else [*plan.val, *plan.train]
    n_bytes = refuse_too_large(plan.utterances(groups), config, out)
    click.echo(
        f"features of {len(groups):,} utterances: {size_text(n_bytes)} in {out}/fbank_pt", err=True
    )
    done = store_features(
        plan.utterances(groups), len(groups), config, out, workers=workers, progress=bar
    )
    n_stored = done.n_made + done.n_known
    return plan.without(done.failed), Stored(features, n_stored, n_bytes, config.hash)
