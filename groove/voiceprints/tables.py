"""The tables of the voiceprint store, and each statement on them. For `store` only.

Every function takes the transaction that it is part of. A person's ``person_key`` is drawn at
random, not counted, so that a key in a gallery that is out of date never names somebody else.
``generation`` in ``meta`` grows with every change of an embedding.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from groove.errors import ModelMismatch, StoreError, UnknownPerson
from groove.scoring import unit_length
from groove.voiceprints.database import mark_erasure_due
from groove.voiceprints.identification import Gallery, GalleryBuilder
from groove.voiceprints.names import normalise_name
from groove.voiceprints.people import (
    ModelTag,
    NewUtterance,
    Person,
    StoredUtterance,
    Voiceprint,
    people_text,
)

APPLICATION_ID = 0x47564F58  # "GVOX"
VERSION = 2
LOAD_ROWS = 8192  # read at a time: 6 MB of embeddings

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE model (
  model_key INTEGER PRIMARY KEY,
  model_hash TEXT NOT NULL, front_end_hash TEXT NOT NULL,
  name TEXT NOT NULL, size INTEGER NOT NULL,
  UNIQUE (model_hash, front_end_hash));
CREATE TABLE person (
  person_key INTEGER PRIMARY KEY,
  person_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, consent TEXT NOT NULL,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, used_at TEXT);
CREATE TABLE utterance (
  utterance_key INTEGER PRIMARY KEY,
  utterance_id TEXT NOT NULL UNIQUE,
  person_key INTEGER NOT NULL REFERENCES person ON DELETE CASCADE,
  model_key INTEGER NOT NULL REFERENCES model,
  label TEXT NOT NULL, seconds REAL NOT NULL, speech_s REAL NOT NULL, created_at TEXT NOT NULL,
  embedding BLOB NOT NULL,
  narrow_band INTEGER NOT NULL DEFAULT 0);
CREATE INDEX utterance_person ON utterance (person_key);
CREATE TABLE audit (
  audit_key INTEGER PRIMARY KEY,
  at TEXT NOT NULL, action TEXT NOT NULL, person_id TEXT NOT NULL, detail TEXT NOT NULL);
INSERT INTO meta VALUES ('generation', '0');
"""

UPGRADES = {  # of utterances that were enrolled before, nobody knows: they count as wide-band
    1: "ALTER TABLE utterance ADD COLUMN narrow_band INTEGER NOT NULL DEFAULT 0",
}


def utc_now() -> str:
    """The time, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def to_blob(embedding: NDArray[np.float32], tag: ModelTag) -> bytes:
    """An embedding as bytes, if it is a unit vector [D] of the model's size."""
    vector = np.asarray(embedding)
    length = float(np.linalg.norm(vector)) if vector.shape == (tag.size,) else np.nan
    if not abs(length - 1) < 1e-3:
        raise StoreError(
            f"an embedding has shape {vector.shape} and length {length:g}; wanted [{tag.size}] "
            "and 1, as `Embedder` makes them"
        )
    return vector.astype("<f4").tobytes()


def find_person(transaction: sqlite3.Connection, name: str) -> int:
    """The key of the person of that name; else of that id.

    Raises:
        UnknownPerson: there is none.
    """
    key = look_for_person(transaction, name)
    if key is None:
        raise UnknownPerson(
            f"{normalise_name(name)}: nobody of that name or id is enrolled; see  groove people"
        )
    return key


def look_for_person(transaction: sqlite3.Connection, name: str) -> int | None:
    """As `find_person`; None where there is none."""
    spelled = normalise_name(name)
    for column in ("name", "person_id"):
        query = f"SELECT person_key FROM person WHERE {column} = ?"
        row = transaction.execute(query, (spelled,)).fetchone()
        if row:
            return int(row[0])
    return None


def read_person(transaction: sqlite3.Connection, key: int) -> Person:
    """Everything that is known of a person, but the embeddings."""
    (person_id, name, consent, created, updated, used) = transaction.execute(
        "SELECT person_id, name, consent, created_at, updated_at, used_at FROM person "
        "WHERE person_key = ?",
        (key,),
    ).fetchone()
    rows = transaction.execute(
        "SELECT utterance_id, label, seconds, speech_s, created_at, model.name, model_hash, "
        "front_end_hash, narrow_band FROM utterance JOIN model USING (model_key) "
        "WHERE person_key = ? ORDER BY utterance_key",
        (key,),
    )
    utterances = tuple(StoredUtterance(*[*known, bool(narrow)]) for *known, narrow in rows)
    return Person(person_id, name, consent, created, updated, used, utterances)


def insert_person(transaction: sqlite3.Connection, name: str) -> int:
    """A new person; the name must be free."""
    key, now = secrets.randbits(62), utc_now()
    transaction.execute(
        "INSERT INTO person VALUES (?, ?, ?, '', ?, ?, NULL)",
        (key, secrets.token_hex(8), name, now, now),
    )
    return key


def insert_utterance(
    transaction: sqlite3.Connection, person_key: int, model_key: int, u: NewUtterance, blob: bytes
) -> None:
    """A new utterance of a person."""
    owner = (secrets.token_hex(8), person_key, model_key)
    transaction.execute(
        "INSERT INTO utterance (utterance_id, person_key, model_key, label, seconds, speech_s, "
        "created_at, embedding, narrow_band) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*owner, u.label, u.seconds, u.speech_s, utc_now(), blob, int(u.narrow_band)),
    )


