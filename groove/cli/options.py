"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

model = click.option(
    "--model", metavar="NAME|PATH", help="A name from `groove models list`, or a model file."
)
num_crops = click.option(
    "--num-crops", "--num_crops", type=int, help="Average so many evenly spaced crops."
)
crop_sec = click.option("--crop-sec", "--crop_sec", type=float, help="Seconds of a crop.")
channel = click.option(
    "--channel", type=int, help="Use this channel (1 is the first); by default all are mixed down."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
db = click.option(
    "--db",
    type=click.Path(path_type=Path),
    help="The store's file.  [default: GROOVE_DB, or the user's data folder]",
)
threshold = click.option(
    "--threshold", type=float, help="Accept from this cosine on, not a measured one."
)
