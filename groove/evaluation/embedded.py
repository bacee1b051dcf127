"""A trial set and a system's embeddings, put together: which trials can be scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.bootstrap import Interval, draw_mean
from groove.evaluation.cache import Embedded
from groove.evaluation.findings import Exclusions, SpeakerMap
from groove.evaluation.scores import Side
from groove.evaluation.trial_sets import TrialSet
from groove.evaluation.trial_table import TrialTable
from groove.joined import files_of_utterance
from groove.manifest import Utterance
from groove.scoring import unit_length

Floats = NDArray[np.float64]
MAX_MAP_SPEAKERS, MAX_MAP_RECORDINGS = 20, 50  # shown in the map of speakers


@dataclass(frozen=True)
class EmbeddedTrials:
    """A trial set with a system's embeddings: the trials that can be scored."""

    table: TrialTable
    kept: NDArray[np.bool_]
    n_missing: int
    enrollment: Side
    test: Side

    @classmethod
    def of(
        cls,
        trial_set: TrialSet,
        found: Mapping[Path, Embedded],
        size: int,
        *,
        crop_scores: bool = False,
    ) -> EmbeddedTrials:
        """Put the embeddings of ``size`` numbers in their places.

        With ``crop_scores`` a group's recordings count by their crops' mean length, so that a score
        is the mean over all pairs of crops of the two sides.
        """
        available = trial_set.available()
        enrollment = _side(trial_set.enrollment_files, found, size, crop_scores)
        tests = [None if path is None else (path,) for path in trial_set.test_files]
        test = _side(tests, found, size, crop_scores)
        table = trial_set.table
        kept = enrollment.acquired[table.enrollment] & test.acquired[table.test]
        return cls(table.only(kept), kept, int((~available).sum()), enrollment, test)

    def speech_s(self) -> Floats:
        """Seconds of speech of each scored trial's shorter side."""
        shorter: Floats = np.minimum(
            self.enrollment.speech_s[self.table.enrollment], self.test.speech_s[self.table.test]
        )
        return shorter

    def narrow_band(self) -> NDArray[np.bool_]:
        """Of each scored trial, whether both sides are telephone sound."""
        enrollment, test = self.enrollment.narrow_band, self.test.narrow_band
        if enrollment is None or test is None:
            return np.zeros(len(self.table), np.bool_)
        return enrollment[self.table.enrollment] & test[self.table.test]


def _side(
    groups: Sequence[tuple[Path, ...] | None],
    found: Mapping[Path, Embedded],
    size: int,
    crop_scores: bool,
) -> Side:
    """Mean embedding, mean length and seconds of speech of each group of recordings."""
    embedding = np.full((len(groups), size), np.nan)
    mean_length, speech_s = np.zeros(len(groups)), np.zeros(len(groups))
    narrow_band = np.zeros(len(groups), np.bool_)
    for i, group in enumerate(groups):
        rows = [found[path] for path in group or ()]
        usable = [(row.embedding, row) for row in rows if row.embedding is not None]
        if usable:
            weights = [row.mean_length if crop_scores else 1.0 for _, row in usable]
            mean = np.mean(
                [w * e.astype(np.float64) for w, (e, _) in zip(weights, usable, strict=True)], 0
            )
            embedding[i] = unit_length(mean)
            mean_length[i] = float(np.linalg.norm(mean))
            speech_s[i] = sum(row.speech_s for _, row in usable)
            narrow_band[i] = all(row.narrow_band for _, row in usable)
    return Side(embedding, mean_length, speech_s, narrow_band)


def files_of(trial_set: TrialSet) -> Iterator[Path]:
    """Every recording of a trial set, enrollments first; some come more than once."""
    for group in trial_set.enrollment_files:
        yield from group or ()
    yield from (path for path in trial_set.test_files if path is not None)


def exclusions(
    trial_set: TrialSet,
    found: Mapping[Path, Embedded],
    sides: EmbeddedTrials,
    *,
    n_draws: int = 1000,
    seed: int = 0,
) -> Exclusions:
    """What was left out of the trials, and why; the draws are those of failure to acquire."""
    files = sorted(set(files_of(trial_set)))
    failed = tuple((str(path), found[path].reason) for path in files if found[path].reason)
    return Exclusions(
        n_repeated=trial_set.table.n_repeated,
        missing_files=trial_set.missing,
        n_missing_trials=sides.n_missing,
        failed=failed,
        n_recordings=len(files),
        n_failed_trials=len(sides.kept) - len(sides.table) - sides.n_missing,
        failure_rate=_failure_rate(trial_set, found, n_draws, seed),
    )


def _failure_rate(
    trial_set: TrialSet, found: Mapping[Path, Embedded], n_draws: int, seed: int
) -> Interval | None:
    """Failure to acquire over draws of the speakers; None without a recording."""
    speakers: dict[Path, int] = {}
    for group, who in zip(
        trial_set.enrollment_files, trial_set.enrollment_speakers.tolist(), strict=True
    ):
        speakers |= dict.fromkeys(group or (), who)
    for path, who in zip(trial_set.test_files, trial_set.test_speakers.tolist(), strict=True):
        if path is not None:
            speakers[path] = who
    if not speakers:
        return None
    failed = [float(found[path].embedding is None) for path in speakers]
    draws = draw_mean(failed, list(speakers.values()), n_draws=n_draws, seed=seed)
    return draws.interval("mean")


def cohort_exclusions(cohort: Sequence[Utterance], found: Mapping[Path, Embedded]) -> Exclusions:
    """What was left out of a cohort, and why."""
    files = dict.fromkeys(files_of_utterance(utterance) for utterance in cohort)
    missing = [str(path) for parts in files for path in parts if not path.is_file()]
    present = [parts[0] for parts in files if all(path.is_file() for path in parts)]
    failed = tuple((str(path), found[path].reason) for path in present if found[path].reason)
    return Exclusions(0, tuple(missing), 0, failed, len(present), 0)


def first_failure(trial_set: TrialSet, found: Mapping[Path, Embedded]) -> str:
    """One phrase for an error about trials of which too few are left."""
    for path in files_of(trial_set):
        if found[path].reason:
            return f"First recording without an embedding: {path}: {found[path].reason}"
    if trial_set.missing:
        return f"{len(trial_set.missing):,} files are missing, {trial_set.missing[0]} the first"
    return "No recording failed: the list holds one kind only"


def speaker_map(trial_set: TrialSet, sides: EmbeddedTrials) -> SpeakerMap:
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
        tuple(known[s] or f"speaker {s}" for s in speakers[chosen].tolist()),
    )
