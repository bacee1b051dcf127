"""groove export: a checkpoint -> files that run elsewhere and give the same numbers."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groove.card_file import described
from groove.cli import options
from groove.errors import MissingExtra

if TYPE_CHECKING:
    from groove.training.export import Exported


@click.command("export")
@click.option("--ckpt", required=True, type=click.Path(path_type=Path), help="The checkpoint.")
@click.option("--kind", help="Of a public checkpoint, as for `groove import`.")
@click.option(
    "--out-dir",
    "--out_dir",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder to write to; made if it is not there.",
)
@click.option("--onnx", is_flag=True, help="model.onnx  [default if no target is named]")
@click.option("--mnn", is_flag=True, help="model.mnn and its card model.mnn.json.")
@click.option("--tensorrt", is_flag=True, help="An engine; without a GPU, the trtexec line.")
@click.option("--split", is_flag=True, help="model.pt, head.pt and meta.json.")
@click.option("--fp16", is_flag=True, help="Also with weights in half precision.")
@click.option("--int8", is_flag=True, help="Also in 8 bits; wants --speech with speakers.")
@click.option(
    "--input",
    "model_input",
    type=click.Choice(["waveform", "fbank"]),
    default="waveform",
    show_default=True,
    help="What the files take.",
)
@click.option(
    "--speech",
    type=click.Path(path_type=Path),
    help="Recordings to check on: a .jsonl manifest, or a folder with one subfolder per speaker.",
)
@click.option(
    "--margin", type=float, help="Loss of EER that int8 may cost, absolute.  [default: 0.003]"
)
@click.option(
    "--card",
    "card_file",
    type=click.Path(path_type=Path),
    help="A JSON object of what the files say of themselves: name, version, licence, ...",
)
@click.option("--opset", type=int, help="ONNX operator set.  [default: 17]")
@options.as_json
def command(
    ckpt: Path,
    kind: str | None,
    out_dir: Path,
    onnx: bool,
    mnn: bool,
    tensorrt: bool,
    split: bool,
    fp16: bool,
    int8: bool,
    model_input: str,
    speech: Path | None,
    margin: float | None,
    card_file: Path | None,
    opset: int | None,
    as_json: bool,
) -> None:
    """Export a checkpoint to ONNX, MNN or TensorRT, and prove that the numbers are the same.

    Each file is compared with PyTorch on speech of 0.1 to 20 s, batches of 1 and 7, loud and at
    -60 dBFS, and appears only if it agrees; 8-bit files are judged by their error rate. The
    outcome also lies in export.json.

    Exit status: 0 every gate held, 1 one did not (no file of that name is left; an older one is
    renamed to NAME.old), 2 error.

    Example:  groove export --ckpt outputs/best.pt --out_dir outputs/deploy --onnx --mnn
    """
    missing = [m for m in ("torch", "onnx") if importlib.util.find_spec(m) is None]
    if missing:
        raise MissingExtra("groove export", "train", f"{' and '.join(missing)} missing")
    from groove.parity import read_utterances, read_voices
    from groove.training.export import Request, export_all
    from groove.training.export.eer_gate import labelled_speech
    from groove.training.export.outcome import report
    from groove.training.export.source import open_source

    given = {"margin": margin, "opset": opset}
    request = Request(
        onnx=onnx or not (mnn or tensorrt or split),
        mnn=mnn,
        tensorrt=tensorrt,
        fp16=fp16,
        int8=int8,
        split=split,
        model_input=model_input,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )
    source = open_source(ckpt, kind)
    card = source.card if card_file is None else described(source.card, card_file)
    labelled = None
    if int8 and speech is not None:
        utterances = read_utterances(speech)
        labelled = labelled_speech(speech, utterances, margin=request.margin)
    done = export_all(
        source.module,
        card,
        out_dir,
        request,
        voices=read_voices(speech),
        labelled=labelled,
        head=source.head,
        progress=_progress,
    )
    if as_json:
        click.echo(json.dumps(report(card, done), ensure_ascii=False))
    else:
        click.echo("\n".join(_line(exported) for exported in done))
    sys.exit(0 if all(exported.holds for exported in done) else 1)


def _line(exported: Exported) -> str:
    """What a person reads of one target."""
    size = f"{exported.size / 1e6:.1f} MB" if exported.holds else "NOT WRITTEN"
    gate = f"  {exported.gate or exported.failed}".rstrip()
    note = f"  ({exported.note})" if exported.note else ""
    return f"{exported.target:<14} {exported.path}  {size}{gate}{note}"


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text} ...\r")
        sys.stderr.flush()
