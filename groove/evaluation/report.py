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
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from groove import plots
from groove.bootstrap import Interval
from groove.evaluation.document import (
    Block,
    Heading,
    Picture,
    Table,
    Text,
    to_html,
    to_markdown,
    to_text,
)
from groove.evaluation.findings import PairResult, Report, SystemResult, Unmeasured
from groove.evaluation.measures import MIN_CELL_SPEAKERS, MIN_CELL_TRIALS
from groove.manifest import write_lines
from groove.version import VERSION

MAX_LISTED = 10
LABELS = {
    "eer": "EER",
    "eer_rocch": "EER on the convex hull",
    "min_dcf_0.01": "minDCF, P_target 0.01",
    "min_dcf_0.05": "minDCF, P_target 0.05",
    "act_dcf_0.01": "actDCF, P_target 0.01",
    "act_dcf_0.05": "actDCF, P_target 0.05",
    "cllr": "Cllr, bits",
    "min_cllr": "minCllr, bits",
    "auc": "AUC",
    "recall_at_1": "Recall@1",
    "recall_at_5": "Recall@5",
    "recall_at_10": "Recall@10",
}
RATES = {"eer", "eer_rocch", "recall_at_1", "recall_at_5", "recall_at_10"}


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
    blocks = list(_blocks(report, pictures, drawn=bool(pictures) or not figures))
    title = f"Evaluation on {report.systems[0].trials}"
    written = {
        "report.html": to_html(blocks, title),
        "report.md": to_markdown(blocks),
        "metrics.txt": to_text(blocks),
        "metrics.json": json.dumps(to_json(report), ensure_ascii=False, indent=1) + "\n",
    }
    everything = [*report.systems, *report.unmeasured]
    missing = sorted({name for s in everything for name in s.exclusions.missing_files})
    failed = [
        json.dumps({"system": s.name, "path": path, "reason": reason}, ensure_ascii=False)
        for s in everything
        for path, reason in s.exclusions.failed
    ]
    for name, lines in (("missing.txt", missing), ("failed.jsonl", list(dict.fromkeys(failed)))):
        (out / name).unlink(missing_ok=True)
        if lines:
            written[name] = "\n".join(lines) + "\n"
    for name, text in written.items():
        write_lines(out / name, text.removesuffix("\n").split("\n"))
    return [*(out / name for name in written), *(picture.path for picture in pictures)]


def to_json(report: Report) -> dict[str, Any]:
    """Everything in the report as plain values; a rate that could not be measured is null."""
    return {
        "groove": VERSION,
        "n_draws": report.n_draws,
        "seed": report.seed,
        "systems": [_system_json(system) for system in report.systems],
        "unmeasured": [
            {"name": u.name, "trials": u.trials, "protocol": u.protocol, "reason": u.reason}
            for u in report.unmeasured
        ],
        "comparisons": [
            {
                "a": pair.a,
                "b": pair.b,
                "protocol": pair.protocol,
                "n_trials": pair.n_trials,
                "metric": c.metric,
                **asdict(c.interval),
                "value_a": c.interval.a,
                "value_b": c.interval.b,
                "better": {"a": pair.a, "b": pair.b, "none": None}[c.better],
                "reason": None,
            }
            | {"a": pair.a, "b": pair.b}
            for pair in report.pairs
            for c in pair.comparisons
        ]
        + [
            {
                "a": pair.a,
                "b": pair.b,
                "protocol": pair.protocol,
                "n_trials": pair.n_trials,
                "metric": metric,
                **dict.fromkeys(("value_a", "value_b", "difference", "low", "high", "better")),
                "reason": reason,
            }
            for pair in report.pairs
            for metric, reason in pair.unavailable.items()
        ],
    }


def _system_json(system: SystemResult) -> dict[str, Any]:
    measured, left_out = system.measured, system.exclusions
    return {
        "name": system.name,
        "model": system.model,
        "model_hash": system.model_hash,
        "embedding_size": system.embedding_size,
        "trials": system.trials,
        "protocol": system.protocol,
        "cutting": system.cutting,
        "back_end": system.back_end,
        "calibration": system.calibration or None,
        "notes": list(system.notes),
        "unchecked": list(system.unchecked),
        "training_data": system.training_data,
        "n_target": measured.n_target,
        "n_nontarget": measured.n_nontarget,
        "n_speakers": measured.n_speakers,
        "metrics": {
            name: {"value": i.value, "low": i.low, "high": i.high}
            for name, i in {**measured.metrics, **system.recall}.items()
        },
        "operating_points": [asdict(point) for point in measured.operating_points],
        "eer_threshold": _finite(measured.eer_threshold),
        "card_thresholds": system.thresholds,
        "scores": {"target": asdict(measured.target), "nontarget": asdict(measured.nontarget)},
        "failure_to_acquire": {
            "n_recordings": left_out.n_recordings,
            "n_failed": len(left_out.failed),
            "n_trials": left_out.n_failed_trials,
        },
        "excluded": {
            "n_repeated_trials": left_out.n_repeated,
            "n_missing_files": len(left_out.missing_files),
            "n_trials_with_missing_files": left_out.n_missing_trials,
        },
        "condition": system.condition or None,
        "cells": [asdict(cell) for cell in system.cells],
    }


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


