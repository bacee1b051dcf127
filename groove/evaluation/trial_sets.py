"""Trial sets: a list of trials together with the recordings that its names mean.

What an evaluation needs to know besides the labels: which files make an enrollment (one, or several
that are averaged), which file a test is, who speaks, and under which condition (genre, corpus) it
was recorded. A set is made from an official list and a folder (`from_list`), from a manifest
(`from_manifest`) or from the seed's val_meta.jsonl (`from_val_meta`);
`groove.corpora.cnceleb_eval` makes CN-Celeb's two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from groove.corpora.files import resolve_audio
from groove.errors import ManifestError
from groove.evaluation.enrollments import Search, all_or_none, owners_of, some_of
from groove.evaluation.list_speakers import speakers_of_list
from groove.evaluation.trial_table import Bools, Ints, TrialTable, read_trial_table
from groove.evaluation.val_meta import read_val_meta
from groove.joined import Files, files_of_utterance, joined_files
from groove.manifest import Utterance, read_manifest
from groove.trials import TrialForm, draw_trials

ALL_PAIRS_UP_TO = 3_000_000  # more pairs than that are drawn from, by seed


@dataclass(frozen=True)
class TrialSet:
    """Trials, the recordings behind them, their speakers and conditions.

    ``enrollment_files`` [E] and ``test_files`` [T] hold paths that exist, of joined utterances the
    first; None stands for an enrollment or test with a missing file. Speakers are numbers that
    enrollments and tests share.
    """

    name: str
    protocol: str  # how an enrollment is made; "" where it is one recording
    table: TrialTable
    enrollment_files: tuple[tuple[Path, ...] | None, ...]
    test_files: tuple[Path | None, ...]
    enrollment_speakers: Ints  # [E]
    test_speakers: Ints  # [T]
    speaker_names: tuple[str, ...]  # [K], of the numbers; "" where nobody says the name
    enrollment_conditions: tuple[str, ...] = ()  # [E], or empty
    test_conditions: tuple[str, ...] = ()  # [T], or empty
    condition: str = ""  # what the conditions are: "genre"
    missing: tuple[str, ...] = ()  # files that the list names and nobody has
    notes: tuple[str, ...] = ()
    joined: Mapping[Path, Files] = field(default_factory=dict)  # see `groove.joined`

    @property
    def is_all_pairs(self) -> bool:
        """Whether both sides are the same recordings, every one against every other."""
        n = len(self.table.enrollment_ids)
        return self.table.enrollment_ids == self.table.test_ids and len(self.table) == (
            n * (n - 1) // 2
        )

    @property
    def named_speakers(self) -> frozenset[str]:
        """The speakers whose names are known."""
        return frozenset(self.speaker_names) - {""}

    @property
    def n_unnamed(self) -> int:
        """How many speakers nobody names, so that they cannot be looked for elsewhere."""
        return sum(not name for name in self.speaker_names)

    def available(self) -> Bools:
        """The trials [N] whose files are all there."""
        has_enrollment = np.array([files is not None for files in self.enrollment_files])
        has_test = np.array([file is not None for file in self.test_files])
        found: Bools = has_enrollment[self.table.enrollment] & has_test[self.table.test]
        return found


def from_list(
    path: Path,
    audio: Path,
    *,
    form: TrialForm | None = None,
    enroll_map: Path | None = None,
) -> TrialSet:
    """A list whose ids are paths below a folder, with or without the right suffix.

    Args:
        path: the list, in a form of `groove.trials`.
        audio: the folder.
        form: of the list; None recognises it.
        enroll_map: lines ``enrollment file file ...``: what an enrollment id means.

    Raises:
        ManifestError: a malformed list, an enrollment that the map lacks, or no file found at all.
    """
    if not audio.is_dir():
        raise ManifestError(f"{audio}: no such folder; --audio is where the list's names begin")
    table = read_trial_table(path, form)
    search = Search(lambda name: resolve_audio(audio / name))
    own = owners_of(table.enrollment_ids, enroll_map)
    speakers = speakers_of_list(table, path.name, recordings=own if enroll_map else None)
    return _checked(
        TrialSet(
            name=path.name,
            protocol="mean of the enrollment's recordings" if enroll_map else "",
            table=table,
            enrollment_files=tuple(all_or_none([search(name) for name in one]) for one in own),
            test_files=tuple(search(name) for name in table.test_ids),
            enrollment_speakers=speakers.enrollment,
            test_speakers=speakers.test,
            speaker_names=speakers.names,
            missing=tuple(search.missing),
            notes=(f"speakers as the {speakers.said_by} say",) if speakers.said_by else (),
        ),
        str(audio),
    )


def from_manifest(
    manifest: Path,
    *,
    trials: Path | None = None,
    form: TrialForm | None = None,
    enroll_map: Path | None = None,
    n_trials: int = ALL_PAIRS_UP_TO,
    seed: int = 0,
    condition: str = "genre",
) -> TrialSet:
    """The trials of a manifest: its own list, or every pair; drawn by seed where those are many.

    Args:
        manifest: see `groove.manifest`.
        trials: a list whose ids are utterance ids; None pairs the utterances.
        form: of the list.
        enroll_map: lines ``enrollment utterance utterance ...``.
        n_trials: where more pairs than this exist, as many are drawn: all target pairs up to
            half of them, the rest non-target.
        seed: of the draw.
        condition: the manifest's field to break results down by, where it has it.

    Raises:
        ManifestError: a malformed list, or an id that the manifest lacks.
    """
    return from_utterances(
        read_manifest(manifest),
        manifest.name,
        trials=trials,
        form=form,
        enroll_map=enroll_map,
        n_trials=n_trials,
        seed=seed,
        condition=condition,
    )


def from_utterances(
    utterances: Sequence[Utterance],
    name: str,
    *,
    trials: Path | None = None,
    form: TrialForm | None = None,
    enroll_map: Path | None = None,
    n_trials: int = ALL_PAIRS_UP_TO,
    seed: int = 0,
    condition: str = "genre",
) -> TrialSet:
    """See `from_manifest`; the utterances are in hand."""
    by_id = {u.utterance_id: u for u in utterances}
    if trials is None:
        table, note = _paired(utterances, n_trials, seed)
        notes: tuple[str, ...] = (note,)
    else:
        table, notes = read_trial_table(trials, form), ()
        name = f"{trials.name} of {name}"
    whole: list[Files] = []

    def find(key: str) -> Path | None:
        files = all_or_none([resolve_audio(path) for path in files_of_utterance(by_id[key])])
        whole.extend([files] if files else [])
        return files[0] if files else None

    search = Search(find)
    owners = [owners_of(table.enrollment_ids, enroll_map), [[t] for t in table.test_ids]]
    for side in owners:
        _refuse_unknown([one for group in side for one in group], by_id, name)
    names = sorted({u.speaker_id for u in utterances})
    number = {speaker: i for i, speaker in enumerate(names)}
    speakers = [_speakers(side, by_id, number) for side in owners]
    _refuse_wrong_labels(table, speakers[0], speakers[1], name)
    conditions: list[tuple[str, ...]] = [(), ()]
    if any(condition in u.fields for u in utterances):
        conditions = [_conditions(side, by_id, condition) for side in owners]
    return _checked(
        TrialSet(
            name=name,
            protocol="mean of the enrollment's recordings" if enroll_map else "",
            table=table,
            enrollment_files=tuple(all_or_none([search(k) for k in side]) for side in owners[0]),
            test_files=tuple(search(side[0]) for side in owners[1]),
            enrollment_speakers=speakers[0],
            test_speakers=speakers[1],
            speaker_names=tuple(names),
            enrollment_conditions=conditions[0],
            test_conditions=conditions[1],
            condition=condition if conditions[0] else "",
            missing=tuple(str(by_id[key].path) for key in search.missing),
            notes=notes,
            joined=joined_files(whole),
        ),
        name,
    )


def from_val_meta(path: Path, *, n_trials: int = ALL_PAIRS_UP_TO, seed: int = 0) -> TrialSet:
    """The pairs of the recordings that preprocessing held back for validation.

    A line is ``{"speaker_id", "utterance_id", "feat", "audio", "seconds"}``; further keys are kept.
    Where ``audio`` is not there, ``feat`` (stored features) stands in for it.

    Raises:
        ManifestError: see `read_val_meta` and `from_manifest`.
    """
    return from_utterances(read_val_meta(path), path.name, n_trials=n_trials, seed=seed)


def _refuse_unknown(ids: Sequence[str], known: Mapping[str, Utterance], where: str) -> None:
    unknown = [one for one in dict.fromkeys(ids) if one not in known]
    if unknown:
        raise ManifestError(
            f"{where}: the manifest does not know {some_of(unknown)}, so neither file nor speaker; "
            "trials and manifest belong together"
        )


def _refuse_wrong_labels(table: TrialTable, enrollment: Ints, test: Ints, where: str) -> None:
    wrong = (enrollment[table.enrollment] == test[table.test]) != table.is_target
    if wrong.any():
        first = int(wrong.argmax())
        label = "target" if table.is_target[first] else "non-target"
        raise ManifestError(
            f"{where}: {table.enrollment_ids[table.enrollment[first]]} and "
            f"{table.test_ids[table.test[first]]} are a {label} trial, but the manifest's speakers "
            "say otherwise"
        )


def _speakers(
    groups: Sequence[Sequence[str]], by_id: Mapping[str, Utterance], number: Mapping[str, int]
) -> Ints:
    who = [{by_id[key].speaker_id for key in group} for group in groups]
    mixed = [group for group, speakers in zip(groups, who, strict=True) if len(speakers) > 1]
    if mixed:
        raise ManifestError(f"an enrollment of {some_of(mixed[0])} mixes speakers; it must be one")
    return np.array([number[next(iter(speakers))] for speakers in who], dtype=np.int64)


def _conditions(
    groups: Sequence[Sequence[str]], by_id: Mapping[str, Utterance], condition: str
) -> tuple[str, ...]:
    found = []
    for group in groups:
        values = {str(by_id[key].fields.get(condition, "unknown")) for key in group}
        found.append(values.pop() if len(values) == 1 else "mixed")
    return tuple(found)


def _paired(utterances: Sequence[Utterance], n_trials: int, seed: int) -> tuple[TrialTable, str]:
    """Every pair, as arrays; or a draw of them."""
    n = len(utterances)
    n_pairs = n * (n - 1) // 2
    ids = tuple(u.utterance_id for u in utterances)
    _, who = np.unique(np.array([u.speaker_id for u in utterances]), return_inverse=True)
    if n_pairs <= n_trials:
        first, second = np.triu_indices(n, 1)
        note = f"every pair of {n:,} recordings"
    else:
        counts = np.bincount(who)
        n_target = min(int((counts * (counts - 1) // 2).sum()), n_trials // 2)
        drawn = draw_trials(utterances, n_target, n_trials - n_target, seed)
        at = {name: i for i, name in enumerate(ids)}
        first = np.array([at[t.enrollment_id] for t in drawn])
        second = np.array([at[t.test_id] for t in drawn])
        note = f"{len(drawn):,} of {n_pairs:,} pairs of {n:,} recordings, drawn with seed {seed}"
    table = TrialTable(
        ids, ids, first.astype(np.int32), second.astype(np.int32), who[first] == who[second]
    )
    if not 0 < table.n_target < len(table):
        raise ManifestError(
            f"{n} recordings of {len(set(who.tolist()))} speakers give {table.n_target} target and "
            f"{len(table) - table.n_target} non-target pairs; an evaluation needs both kinds"
        )
    return table, note


def _checked(found: TrialSet, where: str) -> TrialSet:
    if not found.available().any():
        raise ManifestError(
            f"{where}: no recording of any trial is there (first missing: {found.missing[0]}); "
            "is the folder right?"
        )
    _refuse_own_recordings(found)
    return found


def _refuse_own_recordings(found: TrialSet) -> None:
    """No test recording may be among those that its enrollment was made of."""
    tests: dict[Path, list[int]] = {}  # a file may stand in the list under several names
    for i, path in enumerate(found.test_files):
        if path is not None:
            tests.setdefault(path, []).append(i)
    n_tests, table = len(found.test_files), found.table
    owned = [
        enrollment * n_tests + test
        for enrollment, group in enumerate(found.enrollment_files)
        for path in group or ()
        for test in tests.get(path, ())
    ]
    inside = np.isin(table.enrollment.astype(np.int64) * n_tests + table.test, owned)
    if inside.any():
        trial = int(np.argmax(inside))
        raise ManifestError(
            f"{found.name}: the enrollment {table.enrollment_ids[int(table.enrollment[trial])]} "
            f"holds the test recording {table.test_ids[int(table.test[trial])]} itself "
            f"({int(inside.sum())} such trials); a recording is never compared with itself"
        )
