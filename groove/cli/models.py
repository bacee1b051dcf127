"""groove models: what is known, what is here, and how to get it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from groove.cli import options

if TYPE_CHECKING:
    from groove.models import BuiltInModel


@click.group("models")
def group() -> None:
    """List, show and pull models."""


@group.command("list")
@options.as_json
def list_models(as_json: bool) -> None:
    """List the models that Groove knows by name, and which are here.

    Example:  groove models list
    """
    from groove import models

    rows = [_in_package(model) for model in models.BUILT_IN.values()]
    rows += [
        {"name": e.name, "here": models.installed(e.name) is not None, "summary": e.summary}
        | {"licence": e.licence, "size": e.size, "default": e.name == models.DEFAULT}
        for e in models.catalogue().values()
    ]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        built_in = row["name"] in models.BUILT_IN
        here = "in the package" if built_in else "pulled" if row["here"] else "not here"
        mark = " (default)" if row["default"] else ""
        click.echo(
            f"{row['name']}{mark}  {here}  {row['size'] / 1e6:.1f} MB  {row['licence']}  "
            f"{row['summary']}"
        )
    click.echo(f"pulled models: {models.models_folder()}")


@group.command("show")
@click.argument("name")
@options.as_json
def show(name: str, as_json: bool) -> None:
    """Show a model's source, licence, hashes and measured thresholds; check the file here.

    Example:  groove models show campplus-zh-en
    """
    from groove import models

    if name in models.BUILT_IN:
        _show_built_in(models.BUILT_IN[name], as_json)
        return
    entry, record = models.entry(name), models.installed(name)
    sound = models.verify_installed(name) if record else None
    if as_json:
        values = {"catalogue": asdict(entry), "installed": record and asdict(record)}
        click.echo(json.dumps(values | {"hash_matches": sound}, ensure_ascii=False))
        sys.exit(2 if sound is False else 0)
    lines = {
        "name": entry.name,
        "what": entry.summary,
        "licence": entry.licence,
        "credit": entry.credit,
        "page": entry.page,
        "checkpoint": f"{entry.checkpoint}, {entry.size} bytes",
        "SHA-256": entry.sha256,
        "here": "no" if record is None else str(models.model_path(name)),
    }
    if record:
        verdict = "as pulled" if sound else "NOT what was pulled: run  groove models pull again"
        lines |= {
            "file": f"{record.size} bytes, SHA-256 {record.sha256}, {verdict}",
            "fetched": f"from {record.fetched_from}, converted with {record.converted_with}",
        }
    _tell(lines, _tables(entry.card))
    sys.exit(2 if sound is False else 0)


@group.command("pull")
@click.argument("name")
@click.option("--force", is_flag=True, help="Fetch and convert even if it is here.")
def pull(name: str, force: bool) -> None:
    """Fetch a model once and convert it; needs the train extra, later use does not.

    Example:  groove models pull campplus-zh-en
    """
    from groove import models
    from groove.pull import pull as pull_model

    if name in models.BUILT_IN:
        click.echo(str(models.BUILT_IN[name].path))
        click.echo(f"{name} is part of the package: nothing to fetch", err=True)
        return
    path = pull_model(name, force=force, progress=_progress if sys.stderr.isatty() else None)
    click.echo(str(path))


def _in_package(model: BuiltInModel) -> dict[str, Any]:
    """What a list says of a built-in model."""
    from groove import models
    from groove.encoder import OnnxEncoder

    card = OnnxEncoder(model.path, threads=1).card
    return {
        "name": model.name,
        "here": True,
        "summary": model.summary,
        "licence": card.licence,
        "size": model.path.stat().st_size,
        "default": model.name == models.DEFAULT,
    }


def _show_built_in(model: BuiltInModel, as_json: bool) -> None:
    from groove.encoder import OnnxEncoder

    encoder = OnnxEncoder(model.path, threads=1)
    card = json.loads(encoder.card.to_json())
    if as_json:
        known = {"path": str(model.path), "sha256": encoder.model_hash}
        click.echo(json.dumps({"built_in": known, "card": card}, ensure_ascii=False))
        return
    lines = {
        "name": f"{model.name} {card['version']}",
        "what": model.summary,
        "licence": card["licence"],
        "source": card["source"],
        "parent": card["parent"],
        "data": card["training_data"],
        "here": f"in the package, {model.path}",
        "file": f"{model.path.stat().st_size} bytes, SHA-256 {encoder.model_hash}",
    }
    _tell(lines, _tables(card))


def _tables(card: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of telephone sound last; a card may hold neither."""
    return [*card.get("thresholds", []), *(card.get("narrow_band") or {}).get("thresholds", [])]


def _tell(lines: dict[str, str], tables: list[dict[str, Any]]) -> None:
    for key, value in lines.items():
        click.echo(f"{key:<11} {value}")
    for table in tables:
        click.echo(f"thresholds  at {table['speech_s']:.1f} s of speech, {table['measured_on']}")
        for row in table["rows"]:
            click.echo(f"            {_row(row)}")


def _row(row: dict[str, float]) -> str:
    if row["threshold"] is None:
        return f"false matches {row['fmr']:g}: not measurable ({row['n_nontarget']} pairs)"
    return (
        f"false matches {row['fmr']:g}: threshold {row['threshold']:.4f}, false non-matches "
        f"{row['fnmr']:.4f}"
    )


def _progress(what: str, done: int, total: int) -> None:
    share = f" {100 * done // total} %" if total else " ..."
    end = "\n" if total and done == total else ""
    sys.stderr.write(f"\r\033[K{what}{share}{end}")
    sys.stderr.flush()