def _blocks(report: Report, pictures: Sequence[Picture], *, drawn: bool) -> Iterator[Block]:
    systems = report.systems
    yield Heading(f"Evaluation on {systems[0].trials}", 1)
    for system in systems:
        yield Text(_summary(system))
    for lost in report.unmeasured:
        yield Text(f"{lost.title}: not measured: {lost.reason}.", is_warning=True)
    for note in dict.fromkeys(note for system in systems for note in system.notes):
        yield Text(f"Trials: {note}.", is_warning=note.startswith("NOT"))
    for note in dict.fromkeys(note for system in systems for note in system.unchecked):
        yield Text(f"{note[0].upper()}{note[1:]}.", is_warning=True)
    yield from _exclusion_blocks([*systems, *report.unmeasured])
    yield Heading("Metrics")
    yield _metric_table(systems)
    yield Text(
        f"In brackets: 95 % intervals from {report.n_draws:,} draws of the speakers (seed "
        f"{report.seed}). Definitions, sources and tie rules: docs/metrics.md.",
        is_note=True,
    )
    if not any(system.calibration for system in systems):
        yield Text(
            "actDCF and Cllr are left out: these scores are not log-likelihood ratios. Give a "
            "model with a calibration (groove calibrate), or --calibrate-on.",
            is_note=True,
        )
    yield Heading("Operating points")
    yield _operating_table(systems)
    if report.pairs:
        yield Heading("Which is better?")
        yield from _comparison_blocks(report.pairs)
    if pictures:
        yield Heading("Figures")
        yield from pictures
    elif not drawn:
        yield Text("No figures: they need  pip install 'groove-sv[plots]'.", is_note=True)
    for system in systems:
        if system.cells:
            yield Heading(f"By {system.condition}: {system.title}")
            yield _cell_table(system)
            yield Text(_cell_note(system), is_note=True)
    yield Heading("Scores and settings")
    yield _settings_table(systems)
    yield Text(f"Groove {VERSION}.", is_note=True)


def _summary(system: SystemResult) -> str:
    measured = system.measured
    return (
        f"{system.title}: EER {_shown('eer', measured.metrics['eer'])} on "
        f"{measured.n_target:,} target and {measured.n_nontarget:,} non-target trials of "
        f"{measured.n_speakers:,} speakers."
    )


def _exclusion_blocks(systems: Sequence[SystemResult | Unmeasured]) -> Iterator[Block]:
    first = systems[0].exclusions
    if first.n_repeated:
        yield Text(
            f"{first.n_repeated:,} trials stood in the list again and were counted once.",
            is_warning=True,
        )
    for system in systems:
        left_out = system.exclusions
        if left_out.missing_files:
            yield Text(
                f"{system.title}: {len(left_out.missing_files):,} files are missing, so "
                f"{left_out.n_missing_trials:,} trials were left out: "
                f"{_listed(list(left_out.missing_files))} (all in missing.txt).",
                is_warning=True,
            )
        share = len(left_out.failed) / max(left_out.n_recordings, 1)
        text = (
            f"{system.title}: failure to acquire {len(left_out.failed):,} of "
            f"{left_out.n_recordings:,} recordings ({100 * share:.2f} %)"
        )
        if left_out.failed:
            reasons = [f"{Path(path).name}: {reason}" for path, reason in left_out.failed]
            text += (
                f", so {left_out.n_failed_trials:,} trials were left out: {_listed(reasons)} "
                "(all in failed.jsonl)"
            )
        yield Text(f"{text}.", is_warning=bool(left_out.failed))


def _metric_table(systems: Sequence[SystemResult]) -> Table:
    rows = []
    for name, label in LABELS.items():
        values = [{**s.measured.metrics, **s.recall}.get(name) for s in systems]
        if any(values):
            rows.append((label, *(_shown(name, v) if v else "" for v in values)))
    return Table(("", *(s.title for s in systems)), tuple(rows))


