"""Trials and models -> scores -> a report that writes itself.

`evaluate` embeds every recording once (`groove.embedding_cache`), scores each trial set with each
model (`groove.trial_scores`), reads everything off the scores (`groove.measures`) and compares the
models two by two on the trials that both could score. Nothing is skipped silently: repeated
trials, missing files and recordings without speech are counted and listed in the report.

>>> report = evaluate([System("a", Embedder(encoder))], read_cnceleb_eval(root))
>>> report.systems[0].measured.metrics["eer"]
>>> write_report(report, Path("out"))                 # groove.report
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.calibration import fit_calibration, threshold_table
from groove.card import ThresholdTable
from groove.embedder import Embedder
from groove.embedding_cache import Embedded, EmbeddingCache, embed_files, examined
from groove.errors import ManifestError, ScoringError
from groove.manifest import Utterance
from groove.measures import (
    Cell,
    Comparison,
    Conditions,
    Measured,
    TrialScores,
    cells,
    compare,
    measure,
    recalls,
)
from groove.scoring import Calibration, unit_length
from groove.trial_scores import BackEnd, Cohort, Side
from groove.trial_sets import TrialSet
from groove.trial_table import TrialTable

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]  # what, how many are done, of how many
MAX_RECALL_CELLS = 50_000_000
MAX_MAP_SPEAKERS, MAX_MAP_RECORDINGS = 20, 50  # shown in the map of speakers
STORED_SUFFIX = ".pt"
SHOWN = 3


@dataclass(frozen=True)
class System:
    """A model as it is evaluated: a name for the report, and how recordings are cut.

    ``embed_stored`` embeds a file of stored features; None: there are none.
    """

    name: str
    embedder: Embedder
    embed_stored: Callable[[Path], Embedded] | None = None

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


@dataclass(frozen=True)
class Exclusions:
    """What was left out of a system's trials, and why."""

    n_repeated: int
    missing_files: tuple[str, ...]
    n_missing_trials: int
    failed: tuple[tuple[str, str], ...]  # recordings that gave no embedding, with the reason
    n_recordings: int
    n_failed_trials: int


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
    measured: Measured
    recall: dict[str, Any]
    condition: str
    cells: tuple[Cell, ...]
    exclusions: Exclusions
    thresholds: dict[str, float]  # of the card, by promised false-match rate
    speaker_map: SpeakerMap
    scores: Floats = field(repr=False)  # [N], NaN where a trial was left out
    table: TrialTable = field(repr=False)

    @property
    def title(self) -> str:
        """The name, and the protocol where it matters."""
        return f"{self.name}, {self.protocol}" if self.protocol else self.name


