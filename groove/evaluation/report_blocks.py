"""What a report says to people: headings, sentences and tables, whatever file they end in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from groove.bootstrap import Interval
from groove.evaluation.document import Block, Heading, Picture, Table, Text
from groove.evaluation.findings import Exclusions, PairResult, Report, SystemResult, Unmeasured
from groove.evaluation.measures import MIN_CELL_SPEAKERS, MIN_CELL_TRIALS
from groove.metrics import MIN_FALSE_MATCHES
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


def report_blocks(report: Report, pictures: Sequence[Picture], *, drawn: bool) -> Iterator[Block]:
    """The report from top to bottom.

    Args:
        report: what was found.
        pictures: its figures.
        drawn: there are figures, or nobody asked for them; else the report says what they need.
    """
    systems = report.systems
    yield Heading(f"Evaluation on {systems[0].trials}", 1)
    for system in systems:
        yield Text(_summary(system))
        n_speakers = system.measured.n_target_speakers
        if n_speakers < MIN_CELL_SPEAKERS:
            yield Text(
                f"{system.title}: too few speakers for the intervals: {n_speakers} with target "
                f"trials, where at least {MIN_CELL_SPEAKERS} are needed; take all intervals here "
                "as too narrow.",
                is_warning=True,
            )
        if system.measured.metrics["eer"].value == 0:
            yield Text(
                f"{system.title}: one threshold separates all trials, so EER and minDCF are 0 and "
                "their intervals have no width. That is no certainty: errors that other speakers "
                "would give cannot show here. Evaluate more speakers, or harder recordings.",
                is_warning=True,
            )
    for lost in report.unmeasured:
        yield Text(f"NOT measured: {lost.title}: {lost.reason}.", is_warning=True)
    for note in dict.fromkeys(note for system in systems for note in system.notes):
        yield Text(f"Trials: {note}.", is_warning=note.startswith("NOT"))
    for note in dict.fromkeys(note for system in systems for note in system.familiar):
        yield Text(f"{note}.", is_warning=True)
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
    if any(point.threshold is None for s in systems for point in s.measured.operating_points):
        yield Text(
            f"Not measurable: fewer than {MIN_FALSE_MATCHES} false matches would support the "
            "rate; it takes more non-target trials.",
            is_note=True,
        )
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
        yield from _losses(system.title, system.exclusions)
        if isinstance(system, SystemResult):
            for what, left_out in system.losses.items():
                yield from _losses(f"{system.title}, {what}", left_out, with_trials=False)


def _losses(title: str, left_out: Exclusions, *, with_trials: bool = True) -> Iterator[Block]:
    """What is missing, and what gave no embedding; ``with_trials``: and what that cost."""
    if left_out.missing_files:
        cost = f", so {left_out.n_missing_trials:,} trials were left out" if with_trials else ""
        yield Text(
            f"{title}: {len(left_out.missing_files):,} files are missing{cost}: "
            f"{_listed(list(left_out.missing_files))} (all in missing.txt).",
            is_warning=True,
        )
    share = len(left_out.failed) / max(left_out.n_recordings, 1)
    text = (
        f"{title}: failure to acquire {len(left_out.failed):,} of "
        f"{left_out.n_recordings:,} recordings ({100 * share:.2f} %"
    )
    if left_out.failure_rate:
        _, low, high = _values(left_out.failure_rate)
        text += f"; {100 * low:.2f} to {100 * high:.2f}"
    text += ")"
    if left_out.failed:
        reasons = [f"{Path(path).name}: {reason}" for path, reason in left_out.failed]
        cost = f", so {left_out.n_failed_trials:,} trials were left out" if with_trials else ""
        text += f"{cost}: {_listed(reasons)} (all in failed.jsonl)"
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
                    names[c.better] + (f": {c.reason}" if c.reason else ""),
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
        "score. One is called better only if the 95 % interval of the difference excludes 0, on at "
        f"least {MIN_CELL_TRIALS} trials of each kind and {MIN_CELL_SPEAKERS} speakers with target "
        "trials.",
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
        "trained on, as the card says": [s.training_data for s in systems],
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
