"""Store the features of a preparation's utterances: parallel, resumable, within the disk's room.

The journal (``stored.jsonl``) holds for each stored file what it was made of: the front end and the
size and time of change of each part. What is unchanged is not made again; what changed is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from groove.audio import read_audio
from groove.errors import AudioError, CorpusError
from groove.fbank import FbankConfig
from groove.leftovers import remove_leftovers
from groove.manifest import Utterance
from groove.preparation.journal import Journal, full_disk_explained
from groove.preparation.lists import FEATURES, feature_path
from groove.preparation.probing import kind_of, reason_of
from groove.preparation.processes import run_in_processes
from groove.preparation.progress import Progress, silent
from groove.preparation.report import size_text
from groove.training.stored import frames_to_store, stored_bytes, write_features

JOURNAL = "stored.jsonl"
SPARE_BYTES = 100_000_000  # left free on the disk for lists, logs and other people


@dataclass(frozen=True)
class Stored:
    """What storing did: utterances that could not be stored, with kind and reason."""

    n_made: int
    n_known: int
    failed: dict[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Job:
    utterance_id: str
    speaker_id: str
    target: str  # absolute
    key: str  # in the journal
    parts: tuple[str, ...]
    made_of: str | None  # what the journal says


@dataclass(frozen=True, slots=True)
class _Done:
    utterance_id: str
    key: str
    made_of: str = ""
    is_new: bool = False
    kind: str = ""
    reason: str = ""


def refuse_too_large(utterances: Iterable[Utterance], config: FbankConfig, out: Path) -> int:
    """The bytes that the features will take, stored ones included.

    Raises:
        CorpusError: the disk has not so much room for those that are not there yet.
    """
    out.mkdir(parents=True, exist_ok=True)
    n_bytes = n_missing = 0
    for utterance in utterances:
        size = stored_bytes(utterance.seconds, config)
        n_bytes += size
        n_missing += 0 if os.path.exists(out / feature_path(utterance)) else size
    free = shutil.disk_usage(out).free
    if n_missing and n_missing + SPARE_BYTES > free:
        raise CorpusError(
            f"{out}: storing features takes {size_text(n_missing)}, and {size_text(free)} are "
            "free; free some space, choose another --out, or --features val (training then reads "
            "the waveforms, which is better anyway)"
        )
    return n_bytes


def store_features(
    utterances: Iterable[Utterance],
    n_utterances: int,
    config: FbankConfig,
    out: Path,
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> Stored:
    """Store the features of ``utterances`` below ``out/fbank_pt``.

    Args:
        utterances: with the parts of joined ones in ``fields["parts"]``; read as the work goes on.
        n_utterances: how many, for the progress.
        config: the model's front end.
        out: the prepared folder.
        workers: processes.
        progress: see `groove.preparation.progress`.

    Raises:
        CorpusError: the disk is full, or another preparation is writing to ``out``; what is
            stored is kept.
    """
    n_made = n_known = 0
    failed: dict[str, tuple[str, str]] = {}
    with full_disk_explained(out), Journal(out / JOURNAL) as journal:
        _remove_leftovers(out)
        made_of = {key: str(rest[0]) for key, rest in journal.read().items()}
        jobs = _jobs(utterances, made_of, out.absolute())
        work = partial(_store_chunk, config=config)
        with progress("storing features", n_utterances) as advance:
            for answers in run_in_processes(jobs, work, workers=workers, n_items=n_utterances):
                journal.append([done.key, done.made_of] for done in answers if done.is_new)
                for done in answers:
                    n_made += done.is_new
                    n_known += not done.is_new and not done.kind
                    if done.kind:
                        failed[done.utterance_id] = (done.kind, done.reason)
                advance(len(answers))
    return Stored(n_made, n_known, failed)


def read_parts(parts: Iterable[str]) -> NDArray[np.float32]:
    """The waveform [S] of an utterance: its parts back to back."""
    return np.concatenate([read_audio(part) for part in parts])


def _remove_leftovers(out: Path) -> None:
    """What a killed preparation was writing; the journal's lock says that nobody else is."""
    for folder, _, _ in os.walk(out / FEATURES):
        remove_leftovers(Path(folder), locked=True)


def _jobs(utterances: Iterable[Utterance], made_of: dict[str, str], out: Path) -> Iterator[_Job]:
    for utterance in utterances:
        parts = [part["path"] for part in utterance.fields.get("parts", [])]
        key = feature_path(utterance)
        yield _Job(
            utterance.utterance_id,
            utterance.speaker_id,
            str(out / key),
            key,
            tuple(parts or [str(utterance.path)]),
            made_of.get(key),
        )


def _store_chunk(jobs: list[_Job], config: FbankConfig) -> list[_Done]:
    torch.set_num_threads(1)  # the processes are the parallelism
    return [_store(job, config) for job in jobs]


def _store(job: _Job, config: FbankConfig) -> _Done:
    try:
        made_of = _fingerprint(job.parts, config)
    except OSError as error:
        return _Done(job.utterance_id, job.key, kind="cannot be read", reason=str(error.strerror))
    if made_of == job.made_of and os.path.exists(job.target):
        return _Done(job.utterance_id, job.key)
    try:
        frames = frames_to_store(read_parts(job.parts), config)
    except AudioError as error:
        reason = reason_of(error, job.parts[0])
        return _Done(job.utterance_id, job.key, kind=kind_of(error), reason=reason)
    write_features(
        job.target, frames, config, speaker_id=job.speaker_id, utterance_id=job.utterance_id
    )
    return _Done(job.utterance_id, job.key, made_of, is_new=True)


def _fingerprint(parts: Iterable[str], config: FbankConfig) -> str:
    """Sixteen hex digits that change when the front end or a part changes."""
    digest = hashlib.sha256(config.hash.encode())
    for part in parts:
        stat = os.stat(part)
        digest.update(f"\0{part}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