@dataclass(frozen=True)
class PairResult:
    """Two models on the trials of one set that both could score."""

    a: str
    b: str
    protocol: str
    n_trials: int
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Report:
    """Everything that an evaluation found."""

    systems: tuple[SystemResult, ...]
    pairs: tuple[PairResult, ...]
    n_draws: int
    seed: int


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
        ManifestError: a file is missing and ``settings.strict``; a cohort or calibration speaker
            who is in the trials.
        ScoringError: a model that gave no embedding for one class of trials, or a cohort or
            calibration set that is too small.
    """
    settings, report = settings or Settings(), progress or _silent
    if settings.strict:
        _refuse_missing(trial_sets)
    _refuse_shared_speakers(trial_sets, settings)
    results: list[SystemResult] = []
    own = cache or EmbeddingCache()
    for system in systems:
        found = _embed(system, trial_sets, settings, own, report)
        back_end = _back_end(found, settings)
        llr = _calibration(system, found, back_end, settings)
        for trial_set in trial_sets:
            results.append(_result(system, trial_set, found, back_end, llr, settings, report))
    pairs = tuple(_pairs(results, trial_sets, settings, report))
    return Report(tuple(results), pairs, settings.n_draws, settings.seed)


def _embed(
    system: System,
    trial_sets: Sequence[TrialSet],
    settings: Settings,
    cache: EmbeddingCache,
    progress: Progress,
) -> dict[Path, Embedded]:
    sets = [*trial_sets, *([settings.calibration_set] if settings.calibration_set else [])]
    paths = dict.fromkeys(path for one in sets for path in _files(one))
    paths |= dict.fromkeys(utterance.path for utterance in settings.cohort)
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
    )


def _files(trial_set: TrialSet) -> Iterable[Path]:
    for group in trial_set.enrollment_files:
        yield from group or ()
    yield from (path for path in trial_set.test_files if path is not None)


def _back_end(found: Mapping[Path, Embedded], settings: Settings) -> BackEnd:
    if not settings.cohort:
        return BackEnd(crop_scores=settings.crop_scores)
    rows = [(found[u.path], u.speaker_id) for u in settings.cohort]
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
class _Sides:
    """A trial set with a system's embeddings: the trials that can be scored."""

    table: TrialTable
    kept: NDArray[np.bool_]
    n_missing: int
    enrollment: Side
    test: Side

    @classmethod
    def of(cls, trial_set: TrialSet, found: Mapping[Path, Embedded], size: int) -> _Sides:
        available = trial_set.available()
        enrollment = _side(trial_set.enrollment_files, found, size)
        test = _side([None if p is None else (p,) for p in trial_set.test_files], found, size)
        table = trial_set.table
        kept = enrollment.acquired[table.enrollment] & test.acquired[table.test]
        return cls(table.only(kept), kept, int((~available).sum()), enrollment, test)

    def speech_s(self) -> Floats:
        """Seconds of speech of each scored trial's shorter side."""
        shorter: Floats = np.minimum(
            self.enrollment.speech_s[self.table.enrollment], self.test.speech_s[self.table.test]
        )
        return shorter


def _side(
    groups: Sequence[tuple[Path, ...] | None], found: Mapping[Path, Embedded], size: int
) -> Side:
    """Mean embedding, mean length and seconds of speech of each group of recordings."""
    embedding = np.full((len(groups), size), np.nan)
    mean_length, speech_s = np.zeros(len(groups)), np.zeros(len(groups))
    for i, group in enumerate(groups):
        rows = [found[path] for path in group or ()]
        usable = [(row.embedding, row) for row in rows if row.embedding is not None]
        if usable:
            total = np.sum([e.astype(np.float64) for e, _ in usable], axis=0)
            embedding[i] = unit_length(total)
            mean_length[i] = float(np.mean([row.mean_length for _, row in usable]))
            speech_s[i] = sum(row.speech_s for _, row in usable)
    return Side(embedding, mean_length, speech_s)


@dataclass(frozen=True)
class _Llr:
    calibration: Calibration
    source: str


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
        return _Llr(card.calibration, f"the model's card ({card.calibration.measured_on})")
    fit = _fit(chosen, found, back_end, card.embedding_size, chosen.name)[1]
    how = "score and speech" if fit.w_speech or fit.w_score_speech else "score alone"
    return _Llr(fit, f"fitted on {chosen.name}: {how}, {fit.n_speakers:,} speakers")


