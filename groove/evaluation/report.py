"""The report of an evaluation: what it says, and the files that say it.

    report.md, report.html   for people; the HTML is one file with the figures inside
    metrics.txt              the same numbers as plain text
    metrics.json             the same for programs
    roc.png det.png score_hist.png tsne.png reliability.png
    missing.txt failed.jsonl what was left out, where something was

Figures need the ``plots`` extra; without it the report says so and holds everything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from groove import plots
from groove.evaluation.document import Picture, to_html, to_markdown, to_text
from groove.evaluation.findings import Report, SystemResult, Unmeasured
from groove.evaluation.report_blocks import report_blocks
from groove.evaluation.report_values import to_json
from groove.manifest import write_lines

__all__ = ["to_json", "write_report"]


FIGURE = re.compile(r"(det|roc|reliability|(score_hist|tsne)(_\d+)?)\.png")  # what is drawn here


def write_report(report: Report, out: Path, *, figures: bool = True) -> list[Path]:
    """Write all files into a folder, which is made; each appears whole or not at all.

    Args:
        report: what `groove.evaluation.evaluate.evaluate` found.
        out: the folder.
        figures: draw them, if the plots extra is there.

    Returns:
        The files, the report first.
    """
    out.mkdir(parents=True, exist_ok=True)
    pictures = list(_pictures(report, out)) if figures and plots.available() else []
    _remove_old_figures(out, {picture.path.name for picture in pictures})
    blocks = list(report_blocks(report, pictures, drawn=bool(pictures) or not figures))
    title = f"Evaluation on {report.systems[0].trials}"
    written = {
        "report.html": to_html(blocks, title),
        "report.md": to_markdown(blocks),
        "metrics.txt": to_text(blocks),
        "metrics.json": json.dumps(to_json(report), ensure_ascii=False, indent=1) + "\n",
    }
    everything: list[SystemResult | Unmeasured] = [*report.systems, *report.unmeasured]
    losses = [
        (s.name, left_out)
        for s in everything
        for left_out in (
            s.exclusions,
            *(s.losses.values() if isinstance(s, SystemResult) else ()),
        )
    ]
    missing = sorted({name for _, left_out in losses for name in left_out.missing_files})
    failed = [
        json.dumps({"system": name, "path": path, "reason": reason}, ensure_ascii=False)
        for name, left_out in losses
        for path, reason in left_out.failed
    ]
    for name, lines in (("missing.txt", missing), ("failed.jsonl", list(dict.fromkeys(failed)))):
        (out / name).unlink(missing_ok=True)
        if lines:
            written[name] = "\n".join(lines) + "\n"
    for name, text in written.items():
        write_lines(out / name, text.removesuffix("\n").split("\n"))
    return [*(out / name for name in written), *(picture.path for picture in pictures)]


def _remove_old_figures(out: Path, kept: set[str]) -> None:
    """Those of an earlier report of ours in the folder, which may have had more models."""
    if not (out / "metrics.json").is_file():
        return
    for path in out.iterdir():
        if FIGURE.fullmatch(path.name) and path.name not in kept:
            path.unlink()


def _pictures(report: Report, out: Path) -> Iterator[Picture]:
    named = [(system.title, system.measured) for system in report.systems]
    yield Picture(
        plots.det(out / "det.png", named),
        "Both error rates on normal-deviate axes. The band holds 95 % of the draws of speakers, "
        "point by point; dotted where fewer than 30 false matches support the curve.",
    )
    yield Picture(plots.roc(out / "roc.png", named), "The same with a logarithmic axis.")
    for i, system in enumerate(report.systems):
        end = "" if len(report.systems) == 1 or i == 0 else f"_{i + 1}"
        yield Picture(
            plots.score_histogram(
                out / f"score_hist{end}.png",
                system.title,
                system.measured,
                card_threshold=system.thresholds.get("0.01"),
            ),
            f"Scores of {system.title}: {system.back_end}.",
        )
    if any(measured.reliability for _, measured in named):
        yield Picture(
            plots.reliability(out / "reliability.png", named),
            "A calibrated system is right as often as it says: its points lie on the diagonal.",
        )
    shown: set[str] = set()
    for system in report.systems:
        if system.name in shown:
            continue  # the same embeddings by another protocol
        end = "" if not shown else f"_{len(shown) + 1}"
        shown.add(system.name)
        picture = plots.speaker_map(
            out / f"tsne{end}.png",
            system.speaker_map.embeddings,
            system.speaker_map.names,
            seed=report.seed,
        )
        if picture:
            yield Picture(picture, f"Test recordings as {system.name} places them.")
