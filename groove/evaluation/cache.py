"""Embeddings that are never computed twice: by content of the file, model, and cutting.

One SQLite file. A row is found by the SHA-256 of the recording's bytes, the model's hash, and
everything else that the embedding depends on (front end, crops, channel, limits of speech), so that
a renamed file is known and a changed one is not; utterances joined from several recordings
(`groove.joined`) have the hashes of all. It holds no names and no paths; the embeddings are
biometric data all the same: the file is made readable by its owner only, and is to be deleted when
the evaluation is done with.

The program may be killed at any moment: rows are committed every second or so, a commit is whole
or not at all, and the next run goes on from there. Refusals (no speech) are kept as well; files
that could not be read are tried again.

>>> with EmbeddingCache("embeddings.sqlite") as cache:
...     found = embed_files(paths, embedder, cache, workers=2)
>>> found[path].embedding
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from groove.audio import AudioSource
from groove.embedder import Embedder
from groove.encoder import file_hash
from groove.errors import GrooveError, SettingsError
from groove.joined import Files, read_joined
from groove.parallel import run_parallel

FORMAT = 2  # of the file, and of everything between sound and embedding
COMMIT_S = 1.0
KEYS_AT_ONCE = 500

_TABLE = """
CREATE TABLE IF NOT EXISTS embeddings (
    content TEXT NOT NULL, model TEXT NOT NULL, cutting TEXT NOT NULL,
    embedding BLOB, mean_length REAL NOT NULL, seconds REAL NOT NULL, speech_s REAL NOT NULL,
    reason TEXT NOT NULL, narrow_band INTEGER NOT NULL, PRIMARY KEY (content, model, cutting)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Embedded:
    """What one recording gave: an embedding [D] of length 1, or the reason why there is none."""

    embedding: NDArray[np.float32] | None
    mean_length: float  # see `groove.embedder.Examined`
    seconds: float
    speech_s: float
    reason: str = ""
    narrow_band: bool = False  # telephone sound, see `groove.speech`


class EmbeddingCache:
    """The file, or memory alone where the path is None."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        """Open or make the file.

        Raises:
            SettingsError: it cannot be opened, is no cache, or was written by another version.
        """
        self.path = path
        try:
            if path is not None:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite heeds the umask
            self._base = sqlite3.connect(
                ":memory:" if path is None else os.fspath(path), timeout=60
            )
            (version,) = self._base.execute("PRAGMA user_version").fetchone()
            if version not in (0, FORMAT):
                raise SettingsError(
                    f"{path}: a cache of format {version}, this Groove writes {FORMAT}; "
                    "delete it, or name another with --cache"
                )
            self._base.execute(_TABLE)
            self._base.execute(f"PRAGMA user_version = {FORMAT}")
            self._base.commit()
        except (sqlite3.Error, OSError) as error:
            raise SettingsError(
                f"{path}: cannot be used as a cache ({error}); delete it, or name another with "
                "--cache"
            ) from None
        self._committed_at = time.monotonic()

    def __enter__(self) -> EmbeddingCache:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Commit and close, after an error or Ctrl-C as well."""
        self._base.commit()
        self._base.close()

    def find(self, contents: Iterable[str], model: str, cutting: str) -> dict[str, Embedded]:
        """What is known of recordings with these hashes, by hash."""
        wanted, found = list(dict.fromkeys(contents)), {}
        for start in range(0, len(wanted), KEYS_AT_ONCE):
            some = wanted[start : start + KEYS_AT_ONCE]
            rows = self._base.execute(
                "SELECT content, embedding, mean_length, seconds, speech_s, reason, narrow_band "
                "FROM embeddings "
                f"WHERE model = ? AND cutting = ? AND content IN ({','.join('?' * len(some))})",
                (model, cutting, *some),
            )
            for content, blob, mean_length, seconds, speech_s, reason, narrow_band in rows:
                embedding = None if blob is None else np.frombuffer(blob, dtype="<f4")
                found[content] = Embedded(
                    embedding, mean_length, seconds, speech_s, reason, bool(narrow_band)
                )
        return found

    def add(self, content: str, model: str, cutting: str, row: Embedded) -> None:
        """Keep a row; it is safe from a kill within about a second."""
        blob = None if row.embedding is None else row.embedding.astype("<f4").tobytes()
        self._base.execute(
            "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (content, model, cutting, blob)
            + (row.mean_length, row.seconds, row.speech_s, row.reason, int(row.narrow_band)),
        )
        if time.monotonic() - self._committed_at > COMMIT_S:
            self.commit()

    def commit(self) -> None:
        """Make everything that was added safe."""
        self._base.commit()
        self._committed_at = time.monotonic()


def embed_files(
    paths: Sequence[Path],
    embedder: Embedder,
    cache: EmbeddingCache,
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
    embed_one: Callable[[Path], Embedded] | None = None,
    joined: Mapping[Path, Files] | None = None,
) -> dict[Path, Embedded]:
    """Embed every file once; a file that gives no embedding has the reason instead.

    Args:
        paths: recordings; repeats cost nothing.
        embedder: with a one-thread encoder, which the workers share.
        cache: what is known, and where new rows go.
        workers: threads that decode and encode at the same time.
        progress: called with the number of files that are done since the last call.
        embed_one: what embeds a file; None: the embedder, which wants a recording.
        joined: the files of which a path is only the first: read back to back, see
            `groove.joined.joined_files`.
    """
    wanted, joined = list(dict.fromkeys(paths)), joined or {}

    def content_at(path: Path) -> str | Embedded:
        return content_of(*joined.get(path, (path,)))

    hashes: dict[Path, str] = {}
    found: dict[Path, Embedded] = {}
    for path, content in run_parallel(wanted, content_at, workers=workers):
        if isinstance(content, str):
            hashes[path] = content
        else:
            found[path] = content
    if progress:  # unreadable ones, and repeats of the same bytes
        progress(len(wanted) - len(set(hashes.values())))
    one = embed_one or (lambda path: examined(path, embedder))

    def embed(path: Path) -> Embedded:
        return examined_joined(joined[path], embedder) if path in joined else one(path)

    sources = {content: _bound(embed, path) for path, content in hashes.items()}
    known = embed_sources(sources, embedder, cache, workers=workers, progress=progress)
    return found | {path: known[content] for path, content in hashes.items()}


def embed_sources(
    sources: Mapping[str, Callable[[], Embedded]],
    embedder: Embedder,
    cache: EmbeddingCache,
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Embedded]:
    """Embed what is not known yet, by content.

    Args:
        sources: content -> what embeds it; the content (a hash, and whatever is done to the sound)
            must say everything about it.
        embedder: whose model and cutting it is.
        cache: see `embed_files`.
        workers: threads.
        progress: called with the number of sources that are done since the last call.
    """
    model, cutting = embedder.encoder.model_hash, _cutting(embedder)
    known = cache.find(sources, model, cutting)
    todo = [content for content in sources if content not in known]
    if progress:
        progress(len(sources) - len(todo))
    for content, row in run_parallel(todo, lambda content: sources[content](), workers=workers):
        if row.embedding is not None or row.seconds > 0:  # heard, if without speech
            cache.add(content, model, cutting, row)
        known[content] = row
        if progress:
            progress(1)
    cache.commit()  # whoever shares the file need not wait for what comes now
    return known


def content_of(*files: Path) -> str | Embedded:
    """The SHA-256 of a file, or of each that is joined; where one cannot be read, the reason."""
    try:
        return ",".join(map(file_hash, files))
    except OSError as error:
        return _nothing(str(error))


def examined(source: AudioSource, embedder: Embedder) -> Embedded:
    """What a recording gives, or the reason why it gives nothing."""
    try:
        found = embedder.examine(source)
    except (GrooveError, OSError) as error:
        return _nothing(str(error))
    speech = found.speech
    reason = ""
    if found.embedding is None:
        reason = speech.refusal(embedder.encoder.card.min_speech_s)
    return Embedded(
        found.embedding,
        found.mean_length,
        speech.seconds,
        speech.speech_s,
        reason,
        speech.is_narrow_band,
    )


def examined_joined(files: Files, embedder: Embedder) -> Embedded:
    """What files that are read back to back give as one recording."""
    try:
        source = read_joined(files, channel=embedder.channel)
    except (GrooveError, OSError) as error:
        return _nothing(str(error))
    return examined(source, embedder)


def _bound(one: Callable[[Path], Embedded], path: Path) -> Callable[[], Embedded]:
    return lambda: one(path)


def _nothing(reason: str) -> Embedded:
    return Embedded(None, 0.0, 0.0, 0.0, reason)


def _cutting(embedder: Embedder) -> str:
    """Everything besides recording and weights that an embedding depends on."""
    card = embedder.encoder.card
    return json.dumps(
        {
            "front_end": card.fbank.hash,
            "window_s": card.window_s,
            "min_speech_s": 0.0 if embedder.every_recording else card.min_speech_s,
            "num_crops": embedder.num_crops,
            "crop_s": embedder.crop_s,
            "channel": embedder.channel,
        },
        sort_keys=True,
    )