def model_key_of(transaction: sqlite3.Connection, tag: ModelTag) -> int:
    """The key of a model, which is noted if it is new."""
    transaction.execute(
        "INSERT OR IGNORE INTO model (model_hash, front_end_hash, name, size) VALUES (?, ?, ?, ?)",
        (*tag.hashes, tag.name, tag.size),
    )
    query = "SELECT model_key FROM model WHERE model_hash = ? AND front_end_hash = ?"
    return int(transaction.execute(query, tag.hashes).fetchone()[0])


def read_embeddings(
    transaction: sqlite3.Connection, column: str, value: int | str
) -> Iterator[tuple[bytes, float, int]]:
    """Of some utterances the bytes, the seconds of speech, and whether it is telephone sound."""
    query = (
        f"SELECT embedding, speech_s, narrow_band FROM utterance WHERE {column} = ? "
        "ORDER BY utterance_key"
    )
    yield from transaction.execute(query, (value,))


def take_out(transaction: sqlite3.Connection, column: str, value: int | str) -> list[bytes]:
    """Delete utterances; the erasure is then due, in the same transaction."""
    blobs = [blob for blob, *_ in read_embeddings(transaction, column, value)]
    transaction.execute(f"DELETE FROM utterance WHERE {column} = ?", (value,))
    mark_erasure_due(transaction)
    raise_generation(transaction)
    return blobs


def require_model(
    transaction: sqlite3.Connection, person_key: int | None, whose: str, tag: ModelTag
) -> None:
    """Refuse other models among the utterances of a person, or of everybody."""
    # Most stores know one model: the small table answers without a look at the large one.
    others = transaction.execute(
        "SELECT model_key, name, model_hash FROM model "
        "WHERE (model_hash, front_end_hash) != (?, ?)",
        tag.hashes,
    ).fetchall()
    for model_key, name, model_hash in others:
        where, values = "model_key = ?", [model_key]
        if person_key is not None:
            where, values = f"{where} AND person_key = ?", [model_key, person_key]
        (n_people,) = transaction.execute(
            f"SELECT count(DISTINCT person_key) FROM utterance WHERE {where}", values
        ).fetchone()
        if n_people:
            what = f"{whose} holds {people_text(n_people)}" if person_key is None else f"{whose} is"
            raise ModelMismatch(
                f"{what} enrolled with another model: {name} ({model_hash[:8]}), asked with "
                f"{tag.name} ({tag.model_hash[:8]}); embeddings of two models cannot be compared. "
                "Use that model, or enrol the recordings again with this one:  groove reembed NAME "
                "FILES, with the same --model"
            )


def touch(transaction: sqlite3.Connection, key: int) -> None:
    """Note that a person's voiceprint changed."""
    transaction.execute("UPDATE person SET updated_at = ? WHERE person_key = ?", (utc_now(), key))
    raise_generation(transaction)


def read_generation(transaction: sqlite3.Connection) -> str:
    """A number that changes whenever an embedding does."""
    query = "SELECT value FROM meta WHERE key = 'generation'"
    return str(transaction.execute(query).fetchone()[0])


def raise_generation(transaction: sqlite3.Connection) -> None:
    """Let every gallery in memory be out of date."""
    transaction.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")


def write_log(transaction: sqlite3.Connection, action: str, person_id: str, detail: str) -> None:
    """Add a line to the audit log."""
    transaction.execute(
        "INSERT INTO audit (at, action, person_id, detail) VALUES (?, ?, ?, ?)",
        (utc_now(), action, person_id, detail),
    )


def write_use(transaction: sqlite3.Connection, action: str, person_id: str, detail: str) -> None:
    """Add a line to the audit log, and note when somebody was last asked for."""
    transaction.execute("UPDATE person SET used_at = ? WHERE person_id = ?", (utc_now(), person_id))
    write_log(transaction, action, person_id, detail)


def read_voiceprint(transaction: sqlite3.Connection, key: int) -> Voiceprint:
    """The mean embedding of a person's utterances."""
    query = "SELECT person_id, name FROM person WHERE person_key = ?"
    person_id, name = transaction.execute(query, (key,)).fetchone()
    blobs, speech_s, narrow = zip(*read_embeddings(transaction, "person_key", key), strict=True)
    vectors = np.stack([np.frombuffer(blob, "<f4") for blob in blobs])  # [n, D]
    mean = unit_length(unit_length(vectors).mean(axis=0))
    return Voiceprint(person_id, name, mean, sum(speech_s), len(blobs), all(narrow))


def load_gallery(transaction: sqlite3.Connection, tag: ModelTag) -> Gallery:
    """Everybody's mean embedding, read block by block."""
    rows = transaction.execute("SELECT DISTINCT person_key FROM utterance ORDER BY person_key")
    keys = np.fromiter((key for (key,) in rows), np.int64)
    builder = GalleryBuilder(keys, tag.size)
    cursor = transaction.execute(
        "SELECT person_key, speech_s, narrow_band, embedding FROM utterance"
    )
    while block := cursor.fetchmany(LOAD_ROWS):
        owners, speech_s, narrow_band, blobs = zip(*block, strict=True)
        embeddings = np.frombuffer(b"".join(blobs), "<f4").reshape(len(block), tag.size)
        builder.add(
            np.array(owners, np.int64),
            embeddings,
            np.array(speech_s, np.float32),
            np.array(narrow_band, np.bool_),
        )
    return builder.build()
