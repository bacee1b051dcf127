"""A report as plain values: what metrics.json and ``--json`` hold."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from groove.evaluation.findings import Report, SystemResult
from groove.version import VERSION


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
                "reason": c.reason or None,
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
        "familiar": list(system.familiar),
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
            "low": left_out.failure_rate.low if left_out.failure_rate else None,
            "high": left_out.failure_rate.high if left_out.failure_rate else None,
        },
        "losses": {
            what: {
                "n_recordings": lost.n_recordings,
                "n_failed": len(lost.failed),
                "n_missing_files": len(lost.missing_files),
            }
            for what, lost in system.losses.items()
        },
        "excluded": {
            "n_repeated_trials": left_out.n_repeated,
            "n_missing_files": len(left_out.missing_files),
            "n_trials_with_missing_files": left_out.n_missing_trials,
        },
        "condition": system.condition or None,
        "cells": [asdict(cell) for cell in system.cells],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
