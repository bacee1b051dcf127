"""The lists of a prepared folder, written together so that they always belong together.

    train.jsonl, val.jsonl   manifests (docs/manifest.md); joined utterances have ``parts``
    spk2id.json              {speaker_id: index} of the training speakers, in sorted order
    train_fbank_list.txt     <path> <index> of each stored training feature; empty without any
    val_meta.jsonl           speaker, utterance, stored feature (or null), audio, seconds
    dropped.jsonl            each file that is not used, and why
    prepared.json            options, sizes, warnings, SHA-256 of the lists; written last

All are first written to a folder beside; then ``prepared.json`` is removed, the lists are renamed
into place, and a new ``prepared.json`` closes. Paths of stored features are relative to the folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from groove.errors import CorpusError
from groove.manifest import Utterance, write_lines, write_manifest
from groove.preparation.journal import full_disk_explained
from groove.preparation.plan import Plan
from groove.preparation.probing import JOURNAL
from groove.preparation.report import VERSION, Report

TRAIN, VAL, SPEAKERS = "train.jsonl", "val.jsonl", "spk2id.json"
FBANK_LIST, VAL_META, DROPPED = "train_fbank_list.txt", "val_meta.jsonl", "dropped.jsonl"
PREPARED = "prepared.json"
FEATURES = "fbank_pt"
LISTS = (TRAIN, VAL, SPEAKERS, FBANK_LIST, VAL_META, DROPPED)
ASIDE = ".lists.part"


def write_lists_of(plan: Plan, report: Report, out: Path) -> None:
    """Write every list of a plan into ``out``.

    Raises:
        CorpusError: the disk is full; the lists that were there still are.
    """
    aside = out / ASIDE
    with full_disk_explained(out):
        shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
        try:
            aside.mkdir(parents=True)
            _write_all(plan, report.stored.part, aside)
            values = report.to_dict() | {"sha256": {name: _sha256(aside / name) for name in LISTS}}
            write_lines(aside / PREPARED, [json.dumps(values, ensure_ascii=False, indent=1)])
            (out / PREPARED).unlink(missing_ok=True)
            for name in (*LISTS, PREPARED):
                (aside / name).replace(out / name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def check_list(path: Path) -> None:
    """Refuse a list of a prepared folder that is not the one ``prepared.json`` was written with.

    A list by another name, or in a folder that `groove prepare` did not make, passes.

    Raises:
        CorpusError: see `check_prepared`.
    """
    if path.name in LISTS and (path.parent / JOURNAL).is_file():
        check_prepared(path.parent, only=(path.name,))


def check_prepared(out: Path, *, only: Sequence[str] = LISTS) -> dict[str, Any]:
    """What ``prepared.json`` says, after a look that the lists are the ones it was written with.

    Args:
        out: the prepared folder.
        only: the lists that are looked at.

    Raises:
        CorpusError: not prepared to the end, by another version, or a list was changed since.
    """
    try:
        values = json.loads((out / PREPARED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CorpusError(
            f"{out}: no {PREPARED}, so it was not prepared to the end; run groove prepare again"
        ) from None
    if values.get("version") != VERSION:
        raise CorpusError(
            f"{out}/{PREPARED}: version {values.get('version')!r}, this Groove reads {VERSION}; "
            "run groove prepare again"
        )
    for name in only:
        if not (out / name).is_file() or _sha256(out / name) != values["sha256"].get(name):
            raise CorpusError(
                f"{out}/{name}: not the list that {PREPARED} was written with; run groove prepare "
                "again, or give the changed list a name of its own"
            )
    return dict(values)


def feature_path(utterance: Utterance) -> str:
    """Where an utterance's stored feature lies in the prepared folder.

    >>> feature_path(Utterance("id00012-singing-01-001", "id00012", Path("a.flac"), 2.0))
    'fbank_pt/id00012/id00012-singing-01-001.pt'
    """
    name = utterance.utterance_id.removeprefix(f"{utterance.speaker_id}/")
    return f"{FEATURES}/{utterance.speaker_id}/{name}.pt"


def _write_all(plan: Plan, stored: str, folder: Path) -> None:
    write_manifest(plan.utterances(plan.train), folder / TRAIN)
    write_manifest(plan.utterances(plan.val), folder / VAL)
    speakers = {name: i for i, name in enumerate(plan.speakers(plan.train))}
    write_lines(folder / SPEAKERS, [json.dumps(speakers, ensure_ascii=False, indent=0)])
    write_lines(folder / FBANK_LIST, _fbank_lines(plan, speakers) if stored == "all" else [])
    write_lines(folder / VAL_META, _val_lines(plan, stored != "none"))
    write_lines(folder / DROPPED, (_json(asdict(one)) for one in plan.dropped))


def _fbank_lines(plan: Plan, speakers: dict[str, int]) -> Iterator[str]:
    for utterance in plan.utterances(plan.train):
        yield f"{feature_path(utterance)} {speakers[utterance.speaker_id]}"


def _val_lines(plan: Plan, is_stored: bool) -> Iterator[str]:
    for utterance in plan.utterances(plan.val):
        yield _json(
            {
                "speaker_id": utterance.speaker_id,
                "utterance_id": utterance.utterance_id,
                "feat": feature_path(utterance) if is_stored else None,
                "audio": str(utterance.path),
                "seconds": utterance.seconds,
                **utterance.fields,
            }
        )


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