def measure_calibration(
    embedder: Embedder,
    trial_set: TrialSet,
    name: str,
    *,
    cache: EmbeddingCache | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[ThresholdTable, Calibration]:
    """Thresholds and calibration of plain cosines on one trial set, for a card.

    Args:
        embedder: the model, cut as its card says.
        trial_set: of speakers that no evaluation holds.
        name: of the data, for the record.
        cache: known embeddings.
        workers: threads.
        progress: see `evaluate`.

    Raises:
        ScoringError: too few trials.
    """
    system, settings = System(embedder.encoder.card.name, embedder), Settings(workers=workers)
    found = _embed(system, [trial_set], settings, cache or EmbeddingCache(), progress or _silent)
    return _fit(trial_set, found, BackEnd(), embedder.encoder.card.embedding_size, name)


def _fit(
    trial_set: TrialSet, found: Mapping[Path, Embedded], back_end: BackEnd, size: int, name: str
) -> tuple[ThresholdTable, Calibration]:
    """With seconds of speech as a quality measure, where the set can tell what they are worth."""
    sides = _Sides.of(trial_set, found, size)
    if not 0 < sides.table.n_target < len(sides.table):
        raise ScoringError(
            f"{name}: {sides.table.n_target} target trials of {len(sides.table)} that can be "
            "scored; a calibration needs both kinds"
        )
    scores = back_end.scores(sides.table, sides.enrollment, sides.test)
    speech, target = sides.speech_s(), sides.table.is_target
    who = [
        trial_set.enrollment_speakers[sides.table.enrollment],
        trial_set.test_speakers[sides.table.test],
    ]
    n_speakers = len(np.unique(np.concatenate(who)))
    classes = (scores[target], scores[~target])
    rows = threshold_table(*classes, n_speakers)
    table = ThresholdTable(round(float(np.median(speech[~target])), 2), name, rows)
    try:
        fit = fit_calibration(
            *classes, speech[target], speech[~target], n_speakers=n_speakers, measured_on=name
        )
    except ScoringError:  # equal seconds, or too few trials: the score alone must do
        fit = fit_calibration(*classes, n_speakers=n_speakers, measured_on=name)
    return table, fit


def _result(
    system: System,
    trial_set: TrialSet,
    found: Mapping[Path, Embedded],
    back_end: BackEnd,
    llr: _Llr | None,
    settings: Settings,
    progress: Progress,
) -> SystemResult:
    embedder = system.embedder
    card = embedder.encoder.card
    sides = _Sides.of(trial_set, found, card.embedding_size)
    progress(f"scoring with {system.name}", 0, 1)
    if not 0 < sides.table.n_target < len(sides.table):
        raise ScoringError(
            f"{trial_set.name}: {sides.table.n_target} target and "
            f"{len(sides.table) - sides.table.n_target} non-target trials are left with "
            f"{system.name}; both kinds are needed. {_first_failure(trial_set, found)}"
        )
    scores = back_end.scores(sides.table, sides.enrollment, sides.test)
    trials = _trial_scores(trial_set, sides, scores, llr)
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress(f"intervals for {system.name}", done, settings.n_draws)

    measured = measure(trials, n_draws=settings.n_draws, seed=settings.seed, progress=advance)
    whole = np.full(len(sides.kept), np.nan)
    whole[sides.kept] = scores
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
        measured=measured,
        recall=_recall(trial_set, whole, settings),
        condition=trial_set.condition,
        cells=_cells(trial_set, sides, trials, settings, progress),
        exclusions=_exclusions(trial_set, found, sides),
        thresholds=_card_thresholds(system, back_end, sides),
        speaker_map=_speaker_map(trial_set, sides),
        scores=whole,
        table=trial_set.table,
    )


