"""The voiceprint store: who is enrolled, with which embeddings, by whose consent.

A person has a name, an opaque id that is never given out again, a consent note, and utterances. An
utterance is one embedding [D] with its seconds of speech and the model that made it; recordings are
not kept. A person's *voiceprint* is the mean of the utterances' embeddings, scaled to length 1.

Embeddings of different models (another weights file, or another front end) say nothing about each
other, so a person's utterances are all of one model, and asking with another one is refused; the
way out is ``groove reembed`` with the recordings.

A name means one person in a store (see `groove.voiceprints.names`): enrolling it again adds
utterances. An utterance that is there already, bit for bit, is not added twice, so repeating a
command is safe.

The audit log says what was done to which id and when; it holds no name, score or embedding, and
outlives the person. After `forget` the embeddings' bytes are gone from the file, see
`groove.voiceprints.database`.

Seam: the public methods of `VoiceprintStore` take and give the records below and no SQL; a store on
another database is a class with these methods.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groove.errors import StoreError
from groove.voiceprints import tables
from groove.voiceprints.database import Database
from groove.voiceprints.identification import Gallery
from groove.voiceprints.names import normalise_name
from groove.voiceprints.people import AuditEntry, Erased, ModelTag, NewUtterance, Person, Voiceprint


class VoiceprintStore:
    """People and their embeddings in one SQLite file.

    >>> store = VoiceprintStore("people.db")
    >>> store.add("张三", [NewUtterance(embedding, 4.2, 3.1, "a.wav")], tag, consent="form 17")
    >>> store.voiceprint("张三", tag).embedding.shape           # [D]
    >>> store.forget(["张三"])
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, must_exist: bool = False):
        """Open the file, or make it.

        Args:
            path: the file; None takes `default_path`.
            must_exist: refuse to make a new one.

        Raises:
            StoreError: see `Database`, or there is none.
        """
        self.path = Path(path) if path is not None else default_path()
        if must_exist and not self.path.exists():
            raise StoreError(
                f"{self.path}: no such store; enrol somebody first:  groove enroll NAME FILES"
            )
        self._database = Database(
            self.path,
            application_id=tables.APPLICATION_ID,
            version=tables.VERSION,
            schema=tables.SCHEMA,
            upgrades=tables.UPGRADES,
        )
        self._gallery: tuple[str, tuple[str, str], Gallery] | None = None
        self._gallery_lock = threading.Lock()
        self._postponed: list[bytes] | None = None  # see `erasing_once`

    def add(
        self,
        name: str,
        utterances: Sequence[NewUtterance],
        tag: ModelTag,
        *,
        consent: str = "",
        replace: bool = False,
    ) -> tuple[Person, int]:
        """Enrol a new person, or add to one; all utterances or none.

        Args:
            name: see `groove.voiceprints.names`.
            utterances: at least one.
            tag: the model that made the embeddings.
            consent: a note; an empty one leaves the note that is there.
            replace: take the person's present utterances out, of whatever model. The person must
                be there.

        Returns:
            The person afterwards, and how many utterances are new.

        Raises:
            ModelMismatch: the person's utterances are of another model.
            UnknownPerson: ``replace`` for somebody who is not there.
            StoreError: no utterance, or an embedding that is not a unit vector [D].
        """
        name = normalise_name(name)
        blobs = [tables.to_blob(u.embedding, tag) for u in utterances]
        if not blobs:
            raise StoreError(f"{name}: no utterance to enrol; give at least one recording")
        replaced: list[bytes] = []
        with self._database.writing() as transaction:
            find = tables.find_person if replace else tables.look_for_person
            key = find(transaction, name)
            is_new = key is None
            if key is None:
                key = tables.insert_person(transaction, name)
            elif replace:
                replaced = tables.take_out(transaction, "person_key", key)
            else:
                tables.require_model(transaction, key, name, tag)
            known = {row[0] for row in tables.read_embeddings(transaction, "person_key", key)}
            given = dict(zip(blobs, utterances, strict=True))  # equal ones once
            fresh = {blob: u for blob, u in given.items() if blob not in known}
            for blob, utterance in fresh.items():
                tables.insert_utterance(
                    transaction, key, tables.model_key_of(transaction, tag), utterance, blob
                )
            if consent:
                transaction.execute(
                    "UPDATE person SET consent = ? WHERE person_key = ?", (consent, key)
                )
            if fresh or replaced:
                tables.touch(transaction, key)
            person = tables.read_person(transaction, key)
            action = "reembed" if replace else "enroll" if is_new else "extend"
            tables.write_log(
                transaction, action, person.person_id, f"{len(fresh)} utterances, {tag.name}"
            )
        gone = [blob for blob in replaced if blob not in fresh]
        if gone and self._postponed is not None:
            self._postponed += gone
        elif gone:
            self._erase(gone)
        return person, len(fresh)

    @contextmanager
    def erasing_once(self) -> Iterator[None]:
        """Within it, what `add` replaces is erased once, at its end: erasing rewrites the file.

        If the process is killed before that, the next opening erases it, see `Database`.

        Raises:
            StoreError: at the end, see `Database.erase`.
        """
        self._postponed = []
        try:
            yield
        finally:
            gone, self._postponed = self._postponed, None
            if gone:
                self._erase(gone)

    def people(self) -> list[Person]:
        """Everybody, in the order of their names."""
        with self._database.reading() as transaction:
            keys = transaction.execute("SELECT person_key FROM person ORDER BY name").fetchall()
            return [tables.read_person(transaction, key) for (key,) in keys]

    def person(self, name: str) -> Person:
        """The person of that name or id.

        Raises:
            UnknownPerson: there is none.
        """
        with self._database.reading() as transaction:
            return tables.read_person(transaction, tables.find_person(transaction, name))

    def voiceprint(self, name: str, tag: ModelTag) -> Voiceprint:
        """The mean embedding of the person of that name or id.

        Raises:
            UnknownPerson: there is none.
            ModelMismatch: it is of another model than ``tag``.
        """
        with self._database.reading() as transaction:
            key = tables.find_person(transaction, name)
            tables.require_model(transaction, key, name, tag)
            return tables.read_voiceprint(transaction, key)

    def gallery(self, tag: ModelTag) -> Gallery:
        """All voiceprints, for `identification`; kept in memory until the store changes.

        Threads that ask at the same time wait for one loading and share it.

        Raises:
            ModelMismatch: somebody's is of another model.
        """
        with self._gallery_lock, self._database.reading() as transaction:
            generation = tables.read_generation(transaction)
            held = self._gallery
            if held and held[:2] == (generation, tag.hashes):
                return held[2]
            self._gallery = held = None  # let go of the old one before the new one grows
            tables.require_model(transaction, None, "the store", tag)
            gallery = tables.load_gallery(transaction, tag)
            self._gallery = (generation, tag.hashes, gallery)
        return gallery

    def entries(self, person_keys: Sequence[int]) -> dict[int, Voiceprint]:
        """Voiceprints by a gallery's keys; who was forgotten since is left out."""
        query = "SELECT 1 FROM person WHERE person_key = ?"
        with self._database.reading() as transaction:
            return {
                key: tables.read_voiceprint(transaction, key)
                for key in person_keys
                if transaction.execute(query, (key,)).fetchone()
            }

    def record_use(self, action: str, person_id: str, detail: str = "") -> None:
        """Note in the log that somebody was asked for, and when; an empty id for nobody."""
        with self._database.writing() as transaction:
            tables.write_use(transaction, action, person_id, detail)

    def record_export(self, people: Sequence[Person], *, with_embeddings: bool) -> None:
        """Note in the log that what is kept of people is handed out, and whether embeddings are."""
        with self._database.writing() as transaction:
            for person in people:
                detail = "embeddings" if with_embeddings else ""
                tables.write_use(transaction, "export", person.person_id, detail)

    def set_consent(self, name: str, consent: str) -> Person:
        """Replace the consent note.

        Raises:
            UnknownPerson: there is none.
        """
        with self._database.writing() as transaction:
            key = tables.find_person(transaction, name)
            transaction.execute(
                "UPDATE person SET consent = ? WHERE person_key = ?", (consent, key)
            )
            person = tables.read_person(transaction, key)
            tables.write_log(transaction, "consent", person.person_id, "")
        return person

    def forget(self, names: Sequence[str]) -> Erased:
        """Delete people, by name or id, with all that is known of them, and see that it is gone.

        Raises:
            UnknownPerson: one is not there; then nobody is deleted.
            StoreError: the bytes could not be erased yet, see `Database.erase`.
        """
        with self._database.writing() as transaction:
            keys = {tables.find_person(transaction, name) for name in names}
            deleted: list[bytes] = []
            for key in keys:
                person_id = tables.read_person(transaction, key).person_id
                deleted += tables.take_out(transaction, "person_key", key)
                transaction.execute("DELETE FROM person WHERE person_key = ?", (key,))
                tables.write_log(transaction, "forget", person_id, "")
        return Erased(len(keys), len(deleted), self._erase(deleted))

    def remove_utterance(self, name: str, utterance_id: str) -> Erased:
        """Take one utterance out of a person's voiceprint, and see that it is gone.

        Raises:
            UnknownPerson: there is none.
            StoreError: no such utterance, or it is the person's only one.
        """
        with self._database.writing() as transaction:
            person = tables.read_person(transaction, key := tables.find_person(transaction, name))
            ids = [u.utterance_id for u in person.utterances]
            if utterance_id not in ids:
                raise StoreError(
                    f"{person.name} has no utterance {utterance_id}; wanted one of {', '.join(ids)}"
                )
            if len(ids) == 1:
                raise StoreError(
                    f"{utterance_id} is the only utterance of {person.name}; add another one "
                    f"first, or forget the person:  groove forget {person.name}"
                )
            deleted = tables.take_out(transaction, "utterance_id", utterance_id)
            tables.touch(transaction, key)
            tables.write_log(transaction, "remove-utterance", person.person_id, "")
        return Erased(0, len(deleted), self._erase(deleted))

    def embeddings(self, name: str) -> dict[str, NDArray[np.float32]]:
        """Utterance id -> embedding [D]: biometric data, for whoever must hand it over."""
        with self._database.reading() as transaction:
            key = tables.find_person(transaction, name)
            query = "SELECT utterance_id, embedding FROM utterance WHERE person_key = ?"
            rows = transaction.execute(query, (key,)).fetchall()
        return {uid: np.frombuffer(blob, "<f4").astype(np.float32) for uid, blob in rows}

    def audit_log(self) -> list[AuditEntry]:
        """What was done, oldest first."""
        with self._database.reading() as transaction:
            query = "SELECT at, action, person_id, detail FROM audit ORDER BY audit_key"
            return [AuditEntry(*row) for row in transaction.execute(query)]

    def _erase(self, deleted: Sequence[bytes]) -> int:
        with self._gallery_lock:  # what is being loaded may still hold them
            self._gallery = None
        return self._database.erase(deleted, table_column=("utterance", "embedding"))


def default_path() -> Path:
    """GROOVE_DB, or ``people.db`` in the user's data folder for Groove."""
    chosen = os.environ.get("GROOVE_DB")
    return Path(chosen).expanduser() if chosen else data_folder() / "people.db"


def data_folder() -> Path:
    """The user's data folder for Groove; it need not exist yet."""
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "groove"
