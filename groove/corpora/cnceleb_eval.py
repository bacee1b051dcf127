"""CN-Celeb's official trials, by both protocols side by side.

What it is: the evaluation part of CN-Celeb1 (OpenSLR 82, CN-Celeb_v2): 196 enrollments against
17,777 tests of 200 speakers in 11 genres, 3,484,292 trials (17,755 target). Licence: CC BY-SA 4.0
as OpenSLR states it; see the corpus. Source: Fan et al. 2020, Li et al. 2022.

    eval/lists/enroll.lst   id00800-enroll enroll/id00800-enroll.wav
    eval/lists/enroll.map   id00800-enroll id00800/singing-01-001.wav id00800/...   (below data/)
    eval/lists/trials.lst   id00800-enroll test/id00800-singing-01-005.wav 1

The two protocols: the *mean* of the embeddings of the enrollment's recordings (enroll.map), and one
*joined* enrollment recording (eval/enroll/). Papers use either, so both are always given. The lists
say ``.wav`` where the release holds ``.flac``. Speaker and genre stand in the names, read from the
right: ``id00800-live_broadcast-01-005``. Of a release without data/ the mean protocol is given as
well: with all of its enrollments missing, so that the report says that it was not measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from groove.corpora.files import resolve_audio
from groove.errors import ManifestError
from groove.evaluation.enrollments import read_enroll_map
from groove.evaluation.list_speakers import cnceleb_speaker
from groove.evaluation.trial_sets import TrialSet
from groove.evaluation.trial_table import Ints, TrialTable, read_trial_table

OFFICIAL = {"enrollments": 196, "tests": 17_777, "trials": 3_484_292, "target": 17_755}
JOINED, MEAN = "joined recording", "mean of embeddings"
UTTERANCE = re.compile(r"^(?:(id\d{5})-)?([a-z_]+)-(\d+)-(\d+)$")


def read_cnceleb_eval(root: Path) -> tuple[TrialSet, ...]:
    """Both protocols' trial sets, over the same trials in the same order.

    Args:
        root: ``CN-Celeb_flac`` (which holds ``data`` and ``eval``), or its ``eval`` folder.

    Raises:
        ManifestError: a list is missing or malformed, or names an enrollment or a speaker that
            the others do not know, or neither protocol has a single trial whose files are there.
    """
    folder = root / "eval" if (root / "eval").is_dir() else root
    lists = folder / "lists"
    if not (lists / "trials.lst").is_file():
        raise ManifestError(
            f"{root}: no eval/lists/trials.lst; wanted the folder CN-Celeb_flac of OpenSLR 82"
        )
    table = read_trial_table(lists / "trials.lst", "kaldi")
    recordings = read_enroll_map(lists / "enroll.map")
    joined = read_enroll_map(lists / "enroll.lst")
    _refuse_unknown(table, recordings, "enroll.map")
    _refuse_unknown(table, joined, "enroll.lst")
    speakers, names = _speakers(table)
    genres = [
        tuple(_common(map(genre_of, recordings[name])) for name in table.enrollment_ids),
        tuple(genre_of(name) for name in table.test_ids),
    ]
    missing: dict[str, list[str]] = {JOINED: [], MEAN: []}
    tests = [resolve_audio(folder / name) for name in table.test_ids]
    gone = [name for name, path in zip(table.test_ids, tests, strict=True) if path is None]
    found = []
    for protocol, where, groups in (
        (MEAN, folder.parent / "data", recordings),
        (JOINED, folder, joined),
    ):
        files = [
            _all_files([where / part for part in groups[name]], missing[protocol])
            for name in table.enrollment_ids
        ]
        found.append(
            TrialSet(
                name="CN-Celeb.E",
                protocol=protocol,
                table=table,
                enrollment_files=tuple(files),
                test_files=tuple(tests),
                enrollment_speakers=speakers[: len(table.enrollment_ids)],
                test_speakers=speakers[len(table.enrollment_ids) :],
                speaker_names=names,
                enrollment_conditions=genres[0],
                test_conditions=genres[1],
                condition="genre",
                missing=(*gone, *missing[protocol]),
                notes=_notes(table),
            )
        )
    if not any(one.available().any() for one in found):
        raise ManifestError(
            f"{folder}: no recording of the trials is there (first missing: {found[0].missing[0]})"
        )
    return tuple(found)


def genre_of(name: str) -> str:
    """The genre in a recording's name, "unknown" if it has another form.

    >>> genre_of("test/id00800-live_broadcast-01-005.wav")
    'live_broadcast'
    """
    found = UTTERANCE.match(Path(name).stem)
    return found[2] if found else "unknown"


def speaker_of(name: str) -> str:
    """The speaker in a recording's or enrollment's name, or folder.

    Raises:
        ManifestError: there is none.
    """
    if found := cnceleb_speaker(name):
        return found
    raise ManifestError(f"{name}: no speaker id (id00800) in the name; is it CN-Celeb's list?")


def _speakers(
    table: TrialTable,
) -> tuple[Ints, tuple[str, ...]]:
    of_all = [speaker_of(name) for name in (*table.enrollment_ids, *table.test_ids)]
    names = sorted(set(of_all))
    number = {name: i for i, name in enumerate(names)}
    speakers = np.array([number[name] for name in of_all], dtype=np.int64)
    n = len(table.enrollment_ids)
    wrong = (speakers[:n][table.enrollment] == speakers[n:][table.test]) != table.is_target
    if wrong.any():
        first = int(wrong.argmax())
        raise ManifestError(
            f"trials.lst: {table.enrollment_ids[table.enrollment[first]]} "
            f"{table.test_ids[table.test[first]]}: the label disagrees with the names"
        )
    return speakers, tuple(names)


def _all_files(paths: Sequence[Path], missing: list[str]) -> tuple[Path, ...] | None:
    found = [resolve_audio(path) for path in paths]
    gone = [str(path) for path, file in zip(paths, found, strict=True) if file is None]
    missing += gone
    return None if gone else tuple(file for file in found if file is not None)


def _common(genres: Sequence[str] | map[str]) -> str:
    values = set(genres)
    return values.pop() if len(values) == 1 else "mixed"


def _refuse_unknown(table: TrialTable, known: dict[str, list[str]], where: str) -> None:
    unknown = [name for name in table.enrollment_ids if name not in known]
    if unknown:
        raise ManifestError(
            f"{where}: does not say what enrollment {unknown[0]} of trials.lst is "
            f"({len(unknown)} unknown); are the lists of one release?"
        )


def _notes(table: TrialTable) -> tuple[str, ...]:
    counts = {
        "enrollments": len(table.enrollment_ids),
        "tests": len(table.test_ids),
        "trials": len(table),
        "target": table.n_target,
    }
    if counts == OFFICIAL:
        return ("the official list: 196 enrollments, 17,777 tests",)
    differing = ", ".join(
        f"{counts[key]:,} {key} (official: {OFFICIAL[key]:,})"
        for key in OFFICIAL
        if counts[key] != OFFICIAL[key]
    )
    return (f"NOT the official list: {differing}; do not compare with published numbers",)
