"""The `groove` command. Each module here is one group of commands, thin over the library.

Exit status: what the command says (`compare`: 0 same, 1 different, 2 undecided or error; `verify`
and `identify` likewise), and 2 for every error, with one line on standard error; ``--debug``
anywhere shows the traceback instead.
"""

from __future__ import annotations

import sys

import click

from groove.cli import bench, compare, demo, embed, importing, listen, models, people, recognise
from groove.errors import GrooveError
from groove.version import VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="%(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def app(debug: bool) -> None:
    """Speaker verification: do two recordings hold the same voice?

    Example:  groove compare examples/voice_a_1.wav examples/voice_a_2.wav
    """


commands = (compare.command, embed.command, importing.command, models.group, bench.command)
for command in (*commands, *people.COMMANDS, *recognise.COMMANDS, listen.command, demo.command):
    app.add_command(command)


def main() -> None:
    """Run the command and turn errors into one line and exit status 2."""
    debug = "--debug" in sys.argv
    try:
        app([a for a in sys.argv[1:] if a != "--debug"], prog_name="groove")
    except (GrooveError, OSError) as error:
        if debug:
            raise
        if isinstance(error, BrokenPipeError):  # the reader of a pipe has left
            sys.stderr.close()
            sys.exit(141)
        click.echo(f"groove: {error}", err=True)
        sys.exit(2)