def _operating_table(systems: Sequence[SystemResult]) -> Table:
    rows = []
    for system in systems:
        for point in system.measured.operating_points:
            key = f"fnmr_at_fmr_{point.fmr:g}"
            interval = system.measured.metrics.get(key)
            threshold = "" if point.threshold is None else f"{point.threshold:.4f}"
            fnmr = "not measurable" if interval is None else _shown("eer", interval)
            rows.append(
                (
                    system.title,
                    f"{100 * point.fmr:g} %",
                    fnmr,
                    threshold,
                    f"{point.n_false_matches:,} of {point.n_nontarget:,}",
                )
            )
    header = ("", "FMR at most", "FNMR", "threshold", "false matches")
    return Table(header, tuple(rows))


def _comparison_blocks(pairs: Sequence[PairResult]) -> Iterator[Block]:
    rows = []
    for pair in pairs:
        names = {"a": f"{pair.a} better", "b": f"{pair.b} better", "none": "no verdict"}
        for c in pair.comparisons:
            i = c.interval
            scale = 100.0 if c.metric in RATES else 1.0
            values = [f"{scale * x:.{2 if scale > 1 else 4}f}" for x in (i.a, i.b)]
            change = [f"{scale * x:+.{2 if scale > 1 else 4}f}" for x in _difference(i)]
            rows.append(
                (
                    LABELS[c.metric] + (" %" if scale > 1 else ""),
                    pair.protocol or "one recording each",
                    f"{pair.a}: {values[0]}",
                    f"{pair.b}: {values[1]}",
                    f"{change[0]} ({change[1]} to {change[2]})",
                    names[c.better],
                )
            )
    if rows:
        yield Table(("", "protocol", "a", "b", "b - a", "verdict"), tuple(rows))
    for pair in pairs:
        for reason in dict.fromkeys(pair.unavailable.values()):
            lost = [LABELS[name] for name, why in pair.unavailable.items() if why == reason]
            where = f" ({pair.protocol})" if pair.protocol else ""
            yield Text(
                f"{pair.a} and {pair.b}{where}: not available: {'; '.join(lost)}: {reason}.",
                is_warning=len(lost) > 1,
            )
    yield Text(
        "Both systems are weighed by the same draws of speakers, on the trials that both could "
        "score. One is called better only if the 95 % interval of the difference excludes 0.",
        is_note=True,
    )


def _difference(interval: Any) -> tuple[float, float, float]:
    return interval.difference, interval.low, interval.high


def _cell_table(system: SystemResult) -> Table:
    rows = [
        (
            cell.test,
            cell.enrollment,
            _shown("eer", cell.eer) if cell.eer else "too few for a verdict",
            f"{cell.n_target:,}",
            f"{cell.n_nontarget:,}",
            f"{cell.n_speakers:,}",
        )
        for cell in system.cells
        if cell.n_target
    ]
    header = ("test", "enrollment", "EER", "target", "non-target", "speakers")
    return Table((f"{header[0]} {system.condition}", *header[1:]), tuple(rows))


def _cell_note(system: SystemResult) -> str:
    text = (
        f"No verdict below {MIN_CELL_TRIALS} target and {MIN_CELL_TRIALS} non-target trials, or "
        f"{MIN_CELL_SPEAKERS} speakers with target trials."
    )
    without = [cell.n_nontarget for cell in system.cells if not cell.n_target]
    if without:
        text += (
            f" {len(without)} more cells hold {sum(without):,} non-target trials and no target "
            "trial; they are in metrics.json."
        )
    return text


def _settings_table(systems: Sequence[SystemResult]) -> Table:
    def scores(s: Any) -> str:
        return f"{s.mean:.4f} ± {s.std:.4f} ({s.least:.4f} to {s.greatest:.4f})"

    rows = {
        "model": [s.model for s in systems],
        "model hash": [s.model_hash[:16] for s in systems],
        "embedding size": [str(s.embedding_size) for s in systems],
        "trained on (its speakers are not compared)": [s.training_data for s in systems],
        "cutting": [s.cutting for s in systems],
        "score": [s.back_end for s in systems],
        "log-likelihood ratios": [s.calibration or "none" for s in systems],
        "threshold at the EER": [f"{s.measured.eer_threshold:.4f}" for s in systems],
        "target scores": [scores(s.measured.target) for s in systems],
        "non-target scores": [scores(s.measured.nontarget) for s in systems],
    }
    return Table(
        ("", *(s.title for s in systems)), tuple((key, *values) for key, values in rows.items())
    )


def _shown(name: str, interval: Interval) -> str:
    scale, unit = (100.0, " %") if name in RATES else (1.0, "")
    digits = 2 if name in RATES else 4
    value, low, high = (f"{scale * x:.{digits}f}" for x in _values(interval))
    return f"{value}{unit} ({low} to {high})"


def _values(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_LISTED
    return "; ".join(names[:MAX_LISTED]) + (f"; and {more:,} more" if more > 0 else "")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
