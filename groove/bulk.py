"""Embeddings of many recordings: parallel, resumable, and one bad file never stops the rest.

One file holds the result, ``embeddings.npz``, readable with ``numpy.load``: ``embedding`` [N, D] of
length 1, ``utterance_id``, ``path``, ``speaker_id``, ``seconds``, ``speech_s``, ``size`` and
``mtime_ns`` [N], and ``meta``, a JSON text with the model's name and hash, the front end's hash and
the cutting. Recordings that gave no embedding stand in ``failed.jsonl`` with the reason.

While the work goes on, what is done is flushed every few seconds to ``embeddings.part-*.npz``,
written aside and renamed. After a kill the same command goes on from there: a recording whose path,
size and time of change are already known is not listened to again. Failures are tried again.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.audio import AudioSource
from groove.corpora.files import AUDIO_SUFFIXES
from groove.embedder import Embedder
from groove.errors import GrooveError, ManifestError, SettingsError
from groove.joined import Files, read_joined
from groove.parallel import run_parallel

RESULT = "embeddings.npz"
FAILED = "failed.jsonl"
PART = "embeddings.part-{:05d}.npz"
FORMAT = 1
FLUSH_S = 5.0
FLUSH_ROWS = 1000


@dataclass(frozen=True)
class Recording:
    """One piece of work."""

    utterance_id: str
    path: Path
    speaker_id: str = ""
    parts: Files = ()  # of a joined utterance all its files, ``path`` the first

    def now(self) -> tuple[int, int]:
        """Bytes and latest time of change of the files."""
        stats = [path.stat() for path in self.parts or (self.path,)]
        return sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)


@dataclass(frozen=True)
class Row:
    """One finished recording: a row of the result."""

    utterance_id: str
    path: str
    speaker_id: str
    seconds: float
    speech_s: float
    size: int
    mtime_ns: int
    embedding: NDArray[np.float32]


@dataclass(frozen=True)
class Summary:
    """What a run of `embed_many` did."""

    n_embedded: int
    n_known: int  # done by an earlier run
    n_failed: int
    audio_s: float  # seconds listened to in this run
    elapsed_s: float
    result: Path


def find_recordings(folder: Path) -> list[Recording]:
    """Every audio file below a folder, by suffix, in the order of their relative paths.

    Raises:
        ManifestError: there is none.
    """
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    )
    if not paths:
        raise ManifestError(f"{folder}: no audio files below it")
    return [Recording(path.relative_to(folder).as_posix(), path) for path in paths]


def embed_many(
    recordings: Sequence[Recording],
    embedder: Embedder,
    out: Path,
    *,
    workers: int,
    progress: Callable[[int], None] | None = None,
) -> Summary:
    """Embed recordings into ``out``, going on from where an earlier run stopped.

    Args:
        recordings: with different utterance ids.
        embedder: with a one-thread encoder: workers share it (measured: two workers with one
            thread each beat one session with two threads).
        out: a folder; it is made.
        workers: threads that decode and encode at the same time.
        progress: called with the number of recordings that are done since the last call.

    Raises:
        ManifestError: two recordings share an id.
        SettingsError: ``out`` holds embeddings of another model or cutting.
    """
    started = time.monotonic()
    _refuse_duplicates(recordings)
    out.mkdir(parents=True, exist_ok=True)
    meta = _meta(embedder)
    known = {row.utterance_id: row for row in read_rows(out, meta)}
    todo = [r for r in recordings if not _is_known(r, known)]
    if progress:
        progress(len(recordings) - len(todo))
    journal = _Journal(out, meta)
    failed: list[dict[str, str]] = []
    try:
        for recording, result in run_parallel(
            todo, lambda one: _embed_one(one, embedder), workers=workers
        ):
            if isinstance(result, Row):
                journal.add(result)
            else:
                failed.append(
                    {"utterance_id": recording.utterance_id, "path": str(recording.path)}
                    | {"reason": result}
                )
            if progress:
                progress(1)
    finally:  # also after Ctrl-C: what is done is kept
        journal.flush()
    rows = known | {row.utterance_id: row for row in journal.rows}
    kept = [rows[r.utterance_id] for r in recordings if r.utterance_id in rows]
    asked = {r.utterance_id for r in recordings}
    kept += [row for name, row in rows.items() if name not in asked]
    _write_npz(out / RESULT, kept, meta)
    order = {recording.utterance_id: i for i, recording in enumerate(recordings)}
    _write_failed(out / FAILED, sorted(failed, key=lambda line: order[line["utterance_id"]]))
    for part in out.glob(PART.replace("{:05d}", "*")):
        part.unlink()
    return Summary(
        n_embedded=len(journal.rows),
        n_known=len(recordings) - len(todo),
        n_failed=len(failed),
        audio_s=sum(row.seconds for row in journal.rows),
        elapsed_s=time.monotonic() - started,
        result=out / RESULT,
    )


def read_rows(out: Path, meta: dict[str, Any] | None = None) -> list[Row]:
    """The finished rows in a folder, of the result and of parts that a killed run left.

    Args:
        out: the folder.
        meta: refuse rows made with other settings than these.

    Raises:
        SettingsError: the rows were made with another model or cutting, or the file is damaged.
    """
    rows: dict[str, Row] = {}
    for path in [out / RESULT, *sorted(out.glob(PART.replace("{:05d}", "*")))]:
        if not path.is_file():
            continue
        try:
            # Opened here: numpy leaves a file open that turns out to be no archive.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                found = json.loads(str(data["meta"]))
                own = list(_rows(data))
        except (ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile) as error:
            raise SettingsError(
                f"{path}: not a result of `groove embed`, or damaged; move it away, or choose "
                "another --out"
            ) from error
        if meta is not None and found != meta:
            differing = sorted(k for k in meta if found.get(k) != meta[k])
            raise SettingsError(
                f"{path}: made with another {', '.join(differing)}; choose another --out"
            )
        rows |= {row.utterance_id: row for row in own}
    return list(rows.values())


class _Journal:
    """Finished rows, flushed to a new part every few seconds."""

    def __init__(self, out: Path, meta: dict[str, Any]) -> None:
        self.rows: list[Row] = []
        self._out, self._meta = out, meta
        self._n_flushed, self._flushed_at = 0, time.monotonic()
        taken = [int(p.stem[-5:]) for p in out.glob(PART.replace("{:05d}", "*"))]
        self._next = max(taken, default=0) + 1

    def add(self, row: Row) -> None:
        self.rows.append(row)
        waiting = len(self.rows) - self._n_flushed
        if waiting >= FLUSH_ROWS or time.monotonic() - self._flushed_at > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        waiting = self.rows[self._n_flushed :]
        if waiting:
            _write_npz(self._out / PART.format(self._next), waiting, self._meta)
            self._next += 1
        self._n_flushed, self._flushed_at = len(self.rows), time.monotonic()


def _embed_one(recording: Recording, embedder: Embedder) -> Row | str:
    """A row, or why there is none."""
    try:
        size, mtime_ns = recording.now()
        source: AudioSource = recording.path
        if recording.parts:
            source = read_joined(recording.parts, channel=embedder.channel)
        examined = embedder.examine(source)
    except (GrooveError, OSError) as error:
        return str(error)
    except Exception as error:  # a fault of ours or of a decoder must not cost the other recordings
        return f"unforeseen {type(error).__name__}: {error}"
    if examined.embedding is None:
        return examined.speech.refusal(embedder.encoder.card.min_speech_s)
    return Row(
        utterance_id=recording.utterance_id,
        path=str(recording.path),
        speaker_id=recording.speaker_id,
        seconds=examined.speech.seconds,
        speech_s=examined.speech.speech_s,
        size=size,
        mtime_ns=mtime_ns,
        embedding=examined.embedding,
    )


def _meta(embedder: Embedder) -> dict[str, Any]:
    card = embedder.encoder.card
    return {
        "format": FORMAT,
        "model": f"{card.name} {card.version}",
        "model_hash": embedder.encoder.model_hash,
        "front_end_hash": card.fbank.hash,
        "num_crops": embedder.num_crops,
        "crop_s": embedder.crop_s,
        "channel": embedder.channel,
    }


def _is_known(recording: Recording, known: dict[str, Row]) -> bool:
    row = known.get(recording.utterance_id)
    if row is None or row.path != str(recording.path):
        return False
    try:
        return recording.now() == (row.size, row.mtime_ns)
    except OSError:
        return False


def _refuse_duplicates(recordings: Sequence[Recording]) -> None:
    seen: dict[str, Path] = {}
    for recording in recordings:
        other = seen.setdefault(recording.utterance_id, recording.path)
        if other is not recording.path:
            raise ManifestError(
                f'two recordings are called "{recording.utterance_id}": {other} and '
                f"{recording.path}; give them different utterance ids"
            )


def _write_npz(path: Path, rows: Sequence[Row], meta: dict[str, Any]) -> None:
    size = rows[0].embedding.shape[0] if rows else 0
    columns: dict[str, Any] = {
        "meta": np.array(json.dumps(meta)),
        "embedding": np.array([row.embedding for row in rows], np.float32).reshape(len(rows), size),
        "utterance_id": np.array([row.utterance_id for row in rows], dtype=np.str_),
        "path": np.array([row.path for row in rows], dtype=np.str_),
        "speaker_id": np.array([row.speaker_id for row in rows], dtype=np.str_),
        "seconds": np.array([row.seconds for row in rows], np.float64),
        "speech_s": np.array([row.speech_s for row in rows], np.float64),
        "size": np.array([row.size for row in rows], np.int64),
        "mtime_ns": np.array([row.mtime_ns for row in rows], np.int64),
    }
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)  # of a process that was killed, with whatever rights
    with open(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        np.savez(file, **columns)
    os.replace(aside, path)


def _rows(data: Any) -> Iterator[Row]:
    columns = {name: data[name] for name in data.files if name != "meta"}
    for i, embedding in enumerate(columns.pop("embedding")):
        values = {name: column[i].item() for name, column in columns.items()}
        yield Row(**values, embedding=embedding)


def _write_failed(path: Path, failed: Sequence[dict[str, str]]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in failed)
    aside.write_text("".join(lines), encoding="utf-8")
    os.replace(aside, path)
