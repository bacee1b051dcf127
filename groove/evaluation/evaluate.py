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

from collections.abc import Mapping, Sequence
from pathlib import Path

from groove.errors import ScoringError
from groove.evaluation.cache import Embedded, EmbeddingCache, embed_files
from groove.evaluation.calibrate import fit_on
from groove.evaluation.comparing import compare_systems
from groove.evaluation.embedded import files_of
from groove.evaluation.findings import Report, SystemResult, Unmeasured
from groove.evaluation.refusals import refuse_missing, refuse_shared
from groove.evaluation.result import Llr, Progress, result_of
from groove.evaluation.scores import BackEnd, Cohort
from groove.evaluation.systems import Settings, System
from groove.evaluation.trial_sets import TrialSet
from groove.joined import files_of_utterance, joined_files


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
            own_results.append(result_of(system, trial_set, found, back_end, llr, settings, report))
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


def _calibration(
    system: System, found: Mapping[Path, Embedded], back_end: BackEnd, settings: Settings
) -> Llr | None:
    """Fitted on the calibration set; else the card's, where it was made for such scores."""
    chosen = settings.calibration_set
    card = system.embedder.encoder.card
    if chosen is None:
        if card.calibration is None or not back_end.is_plain:
            return None
        if not system.embedder.is_card_setting:
            return None
        measured_on = card.calibration.measured_on
        if card.narrow_band is not None:
            narrow = card.narrow_band.calibration.measured_on
            measured_on += f"; trials of telephone sound on both sides: on {narrow}"
        return Llr(
            card.calibration,
            f"the model's card (measured on {measured_on}; its speakers are not compared)",
            on_telephone=card.narrow_band.calibration if card.narrow_band else None,
        )
    fitted = fit_on(chosen, found, back_end, card.embedding_size, chosen.name)
    fit = fitted.calibration
    how = f"score alone ({fitted.without_speech})" if fitted.without_speech else "score and speech"
    source = f"fitted on {chosen.name}: {how}, {fit.n_speakers:,} speakers"
    return Llr(fit, source, fitted.exclusions)


def _silent(what: str, done: int, total: int) -> None:
    pass
