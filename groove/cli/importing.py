"""groove import: a public checkpoint -> a model file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from groove.errors import MissingExtra, SettingsError


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--kind", required=True, help="3dspeaker-campplus, wespeaker-ecapa or wespeaker-campplus."
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The model file to write."
)
@click.option("--name", help="Its name.  [default: the file's]")
@click.option("--licence", default="unknown", help="The weights' licence.")
@click.option("--features-in", is_flag=True, help="Take frames [B, T, 80], not a waveform.")
def command(
    file: Path, kind: str, out: Path, name: str | None, licence: str, features_in: bool
) -> None:
    """Turn a public checkpoint into a model file that holds its front end and a card.

    Layer names and shapes are checked. The result has no measured threshold: give --threshold
    to compare, or calibrate it.

    Example:  groove import avg_model.pt --kind wespeaker-ecapa --out ecapa.onnx
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("groove import", "train", "torch reads the checkpoint")
    from groove.training.importers import KINDS, convert_checkpoint

    if kind not in KINDS:
        raise SettingsError(f"--kind {kind}: not known; wanted one of {', '.join(KINDS)}")
    fields = {"name": name or out.stem, "version": "imported", "licence": licence}
    fields |= {"source": file.name}
    convert_checkpoint(
        file, kind, out, card_fields=fields, model_input="fbank" if features_in else "waveform"
    )
    click.echo(str(out))
