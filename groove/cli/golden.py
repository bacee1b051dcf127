"""groove golden: the numbers that a client on another platform must reproduce."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groove.cli import options

if TYPE_CHECKING:
    from groove.golden import Checked


@click.command("golden")
@click.argument("recordings", nargs=-1, type=click.Path(path_type=Path))
@options.model
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for golden.npz and golden.json.",
)
@click.option(
    "--check",
    "client",
    type=click.Path(path_type=Path),
    help="Write nothing: compare this file, which a client made, with the fixture in --out.",
)
@click.option("--partial", is_flag=True, help="With --check: cases may be left out, but not all.")
@options.as_json
def command(
    recordings: tuple[Path, ...],
    model: str | None,
    out: Path,
    client: Path | None,
    partial: bool,
    as_json: bool,
) -> None:
    """Write waveforms, features and embeddings for checking a client, or check one.

    The first 2 s of each of RECORDINGS stand in what is written.

    Exit status: 0 written, or every case holds; 1 a case does not, or is not there; 2 error.

    Example:  groove golden examples/voice_a_1.wav --out golden/
    """
    from groove import golden
    from groove.loading import open_encoder

    if client is None:
        paths = golden.write(open_encoder(model, threads=1), out, recordings)
        click.echo("\n".join(map(str, paths)))
        return
    checked = golden.check(out / "golden.json", client, partial=partial)
    if as_json:
        click.echo(golden.to_json(checked))
    else:
        click.echo("\n".join(_line(c) for c in checked))
    sys.exit(0 if all(c.holds for c in checked) else 1)


def _line(checked: Checked) -> str:
    features = (
        "features not given"
        if checked.feature_difference is None
        else f"features off by {checked.feature_difference:.6f} on average"
    )
    embedding = (
        "embedding not given"
        if checked.embedding_cosine is None
        else f"embedding cosine {checked.embedding_cosine:.6f}"
    )
    return f"{'holds' if checked.holds else 'FAILS'}  {checked.name}: {features}, {embedding}"
