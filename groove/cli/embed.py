"""groove embed: many recordings -> one file of embeddings."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groove.cli import options
from groove.cli.progress import bar
from groove.errors import ManifestError

if TYPE_CHECKING:
    from groove.bulk import Recording


@click.command("embed")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for embeddings.npz and failed.jsonl.",
)
@options.model
@click.option("--workers", type=click.IntRange(min=1), help="Workers.  [default: cores]")
@options.num_crops
@options.crop_sec
@options.channel
@options.as_json
def command(
    inputs: tuple[Path, ...],
    out: Path,
    model: str | None,
    workers: int | None,
    num_crops: int | None,
    crop_sec: float | None,
    channel: int | None,
    as_json: bool,
) -> None:
    """Embed many recordings, in parallel; the same command resumes after a kill.

    Exit status: 0 all embedded, 1 some failed (see failed.jsonl), 2 error.

    Example:  groove embed recordings/ --out embeddings/
    """
    from groove.api import Embedder
    from groove.bulk import FAILED, embed_many

    recordings = _recordings(inputs)
    embedder = Embedder(model, threads=1, num_crops=num_crops, crop_sec=crop_sec, channel=channel)
    workers = workers or os.cpu_count() or 1
    with bar("embedding", len(recordings)) as advance:
        summary = embed_many(recordings, embedder, out, workers=workers, progress=advance)
    if as_json:
        click.echo(json.dumps(asdict(summary), default=str, ensure_ascii=False))
    else:
        speed = ""
        if summary.n_embedded:  # nothing heard, nothing to be fast at
            rate = summary.audio_s / summary.elapsed_s
            speed = (
                f"; {summary.audio_s:.0f} s of audio in {summary.elapsed_s:.1f} s "
                f"({rate:.0f} times real time)"
            )
        click.echo(
            f"{summary.n_embedded} embedded, {summary.n_known} known before, {summary.n_failed} "
            f"failed{speed}\n{summary.result}"
        )
    if summary.n_failed:
        click.echo(f"groove: {summary.n_failed} failed, see {out / FAILED}", err=True)
        sys.exit(1)


def _recordings(inputs: tuple[Path, ...]) -> list[Recording]:
    from groove.bulk import Recording, find_recordings
    from groove.joined import files_of_utterance
    from groove.manifest import read_manifest

    if not any(path.exists() for path in inputs):
        raise ManifestError(f"{inputs[0]}: no such file or folder")
    if len(inputs) == 1 and inputs[0].is_dir():
        return find_recordings(inputs[0])
    if len(inputs) == 1 and inputs[0].suffix == ".jsonl":
        return [
            Recording(u.utterance_id, Path(u.path), u.speaker_id, parts if len(parts) > 1 else ())
            for u in read_manifest(inputs[0])
            for parts in [files_of_utterance(u)]
        ]
    folders = [path for path in inputs if path.is_dir()]
    if folders:
        raise ManifestError(f"{folders[0]}: give one folder, or files, or one .jsonl manifest")
    return [Recording(str(path), path) for path in inputs]
