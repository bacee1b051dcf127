"""The `groove` command. Each module here is one group of commands, thin over the library.

Exit status: what the command says (`compare`: 0 same, 1 different, 2 undecided or error; `verify`
and `identify` likewise), and 2 for every error, with one line on standard error; ``--debug``
anywhere shows the traceback instead.
"""

from __future__ import annotations

import sys
import traceback

import click

from groove.cli import (
    bench,
    calibrate,
    compare,
    demo,
    embed,
    evaluate,
    export,
    golden,
    importing,
    listen,
    models,
    people,
    prepare,
    recognise,
    train,
)
from groove.errors import GrooveError
from groove.version import VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="%(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def app(debug: bool) -> None:
    """Speaker verification: do two recordings hold the same voice?

    Example:  groove compare examples/voice_a_1.wav examples/voice_a_2.wav
    """


for command in (
    compare.command,
    embed.command,
    prepare.group,
    train.command,
    evaluate.command,
    calibrate.command,
    export.command,
    golden.command,
    importing.command,
    models.group,
    bench.command,
    *people.COMMANDS,
    *recognise.COMMANDS,
    listen.command,
    demo.command,
):
    app.add_command(command)


def main() -> None:
    """Run the command and turn errors into one line and exit status 2."""
    debug, stdout = "--debug" in sys.argv, sys.stdout
    try:
        app([a for a in sys.argv[1:] if a != "--debug"], prog_name="groove", standalone_mode=False)
    except click.exceptions.Exit as asked:
        sys.exit(asked.exit_code)
    except SystemExit:
        if sys.stdout is not stdout:  # click puts another one there when a pipe's reader has left
            sys.exit(141)  # its own status, 1, would mean "different voices"
        raise
    except click.ClickException as error:  # a wrong option: click's own words, status 2
        where = getattr(error, "ctx", None)
        path = where.command_path if where else "groove"
        click.echo(f"groove: {error.format_message()}  See  {path} --help", err=True)
        sys.exit(error.exit_code)
    except click.Abort:  # Ctrl-C, not click's status 1, which would mean "different voices"
        click.echo("groove: interrupted", err=True)
        sys.exit(130)
    except (GrooveError, OSError) as error:
        text = _of_system(error) if isinstance(error, OSError) else str(error)
        click.echo(traceback.format_exc() if debug else f"groove: {text}", err=True)
        sys.exit(2)
    except Exception:  # a fault of ours: Python's own status, 1, would mean "different voices"
        click.echo(traceback.format_exc(), err=True)
        sys.exit(2)


def _of_system(error: OSError) -> str:
    """What the system refused, without its number, and what to do."""
    if isinstance(error, GrooveError) or error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}; check the path, its rights and the space there"
