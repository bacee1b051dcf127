"""One model on one trial set: scores, and everything that is read off them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.embedder import Embedder
from groove.evaluation.cache import Embedded
from groove.evaluation.embedded import (
    EmbeddedTrials,
    cohort_exclusions,
    exclusions,
    first_failure,
    speaker_map,
)
from groove.evaluation.findings import Exclusions, SystemResult, Unmeasured
from groove.evaluation.measures import Cell, Conditions, TrialScores, cells, measure, recalls
from groove.evaluation.refusals import familiar, unchecked
from groove.evaluation.scores import BackEnd
from groove.evaluation.systems import Settings, System
from groove.evaluation.trial_sets import TrialSet
from groove.scoring import Calibration

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]  # what, how many are done, of how many
MAX_RECALL_CELLS = 50_000_000


@dataclass(frozen=True)
class Llr:
    """How scores become log-likelihood ratios, and where that was learned."""

    calibration: Calibration
    source: str
    exclusions: Exclusions | None = None  # of the calibration set
    on_telephone: Calibration | None = None  # another for trials with telephone sound

    def of(self, scores: Floats, sides: EmbeddedTrials) -> Floats:
        """The llr of each trial."""
        speech_s = sides.speech_s()
        llrs = self.calibration.llr(scores, speech_s)
        if self.on_telephone is None:
            return llrs
        on_telephone = self.on_telephone.llr(scores, speech_s)
        found: Floats = np.where(sides.narrow_band(), on_telephone, llrs)
        return found


def result_of(
    system: System,
    trial_set: TrialSet,
    found: Mapping[Path, Embedded],
    back_end: BackEnd,
    llr: Llr | None,
    settings: Settings,
    progress: Progress,
) -> SystemResult | Unmeasured:
    """Everything that one trial set says of one model; `Unmeasured` where a class was lost.

    Args:
        system: the model.
        trial_set: the trials.
        found: the embedding of every recording of them, and of the calibration set and cohort.
        back_end: how scores are made.
        llr: how they become log-likelihood ratios; None leaves that out.
        settings: the same for all models.
        progress: called with what is going on, how much is done, and of how much.
    """
    embedder = system.embedder
    card = embedder.encoder.card
    sides = EmbeddedTrials.of(
        trial_set, found, card.embedding_size, crop_scores=settings.crop_scores
    )
    progress(f"scoring with {system.name}", 0, 1)
    left_out = exclusions(trial_set, found, sides, n_draws=settings.n_draws, seed=settings.seed)
    if not 0 < sides.table.n_target < len(sides.table):
        return Unmeasured(
            name=system.name,
            trials=trial_set.name,
            protocol=trial_set.protocol,
            reason=f"{sides.table.n_target} target and "
            f"{len(sides.table) - sides.table.n_target} non-target trials are left; both kinds "
            f"are needed. {first_failure(trial_set, found)}",
            exclusions=left_out,
            scored=sides.kept,
        )
    scores = back_end.scores(sides.table, sides.enrollment, sides.test)
    trials = _trial_scores(trial_set, sides, scores, llr)
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress(f"intervals for {system.name}", done, settings.n_draws)

    measured = measure(trials, n_draws=settings.n_draws, seed=settings.seed, progress=advance)
    whole = _whole(scores, sides)
    return SystemResult(
        name=system.name,
        model=f"{card.name} {card.version}",
        model_hash=embedder.encoder.model_hash,
        embedding_size=card.embedding_size,
        trials=trial_set.name,
        protocol=trial_set.protocol,
        cutting=_cutting(embedder),
        back_end=back_end.describe(),
        calibration=llr.source if llr else "",
        notes=trial_set.notes,
        unchecked=unchecked(trial_set, settings.calibration_set),
        familiar=familiar(
            trial_set, system.name, trained_on=system.trained_on, chosen_on=system.chosen_on
        ),
        training_data=card.training_data,
        measured=measured,
        recall=_recall(trial_set, whole, settings),
        condition=trial_set.condition,
        cells=_cells(trial_set, sides, trials, settings, progress),
        exclusions=left_out,
        losses=_losses(found, llr, settings),
        thresholds=_card_thresholds(system, back_end, sides),
        speaker_map=speaker_map(trial_set, sides),
        scores=whole,
        llrs=None if trials.llrs is None else _whole(trials.llrs, sides),
        table=trial_set.table,
    )


def _whole(values: Floats, sides: EmbeddedTrials) -> Floats:
    """Values of the scored trials, put among all trials [N]; NaN elsewhere."""
    whole = np.full(len(sides.kept), np.nan)
    whole[sides.kept] = values
    return whole


def _trial_scores(
    trial_set: TrialSet, sides: EmbeddedTrials, scores: Floats, llr: Llr | None
) -> TrialScores:
    return TrialScores(
        scores,
        sides.table.is_target,
        trial_set.enrollment_speakers[sides.table.enrollment],
        trial_set.test_speakers[sides.table.test],
        None if llr is None else llr.of(scores, sides),
    )


def _cells(
    trial_set: TrialSet,
    sides: EmbeddedTrials,
    trials: TrialScores,
    settings: Settings,
    progress: Progress,
) -> tuple[Cell, ...]:
    if not trial_set.condition:
        return ()
    progress(f"by {trial_set.condition}", 0, 1)
    return cells(
        trials,
        Conditions.of(trial_set.enrollment_conditions, sides.table.enrollment),
        Conditions.of(trial_set.test_conditions, sides.table.test),
        symmetric=trial_set.table.enrollment_ids == trial_set.table.test_ids,
        n_draws=settings.n_draws,
        seed=settings.seed,
    )


def _recall(trial_set: TrialSet, scores: Floats, settings: Settings) -> dict[str, Any]:
    """Where every test meets every enrollment, or every recording every other."""
    table = trial_set.table
    shape = (len(table.test_ids), len(table.enrollment_ids))
    if shape[0] * shape[1] > MAX_RECALL_CELLS or not (table.is_full or trial_set.is_all_pairs):
        return {}
    matrix = np.full(shape, -np.inf)
    known = np.where(np.isnan(scores), -np.inf, scores)
    matrix[table.test, table.enrollment] = known
    if trial_set.is_all_pairs:
        matrix[table.enrollment, table.test] = known
    return dict(
        recalls(
            matrix,
            trial_set.test_speakers,
            trial_set.enrollment_speakers,
            n_draws=settings.n_draws,
            seed=settings.seed,
        )
    )


def _card_thresholds(system: System, back_end: BackEnd, sides: EmbeddedTrials) -> dict[str, float]:
    """What the verifier would use for the median trial, to be drawn into the histogram."""
    card = system.embedder.encoder.card
    is_narrow = float(sides.narrow_band().mean()) > 0.5
    table = card.table_for(float(np.median(sides.speech_s())), narrow_band=is_narrow)
    if table is None or not back_end.is_plain or not system.embedder.is_card_setting:
        return {}
    return {f"{r.fmr:g}": r.threshold for r in table.rows if r.threshold is not None}


def _cutting(embedder: Embedder) -> str:
    cut = f"{embedder.num_crops} crops of {embedder.crop_s:g} s"
    how = cut if embedder.num_crops else "whole utterance"
    return f"{how}, every recording" if embedder.every_recording else how


def _losses(
    found: Mapping[Path, Embedded], llr: Llr | None, settings: Settings
) -> dict[str, Exclusions]:
    """What was left out besides the trials' own recordings."""
    losses = {}
    if settings.cohort:
        losses["cohort"] = cohort_exclusions(settings.cohort, found)
    if llr and llr.exclusions:
        losses["calibration set"] = llr.exclusions
    return losses
