"""Trials and models -> scores -> a report that writes itself.

`evaluate` embeds every recording once (`groove.evaluation.cache`), scores each trial set with each
model (`groove.evaluation.scores`), reads everything off the scores (`groove.evaluation.measures`)
and compares the models two by two on the trials that both could score
(`groove.evaluation.comparing`). Nothing is skipped silently: repeated trials, missing files and
recordings without speech are counted and listed in the report, and so is a model of which one
class of trials was lost altogether.

>>> report = evaluate([System("a", Embedder(encoder))], read_cnceleb_eval(root))
>>> report.systems[0].measured.metrics["eer"]
>>> write_report(report, Path("out"))                 # groove.evaluation.report
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.embedder import Embedder
from groove.errors import ScoringError
from groove.evaluation.cache import Embedded, EmbeddingCache, embed_files, examined
from groove.evaluation.calibrate import fit_on
from groove.evaluation.comparing import compare_systems
from groove.evaluation.embedded import (
    EmbeddedTrials,
    cohort_exclusions,
    exclusions,
    files_of,
    first_failure,
    speaker_map,
)
from groove.evaluation.findings import Exclusions, Report, SystemResult, Unmeasured
from groove.evaluation.measures import Cell, Conditions, TrialScores, cells, measure, recalls
from groove.evaluation.refusals import familiar, refuse_missing, refuse_shared, unchecked
from groove.evaluation.scores import BackEnd, Cohort
from groove.evaluation.trial_sets import TrialSet
from groove.joined import files_of_utterance, joined_files
from groove.manifest import Utterance
from groove.scoring import Calibration

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]  # what, how many are done, of how many
MAX_RECALL_CELLS = 50_000_000
STORED_SUFFIX = ".pt"


@dataclass(frozen=True)
class System:
    """A model as it is evaluated: a name for the report, and how recordings are cut.

    ``embed_stored`` embeds a file of stored features; None: there are none. ``trained_on`` and
    ``chosen_on`` name the speakers that it was trained on, and those on whom its training chose
    the best epoch: empty where nobody knows.
    """

    name: str
    embedder: Embedder
    embed_stored: Callable[[Path], Embedded] | None = None
    trained_on: frozenset[str] = frozenset()
    chosen_on: frozenset[str] = frozenset()

    def embed_one(self, path: Path) -> Embedded:
        """Embed a recording, or stored features where no recording was found."""
        if self.embed_stored is not None and path.suffix == STORED_SUFFIX:
            return self.embed_stored(path)
        return examined(path, self.embedder)


@dataclass(frozen=True)
class Settings:
    """How scores are made and numbers are read off them; the same for all systems."""

    cohort: tuple[Utterance, ...] = ()  # for AS-norm, and for the mean that is subtracted
    as_norm: bool = False
    top_n: int = 300
    subtract_mean: bool = False
    crop_scores: bool = False
    calibration_set: TrialSet | None = None
    n_draws: int = 1000
    seed: int = 0
    workers: int = 1
    strict: bool = False


def evaluate(
    systems: Sequence[System],
    trial_sets: Sequence[TrialSet],
    settings: Settings | None = None,
    *,
    cache: EmbeddingCache | None = None,
    progress: Progress | None = None,
) -> Report:
    """Evaluate models on trial sets.

    Args:
        systems: one or more, with different names.
        trial_sets: one or more; CN-Celeb's two protocols are two.
        settings: the back end, the calibration, the intervals.
        cache: known embeddings; None keeps them for this call only.
        progress: called with what is going on, how much is done, and of how much.

    Raises:
        ManifestError: a file is missing (of trials, cohort or calibration set) and
            ``settings.strict``; a cohort or calibration speaker
            who is in the trials.
        ScoringError: no model could score trials of both classes, or a cohort or calibration set
            is too small.
    """
    settings, report = settings or Settings(), progress or _silent
    if settings.strict:
        refuse_missing(
            [*trial_sets, *([settings.calibration_set] if settings.calibration_set else [])],
            settings.cohort,
        )
    refuse_shared(trial_sets, settings.cohort, settings.calibration_set)
    results: list[list[SystemResult | Unmeasured]] = [[] for _ in trial_sets]
    own = cache or EmbeddingCache()
    for system in systems:
        found = _embed(system, trial_sets, settings, own, report)
        back_end = _back_end(found, settings)
        llr = _calibration(system, found, back_end, settings)
        for trial_set, own_results in zip(trial_sets, results, strict=True):
            own_results.append(_result(system, trial_set, found, back_end, llr, settings, report))
    in_order = [of_system[s] for s in range(len(systems)) for of_system in results]
    unmeasured = tuple(one for one in in_order if isinstance(one, Unmeasured))
    measured = tuple(one for one in in_order if isinstance(one, SystemResult))
    if not measured:
        raise ScoringError(f"{unmeasured[0].trials}, {unmeasured[0].name}: {unmeasured[0].reason}")
    pairs = [
        pair
        for trial_set, own_results in zip(trial_sets, results, strict=True)
        for pair in compare_systems(
            own_results, trial_set, n_draws=settings.n_draws, seed=settings.seed, progress=report
        )
    ]
    return Report(measured, tuple(pairs), settings.n_draws, settings.seed, unmeasured)


def _embed(
    system: System,
    trial_sets: Sequence[TrialSet],
    settings: Settings,
    cache: EmbeddingCache,
    progress: Progress,
) -> dict[Path, Embedded]:
    sets = [*trial_sets, *([settings.calibration_set] if settings.calibration_set else [])]
    paths = dict.fromkeys(path for one in sets for path in files_of(one))
    of_cohort = [files_of_utterance(utterance) for utterance in settings.cohort]
    paths |= dict.fromkeys(files[0] for files in of_cohort)
    joined = joined_files([*(files for one in sets for files in one.joined.values()), *of_cohort])
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress(f"embedding with {system.name}", done, len(paths))

    return embed_files(
        list(paths),
        system.embedder,
        cache,
        workers=settings.workers,
        progress=advance,
        embed_one=system.embed_one,
        joined=joined,
    )


def _back_end(found: Mapping[Path, Embedded], settings: Settings) -> BackEnd:
    if not settings.cohort:
        return BackEnd(crop_scores=settings.crop_scores)
    rows = [(found[files_of_utterance(u)[0]], u.speaker_id) for u in settings.cohort]
    usable = [(row.embedding, who) for row, who in rows if row.embedding is not None]
    if not usable:
        raise ScoringError("no recording of the cohort gave an embedding")
    cohort = Cohort.of([embedding for embedding, _ in usable], [who for _, who in usable])
    return BackEnd(
        center=cohort.mean.mean(axis=0) if settings.subtract_mean else None,
        cohort=cohort if settings.as_norm else None,
        top_n=settings.top_n,
        crop_scores=settings.crop_scores,
    )


@dataclass(frozen=True)
class _Llr:
    calibration: Calibration
    source: str
    exclusions: Exclusions | None = None  # of the calibration set


def _calibration(
    system: System, found: Mapping[Path, Embedded], back_end: BackEnd, settings: Settings
) -> _Llr | None:
    """Fitted on the calibration set; else the card's, where it was made for such scores."""
    chosen = settings.calibration_set
    card = system.embedder.encoder.card
    if chosen is None:
        if card.calibration is None or not back_end.is_plain:
            return None
        if not system.embedder.is_card_setting:
            return None
        measured_on = card.calibration.measured_on
        return _Llr(
            card.calibration,
            f"the model's card (measured on {measured_on}; its speakers are not compared)",
        )
    fitted = fit_on(chosen, found, back_end, card.embedding_size, chosen.name)
    fit = fitted.calibration
    how = f"score alone ({fitted.without_speech})" if fitted.without_speech else "score and speech"
    source = f"fitted on {chosen.name}: {how}, {fit.n_speakers:,} speakers"
    return _Llr(fit, source, fitted.exclusions)


