"""What an evaluation must not be: cheated by shared speakers, or silent about missing files.

Speakers are compared by name, recordings by path. Where nobody names the speakers of a list, that
they are not shared cannot be checked, and `unchecked` says so. The speakers that a model was
trained on are in checkpoints of `groove train` and in no model file: where they are known and stand
in the trials, `familiar` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from groove.errors import ManifestError
from groove.evaluation.embedded import files_of
from groove.evaluation.enrollments import some_of
from groove.evaluation.trial_sets import TrialSet
from groove.joined import files_of_utterance
from groove.manifest import Utterance


def refuse_missing(trial_sets: Sequence[TrialSet], cohort: Sequence[Utterance] = ()) -> None:
    """A missing file of a trial set or of the cohort is an error, not a counted loss.

    Raises:
        ManifestError: there is one.
    """
    files = dict.fromkeys(path for one in cohort for path in files_of_utterance(one))
    gone = tuple(str(path) for path in files if not path.is_file())
    for name, missing in (*((one.name, one.missing) for one in trial_sets), ("cohort", gone)):
        if missing:
            raise ManifestError(
                f"{name}: {len(missing)} files are missing ({some_of(missing)}); without --strict "
                "they are left out and counted"
            )


def refuse_shared(
    trial_sets: Sequence[TrialSet],
    cohort: Sequence[Utterance],
    calibration_set: TrialSet | None,
) -> None:
    """Trials, cohort and calibration set hold different speakers and recordings.

    Raises:
        ManifestError: two of them share one.
    """
    others: list[tuple[str, set[str], set[Path]]] = []
    if cohort:
        speakers = {u.speaker_id for u in cohort}
        others.append(
            ("cohort", speakers, {path.resolve() for u in cohort for path in files_of_utterance(u)})
        )
    if calibration_set:
        files = _recordings(calibration_set)
        for _, of_cohort, cohort_files in others:
            both = sorted(of_cohort & calibration_set.named_speakers) or sorted(
                str(path) for path in cohort_files & files
            )
            if both:
                raise ManifestError(
                    f"cohort: {both[0]} is in the calibration set as well ({len(both)} such); "
                    "it must hold other speakers"
                )
        others.append(("calibration set", set(calibration_set.named_speakers), files))
    for what, speakers, files in others:
        for trial_set in trial_sets:
            shared = speakers & trial_set.named_speakers
            if shared:
                raise ManifestError(
                    f"{what}: speaker {min(shared)} is in the trials of {trial_set.name} as well "
                    f"({len(shared)} such); it must hold other speakers"
                )
            same = files & _recordings(trial_set)
            if same:
                raise ManifestError(
                    f"{what}: {min(same)} is a recording of the trials ({len(same)} such); it "
                    "must hold other speakers"
                )


def familiar(
    trial_set: TrialSet, name: str, *, trained_on: frozenset[str], chosen_on: frozenset[str]
) -> tuple[str, ...]:
    """Sentences about trial speakers whom a model's training knew, by name.

    Args:
        trial_set: the trials.
        name: of the model, for the sentence.
        trained_on: the speakers of its training list.
        chosen_on: those on whom the training chose its best epoch.
    """
    known, found = trial_set.named_speakers, []
    if shared := known & trained_on:
        found.append(
            f"{name} was TRAINED on {len(shared):,} of the {len(known):,} named speakers of "
            f"{trial_set.name} ({some_of(sorted(shared))}): these numbers say nothing about "
            "strangers; evaluate on other speakers"
        )
    if shared := known & chosen_on:
        found.append(
            f"{name} was chosen among its training's epochs on {len(shared):,} of the "
            f"{len(known):,} named speakers of {trial_set.name} ({some_of(sorted(shared))}): "
            "these numbers flatter it; report those of other speakers"
        )
    return tuple(found)


def _recordings(trial_set: TrialSet) -> set[Path]:
    """Every file of a trial set, the parts of joined utterances as well."""
    joined = trial_set.joined
    return {part.resolve() for path in files_of(trial_set) for part in joined.get(path, (path,))}


def unchecked(trial_set: TrialSet, calibration_set: TrialSet | None) -> tuple[str, ...]:
    """Sentences about the speakers that nobody names, so that overlap could not be seen."""
    found = []
    for what, one in (("the trials", trial_set), ("the calibration set", calibration_set)):
        if one is None or not one.n_unnamed:
            continue
        n = len(one.speaker_names)
        whose = what if one.n_unnamed == n else f"{one.n_unnamed:,} of {n:,} in {what}"
        found.append(
            f"speakers unknown: overlap not checked for {whose} ({one.name}); folders or ids that "
            "say the speaker, or a manifest, would name them"
        )
    return tuple(found)
