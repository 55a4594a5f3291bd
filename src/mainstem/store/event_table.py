"""How do events lie in the file: two SQLite tables, one transaction a group, and what each SQLite failure means."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mainstem.base.errors import StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    offset INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS seen (key BLOB PRIMARY KEY) WITHOUT ROWID;
"""
# AUTOINCREMENT: an offset is never given twice, also after sealing deletes rows. `seen` outlives sealing, so that a
# record sent again after its event was sealed is still known.


@dataclass(frozen=True, slots=True)
class Prepared:
    """A record ready to be stored; ``key`` None means that it is never a duplicate."""

    key: str | None
    kind: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """One event of the log."""

    offset: int
    kind: str
    payload: bytes


class EventTable:
    """One connection to the log's file. Used by one thread at a time."""

    def __init__(self, path: Path, *, busy_s: float = 5.0, max_pages: int | None = None) -> None:
        self._path = path
        self._busy_s = busy_s
        with self._failures():
            self._db = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            if max_pages is not None:
                self._db.execute(f"PRAGMA max_page_count={int(max_pages)}")

    def insert(self, groups: Sequence[Sequence[Prepared]]) -> tuple[list[int], int]:
        """Writes all groups in one transaction, or none; returns the new records of each group and the last offset."""
        with self._failures(), self.transaction():
            accepted = [sum(self._insert_one(record) for record in group) for group in groups]
            last_offset = self.last_offset()
        return accepted, last_offset

    def read(self, after_offset: int, limit: int, kind: str | None = None) -> list[Stored]:
        """The events after an offset, in order; ``store-008`` when some of them are sealed and no longer here."""
        where = "" if kind is None else "AND kind = ?"
        values = (after_offset, limit) if kind is None else (after_offset, kind, limit)
        with self._failures():
            self._refuse_gap(after_offset)
            rows = self._db.execute(
                f"SELECT offset, kind, payload FROM events WHERE offset > ? {where} ORDER BY offset LIMIT ?", values
            )
            return [Stored(*row) for row in rows]

    def _refuse_gap(self, after_offset: int) -> None:
        """Offsets have no holes (a rolled-back insert takes none), so a first row that is too late was sealed."""
        first = self._db.execute("SELECT min(offset) FROM events").fetchone()[0] or self.last_offset() + 1
        if first > after_offset + 1:
            raise StoreError(
                f"found {first} as the first offset still in {self._path}, expected {after_offset + 1}:"
                " earlier events are sealed",
                code="store-008",
                status=410,
                hint="read with mainstem.store.seal.read_from, which joins segments and log",
            )

    def last_offset(self) -> int:
        """The last offset that was ever given; 0 before the first."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return row[0] if row else 0

    def delete_through(self, offset: int) -> int:
        """Deletes the events up to an offset in one transaction; what they were is still known in ``seen``."""
        with self._failures(), self.transaction():
            return self._db.execute("DELETE FROM events WHERE offset <= ?", (offset,)).rowcount

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def _insert_one(self, record: Prepared) -> int:
        if record.key is not None:
            digest = hashlib.blake2b(f"{record.kind}\0{record.key}".encode(), digest_size=16).digest()
            if not self._db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount:
                return 0
        self._db.execute("INSERT INTO events (kind, payload) VALUES (?, ?)", (record.kind, record.payload))
        return 1

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: commits at the end, rolls back on any error."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled back already; a second ROLLBACK would hide the first error.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self._path, self._busy_s) from error


def translated(error: Exception, path: Path, busy_s: float) -> StoreError:
    """A failure of the file as a coded error: no room, held by another process, or anything else."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreError(
            f"found no room on the disk for {path}, expected room for the events; none of them was written",
            code="store-002",
            status=507,
            hint="free space; mainstem.store.seal moves a prefix of the log to Parquet on another disk",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"found {path} held by another process for {busy_s:g} s, expected to write; nothing was written",
            code="store-003",
            hint="stop the other process, then send again",
        )
    return StoreError(f"found a failure of {path}: {error}; nothing was written", code="store-004")
