"""One SQLite file, private to its owner, whose deleted bytes are really gone. The door to sqlite3.

Conventions
-----------
The file is made whole (aside, then linked into place), readable by its owner only, in WAL mode
with ``secure_delete``, and carries an application id and a schema version; another id or a newer
version is refused. Every transaction has a connection of its own: nothing is held open between
them, so threads and processes may share a store, and no reader keeps the log from being emptied.
A transaction is there whole or not at all, whenever the process is killed (synchronous=FULL).

`erase` rewrites the file (VACUUM), empties the log (checkpoint, truncate) and then looks for what
was deleted in the bytes of the file, the log, its index and any journal. Until that is done a
token of each deletion (`mark_erasure_due`) stands in the file, written together with it; whoever
opens the store next after a kill completes it, or says on standard error that it is still due,
where another process is busy with the file: who only asks is not made to wait. A process takes away
the tokens that it saw before it began, no others: what another process deleted meanwhile may still
be in the file. What a file system or a disk keeps of overwritten blocks, snapshots and backups is
beyond a program's reach.

Sources: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_secure_delete
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from groove.errors import StoreError

BUSY_S = 30.0  # how long one process waits for another
OPENING_S = 0.5  # and when it opens a store in which somebody else's erasure is due
SIDE_FILES = ("", "-wal", "-shm", "-journal")
ERASURE_DUE = "erasure_due"  # keys of ``meta`` that begin so are the tokens of deletions
PROBE, STRIDE = 16, 64  # bytes looked for, and how far apart: any run of 80 bytes holds a probe
BLOCK = 1 << 24  # bytes searched at a time

_SETTINGS = ("foreign_keys=ON", "secure_delete=ON", "synchronous=FULL", "temp_store=MEMORY")


class _Busy(StoreError):
    """Another process kept the file busy."""


class Database:
    """A file of one schema.

    >>> with database.writing() as transaction: transaction.execute("INSERT ...")
    >>> with database.reading() as transaction: transaction.execute("SELECT ...")
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        application_id: int,
        version: int,
        schema: str,
        upgrades: Mapping[int, str] | None = None,
    ) -> None:
        """Open the file, or make it.

        Args:
            path: where it lies.
            application_id: four bytes that say whose file it is.
            version: of the schema.
            schema: statements that make the tables; one is ``meta (key, value)``.
            upgrades: of each older version the statement that makes it the next.

        Raises:
            StoreError: not such a file, a newer version, or it cannot be read or written.
        """
        self.path = Path(path)
        self._id, self._version, self._upgrades = application_id, version, dict(upgrades or {})
        if self.path.is_dir():
            raise StoreError(f"{self.path}: a folder; wanted the path of a store's file")
        if not self.path.exists():
            self._create(schema)
        self._check()
        with suppress(PermissionError):  # somebody else's file: they decide
            self.path.chmod(0o600)
        with self.reading() as transaction:
            erasure_is_due = bool(_tokens(transaction))
        if erasure_is_due:
            self._complete_erasure()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the file."""
        with self._connected() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writing(self, *, wait_s: float | None = None) -> Iterator[sqlite3.Connection]:
        """A transaction that is written whole at its end, or not at all; None waits `BUSY_S`."""
        with self._connected(wait_s) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def erase(
        self,
        deleted: Iterable[bytes],
        *,
        table_column: tuple[str, str] | None = None,
        wait_s: float | None = None,
    ) -> int:
        """Rewrite the file without what was deleted, and see that it is gone.

        Args:
            deleted: the values whose rows were deleted.
            table_column: where equal bytes may stand lawfully, in rows that remain.
            wait_s: how long to wait for other processes; None: `BUSY_S`.

        Returns:
            How many bytes were searched.

        Raises:
            StoreError: another process kept the file busy (the deletion itself holds; the next
                opening completes this), or bytes were found.
        """
        with self._connected(wait_s) as connection:
            done = _tokens(connection)  # before the file is rewritten: later ones are not ours
            connection.execute("VACUUM")
            if not _emptied_log(connection, wait_s):
                raise _Busy(
                    f"{self.path}: deleted, but another process reads the file and its log still "
                    "holds the bytes; end that process and open the store again, which erases them"
                )
        probes = [v[i : i + PROBE] for v in deleted for i in range(0, len(v) - PROBE + 1, STRIDE)]
        n_bytes, found = self._search(probes)
        if table_column and found:
            found = [probe for probe in found if not self._stands_in(table_column, probe)]
        if found:
            raise StoreError(f"{self.path}: deleted bytes are still in the file; delete the file")
        with self.writing(wait_s=wait_s) as transaction:
            transaction.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in done])
        return n_bytes

    def _complete_erasure(self) -> None:
        """Do what a process that was killed left undone, if nobody is busy with the file."""
        try:
            with self._connected(OPENING_S) as connection:  # no rewriting where it is in vain
                is_free = _emptied_log(connection, OPENING_S)
            if is_free:
                self.erase([], wait_s=OPENING_S)
        except _Busy:
            is_free = False
        if not is_free:
            sys.stderr.write(
                f"groove: {self.path}: a deletion's bytes are not erased yet, because another "
                "process is busy with the file; end that process and open the store again\n"
            )

    def _search(self, probes: Sequence[bytes]) -> tuple[int, list[bytes]]:
        """How many bytes the file and its companions have, and which probes stand in them.

        Read, not mapped: another process may cut them short meanwhile, and touching a mapping of
        what is no longer there kills the process.
        """
        n_bytes, found = 0, []
        for suffix in SIDE_FILES:
            try:
                file = self.path.with_name(self.path.name + suffix).open("rb")
            except FileNotFoundError:
                continue
            with file:
                tail = b""  # what a probe across two blocks begins with
                while block := file.read(BLOCK):
                    n_bytes += len(block)
                    data = tail + block
                    found += [probe for probe in probes if probe in data]
                    tail = data[-(PROBE - 1) :]
        return n_bytes, found

    def _stands_in(self, table_column: tuple[str, str], probe: bytes) -> bool:
        table, column = table_column
        with self.reading() as transaction:
            query = f"SELECT 1 FROM {table} WHERE instr({column}, ?) > 0 LIMIT 1"
            return transaction.execute(query, (probe,)).fetchone() is not None

    def _create(self, schema: str) -> None:
        """Make the file aside and link it into place; if another process was faster, take its."""
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            connection = sqlite3.connect(aside, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(
                    f"BEGIN; PRAGMA application_id={self._id}; PRAGMA user_version={self._version};"
                    f"{schema} COMMIT;"
                )
            finally:
                connection.close()
            with suppress(FileExistsError):
                os.link(aside, self.path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"{self.path}: cannot be made ({error}); give another path with --db"
            ) from error
        finally:
            for suffix in SIDE_FILES:
                with suppress(OSError):
                    aside.with_name(aside.name + suffix).unlink()

    def _check(self) -> None:
        with self._connected() as connection:
            (found_id,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        if found_id != self._id:
            raise StoreError(f"{self.path}: not a voiceprint store; give another path with --db")
        if version in self._upgrades:
            version = self._upgrade()
        if version != self._version:
            raise StoreError(
                f"{self.path}: a store of version {version}, this Groove reads {self._version}; "
                "update Groove"
            )

    def _upgrade(self) -> int:
        """Bring an older file up to date, whole or not at all; the version that it has then."""
        with self.writing() as transaction:  # another process may have been faster
            (version,) = transaction.execute("PRAGMA user_version").fetchone()
            while version in self._upgrades:
                transaction.execute(self._upgrades[version])
                version += 1
            transaction.execute(f"PRAGMA user_version={version}")
        return int(version)

    @contextmanager
    def _connected(self, wait_s: float | None = None) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction; SQLite's errors become ours."""
        connection, wait_s = None, BUSY_S if wait_s is None else wait_s
        try:
            uri = self.path.absolute().as_uri() + "?mode=rw"
            connection = sqlite3.connect(uri, uri=True, timeout=wait_s, isolation_level=None)
            for setting in _SETTINGS:
                connection.execute(f"PRAGMA {setting}")
            yield connection
        except sqlite3.Error as error:
            if _is_busy(error):
                raise _Busy(
                    f"{self.path}: another process kept the store busy for {wait_s:g} s; try again"
                ) from error
            raise StoreError(f"{self.path}: {_explain(error)}") from error
        finally:
            if connection is not None:
                connection.close()


def mark_erasure_due(transaction: sqlite3.Connection) -> None:
    """Note, in the transaction that deletes, that its bytes must go; see `Database.erase`."""
    key = f"{ERASURE_DUE}:{secrets.token_hex(8)}"
    transaction.execute("INSERT INTO meta VALUES (?, '1')", (key,))


def _tokens(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT key FROM meta WHERE substr(key, 1, ?) = ?"
    return [key for (key,) in connection.execute(query, (len(ERASURE_DUE), ERASURE_DUE))]


def _emptied_log(connection: sqlite3.Connection, wait_s: float | None = None) -> bool:
    """Empty the log; False if somebody read or wrote it all the while.

    SQLite itself does not wait for another process that empties it as well.
    """
    until = time.monotonic() + (BUSY_S if wait_s is None else wait_s)
    while True:
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy or time.monotonic() > until:
            return not busy
        time.sleep(0.02)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _explain(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_NOTADB":
        return "not a voiceprint store; give another path with --db"
    if code.startswith("SQLITE_CORRUPT"):
        return f"the store is damaged ({error}); restore it from a backup"
    return f"the store cannot be used ({error}); check the path, its rights and the disk's space"
