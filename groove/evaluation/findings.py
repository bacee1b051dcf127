"""What an evaluation found: the report as values, before it is written.

`groove.evaluation.evaluate` makes these; `groove.evaluation.report` turns them into files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.bootstrap import Interval
from groove.evaluation.measures import Cell, Comparison, Measured
from groove.evaluation.trial_table import Bools, TrialTable

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Exclusions:
    """What was left out of a system's trials (or cohort, or calibration set), and why."""

    n_repeated: int
    missing_files: tuple[str, ...]
    n_missing_trials: int
    failed: tuple[tuple[str, str], ...]  # recordings that gave no embedding, with the reason
    n_recordings: int
    n_failed_trials: int
    failure_rate: Interval | None = None  # failure to acquire, over draws of the speakers


@dataclass(frozen=True)
class SpeakerMap:
    """Embeddings [N, D] of some speakers' recordings, to be drawn in two dimensions."""

    embeddings: Floats
    names: tuple[str, ...]  # [N], the speaker of each


@dataclass(frozen=True)
class SystemResult:
    """One model on one trial set."""

    name: str
    model: str
    model_hash: str
    embedding_size: int
    trials: str
    protocol: str
    cutting: str
    back_end: str
    calibration: str  # where the log-likelihood ratios come from; "" where there are none
    notes: tuple[str, ...]
    unchecked: tuple[str, ...]  # what could not be checked about shared speakers
    familiar: tuple[str, ...]  # trial speakers whom the model's training knew
    training_data: str  # as the card says
    measured: Measured
    recall: dict[str, Any]
    condition: str
    cells: tuple[Cell, ...]
    exclusions: Exclusions
    losses: dict[str, Exclusions]  # likewise, of "cohort" and "calibration set" where there are any
    thresholds: dict[str, float]  # of the card, by promised false-match rate
    speaker_map: SpeakerMap
    scores: Floats = field(repr=False)  # [N], NaN where a trial was left out
    llrs: Floats | None = field(repr=False)  # [N], likewise; None without a calibration
    table: TrialTable = field(repr=False)

    @property
    def title(self) -> str:
        """The name, and the protocol where it matters."""
        return _title(self.name, self.protocol)

    @property
    def scored(self) -> Bools:
        """The trials [N] that have a score."""
        found: Bools = ~np.isnan(self.scores)
        return found


@dataclass(frozen=True)
class Unmeasured:
    """One model on one trial set of which too little could be scored for any number."""

    name: str
    trials: str
    protocol: str
    reason: str
    exclusions: Exclusions
    scored: Bools = field(repr=False)  # [N], the trials that have a score

    @property
    def title(self) -> str:
        """As in `SystemResult`."""
        return _title(self.name, self.protocol)


@dataclass(frozen=True)
class PairResult:
    """Two models on the trials of one set that both could score."""

    a: str
    b: str
    protocol: str
    n_trials: int
    comparisons: tuple[Comparison, ...]
    unavailable: dict[str, str]  # metric -> why it could not be compared


@dataclass(frozen=True)
class Report:
    """Everything that an evaluation found."""

    systems: tuple[SystemResult, ...]
    pairs: tuple[PairResult, ...]
    n_draws: int
    seed: int
    unmeasured: tuple[Unmeasured, ...] = ()


def _title(name: str, protocol: str) -> str:
    return f"{name}, {protocol}" if protocol else name