def _trial_scores(
    trial_set: TrialSet, sides: _Sides, scores: Floats, llr: _Llr | None
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
    sides: _Sides,
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


def _exclusions(trial_set: TrialSet, found: Mapping[Path, Embedded], sides: _Sides) -> Exclusions:
    files = sorted(set(_files(trial_set)))
    failed = tuple((str(path), found[path].reason) for path in files if found[path].reason)
    return Exclusions(
        n_repeated=trial_set.table.n_repeated,
        missing_files=trial_set.missing,
        n_missing_trials=sides.n_missing,
        failed=failed,
        n_recordings=len(files),
        n_failed_trials=len(sides.kept) - len(sides.table) - sides.n_missing,
    )


def _first_failure(trial_set: TrialSet, found: Mapping[Path, Embedded]) -> str:
    for path in _files(trial_set):
        if found[path].reason:
            return f"First recording without an embedding: {path}: {found[path].reason}"
    return "No recording failed: the list holds one kind only"


def _card_thresholds(system: System, back_end: BackEnd, sides: _Sides) -> dict[str, float]:
    """What the verifier would use for the median trial, to be drawn into the histogram."""
    card = system.embedder.encoder.card
    table = card.table_for(float(np.median(sides.speech_s())))
    if table is None or not back_end.is_plain or not system.embedder.is_card_setting:
        return {}
    return {f"{r.fmr:g}": r.threshold for r in table.rows if r.threshold is not None}


def _speaker_map(trial_set: TrialSet, sides: _Sides) -> SpeakerMap:
    """Up to 20 speakers with the most test recordings, up to 50 of each, in the list's order."""
    usable = sides.test.acquired
    speakers = trial_set.test_speakers[usable]
    embeddings = sides.test.embedding[usable]
    names, counts = np.unique(speakers, return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")][:MAX_MAP_SPEAKERS]
    rows = [np.flatnonzero(speakers == who)[:MAX_MAP_RECORDINGS] for who in np.sort(largest)]
    chosen = np.concatenate(rows)
    known = trial_set.speaker_names
    return SpeakerMap(
        embeddings[chosen],
        tuple(known[s] if known else f"speaker {s}" for s in speakers[chosen].tolist()),
    )


def _pairs(
    results: Sequence[SystemResult],
    trial_sets: Sequence[TrialSet],
    settings: Settings,
    progress: Progress,
) -> Iterable[PairResult]:
    n_sets = len(trial_sets)
    for s, trial_set in enumerate(trial_sets):
        own = results[s::n_sets]
        for i, a in enumerate(own):
            for b in own[i + 1 :]:
                both = ~np.isnan(a.scores) & ~np.isnan(b.scores)
                measured = [_on_common(one, trial_set, both, settings, progress) for one in (a, b)]
                yield PairResult(
                    a.name, b.name, trial_set.protocol, int(both.sum()), compare(*measured)
                )


def _on_common(
    result: SystemResult,
    trial_set: TrialSet,
    both: NDArray[np.bool_],
    settings: Settings,
    progress: Progress,
) -> Measured:
    """The measurement on the common trials; the one in hand where those are all."""
    if int((~np.isnan(result.scores)).sum()) == int(both.sum()):
        return result.measured
    progress(f"{result.name} on the common trials", 0, 1)
    table = trial_set.table.only(both)
    trials = TrialScores(
        result.scores[both],
        table.is_target,
        trial_set.enrollment_speakers[table.enrollment],
        trial_set.test_speakers[table.test],
    )
    return measure(trials, n_draws=settings.n_draws, seed=settings.seed)


def _refuse_missing(trial_sets: Sequence[TrialSet]) -> None:
    for trial_set in trial_sets:
        if trial_set.missing:
            some = ", ".join(trial_set.missing[:SHOWN])
            more = len(trial_set.missing) - SHOWN
            raise ManifestError(
                f"{trial_set.name}: {len(trial_set.missing)} files are missing ({some}"
                f"{f' and {more} more' if more > 0 else ''}); without --strict their trials are "
                "left out and counted"
            )


def _refuse_shared_speakers(trial_sets: Sequence[TrialSet], settings: Settings) -> None:
    """Neither cohort nor calibration may hold a speaker or a recording of the trials."""
    others: list[tuple[str, set[str], set[Path]]] = []
    if settings.cohort:
        speakers = {u.speaker_id for u in settings.cohort}
        others.append(("cohort", speakers, {u.path.resolve() for u in settings.cohort}))
    if settings.calibration_set:
        chosen = settings.calibration_set
        files = {path.resolve() for path in _files(chosen)}
        others.append(("calibration set", set(chosen.speaker_names), files))
    for what, speakers, files in others:
        for trial_set in trial_sets:
            shared = speakers & set(trial_set.speaker_names)
            if shared:
                raise ManifestError(
                    f"{what}: speaker {min(shared)} is in the trials of {trial_set.name} as well "
                    f"({len(shared)} such); it must hold other speakers"
                )
            same = files & {path.resolve() for path in _files(trial_set)}
            if same:
                raise ManifestError(
                    f"{what}: {min(same)} is a recording of the trials ({len(same)} such); it "
                    "must hold other speakers"
                )


def _cutting(embedder: Embedder) -> str:
    if embedder.num_crops == 0:
        return "whole utterance"
    return f"{embedder.num_crops} crops of {embedder.crop_s:g} s"


def _silent(what: str, done: int, total: int) -> None:
    pass