def _losses(
    found: Mapping[Path, Embedded], llr: _Llr | None, settings: Settings
) -> dict[str, Exclusions]:
    """What was left out besides the trials' own recordings."""
    losses = {}
    if settings.cohort:
        losses["cohort"] = cohort_exclusions(settings.cohort, found)
    if llr and llr.exclusions:
        losses["calibration set"] = llr.exclusions
    return losses


def _result(
    system: System,
    trial_set: TrialSet,
    found: Mapping[Path, Embedded],
    back_end: BackEnd,
    llr: _Llr | None,
    settings: Settings,
    progress: Progress,
) -> SystemResult | Unmeasured:
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
    trial_set: TrialSet, sides: EmbeddedTrials, scores: Floats, llr: _Llr | None
) -> TrialScores:
    return TrialScores(
        scores,
        sides.table.is_target,
        trial_set.enrollment_speakers[sides.table.enrollment],
        trial_set.test_speakers[sides.table.test],
        None if llr is None else llr.calibration.llr(scores, sides.speech_s()),
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
    table = card.table_for(float(np.median(sides.speech_s())))
    if table is None or not back_end.is_plain or not system.embedder.is_card_setting:
        return {}
    return {f"{r.fmr:g}": r.threshold for r in table.rows if r.threshold is not None}


def _cutting(embedder: Embedder) -> str:
    if embedder.num_crops == 0:
        return "whole utterance"
    return f"{embedder.num_crops} crops of {embedder.crop_s:g} s"


def _silent(what: str, done: int, total: int) -> None:
    pass
