"""groove bench: how fast is it here?"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from groove.cli import options
from groove.errors import SettingsError


@click.command("bench")
@click.argument("recordings", nargs=-1, type=click.Path(path_type=Path))
@options.model
@click.option("--repeat", type=click.IntRange(min=1), default=7, help="Repetitions of each figure.")
@click.option(
    "--all",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Time every form of a model that `groove export` wrote there.",
)
@click.option("--compile", "compiled", is_flag=True, help="With --all: time torch.compile, too.")
@options.as_json
def command(
    recordings: tuple[Path, ...],
    model: str | None,
    repeat: int,
    folder: Path | None,
    compiled: bool,
    as_json: bool,
) -> None:
    """Measure a cold compare, steady speed, where the time goes, and memory, on this machine.

    With --all: every exported form of one model, in alternated rounds; beside PyTorch and the
    processor's peak where torch and the split export's model.pt are there.

    Example:  groove bench examples/voice_a_1.wav examples/voice_b_1.wav

    Example:  groove bench --all outputs/deploy
    """
    if folder is not None:
        if recordings or model is not None:
            raise SettingsError("--all FOLDER takes its models from the folder; give nothing else")
        _all(folder, repeat, compiled, as_json)
        return
    if compiled:
        raise SettingsError("--compile goes with --all FOLDER")
    from groove import bench
    from groove.encoder import OnnxEncoder
    from groove.loading import open_encoder

    examples = [Path("examples/voice_a_1.wav"), Path("examples/voice_b_1.wav")]
    chosen = list(recordings) or examples
    if len(chosen) != 2 or not all(path.is_file() for path in chosen):
        raise SettingsError("give two recordings:  groove bench A B")
    encoder = open_encoder(model)
    if not isinstance(encoder, OnnxEncoder):
        raise SettingsError("only ONNX files are timed so; for others:  groove bench --all FOLDER")
    result = bench.run(encoder.path, *chosen, repeat=repeat, progress=_progress)
    click.echo(bench.to_json(result) if as_json else bench.to_text(result))


def _all(folder: Path, repeat: int, compiled: bool, as_json: bool) -> None:
    from groove import bench_targets

    if not folder.is_dir():
        raise SettingsError(f"{folder}: no such folder; write one with  groove export")
    targets = bench_targets.find_targets(folder, compiled=compiled)
    result = bench_targets.run(targets, rounds=repeat, progress=_progress)
    click.echo(bench_targets.to_json(result) if as_json else bench_targets.to_text(result))


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text} ...\r")
        sys.stderr.flush()
