"""groove demo: the web page."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from groove.cli import options
from groove.errors import MissingExtra


@click.command("demo")
@click.option("--host", default="127.0.0.1", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, help="[default: 7860]")
@click.option("--open/--no-open", "in_browser", default=False, help="Open it in the browser.")
@options.model
@options.db
def command(host: str, port: int, in_browser: bool, model: str | None, db: Path | None) -> None:
    """Serve a web page, in Chinese or English by the browser's language.

    Compare two voices, enrol, identify, and name the speaker as one talks. Only this machine can
    reach it unless --host says otherwise; it has no log-in. Needs the extra `demo`.

    Example:  groove demo
    """
    if importlib.util.find_spec("gradio") is None:
        raise MissingExtra("groove demo", "demo", "gradio makes the page")
    from groove.service.demo import serve

    serve(model=model, db=db, host=host, port=port, in_browser=in_browser, say=click.echo)
