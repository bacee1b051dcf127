"""groove listen: names the speaker as one talks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groove.cli import options
from groove.cli.compare import percent
from groove.cli.people import open_store

if TYPE_CHECKING:
    from groove.listening import Heard

CHANNELS = {
    "telephone": "  (telephone sound)",
    "mixed": "  (telephone sound on one side: missed more often)",
}


@click.command("listen")
@click.option("--stdin", is_flag=True, help="Read 16-bit little-endian mono PCM, no microphone.")
@click.option("--rate", type=int, default=16_000, help="Sample rate in Hz.  [default: 16000]")
@click.option("--device", help="Microphone: a number or a part of its name.")
@click.option("--window", type=float, default=3.0, help="Seconds that one answer hears.")
@click.option(
    "--fpir", type=float, default=0.01, help="How often a stranger may be named.  [default: 0.01]"
)
@options.model
@options.threshold
@options.db
@options.as_json
def command(
    stdin: bool,
    rate: int,
    device: str | None,
    window: float,
    fpir: float,
    model: str | None,
    threshold: float | None,
    db: Path | None,
    as_json: bool,
) -> None:
    """Name the speaker as one talks, from the microphone or from standard input.

    Prints a line whenever the answer changes: the time, the name or "nobody", the probability. The
    microphone needs the extra `listen`. End it with Ctrl-C.

    Example:  groove listen
    """
    from groove.listening import Listener, microphone_blocks, pcm_blocks

    store = open_store(db, model, must_exist=True, threshold=threshold, fpir=fpir)
    listener = Listener(store.recognizer, sample_rate=rate, window_s=window)
    if stdin:
        blocks = pcm_blocks(sys.stdin.buffer, rate)
    else:
        blocks = microphone_blocks(rate, device=device)
        click.echo("listening; Ctrl-C ends it", err=True)
    try:
        for block in blocks:
            for heard in listener.push(block):
                _show(heard, as_json)
    except KeyboardInterrupt:
        pass
    finally:
        _overwrite("")


def _show(heard: Heard, as_json: bool) -> None:
    """A line for every change; between changes one line on a terminal that overwrites itself."""
    if as_json:
        if heard.changed:
            click.echo(json.dumps(heard.to_dict(), ensure_ascii=False))
        return
    who = {"named": heard.name, "nobody": "nobody", "silence": "(silence)"}[heard.state]
    chance = "" if heard.probability is None else f"  {percent(heard.probability)}"
    sound = CHANNELS.get(heard.channel or "", "")
    line = f"{heard.at_s:7.1f} s  {who}{chance}{sound}"
    if heard.changed:
        _overwrite("")
        click.echo(line)
    else:
        _overwrite(line)


def _overwrite(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{line}")
        sys.stderr.flush()
