"""What viewers blocked, on disk: a table of its own that several processes write and follow change by change."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mainstem.store.event_table import translated

CREATOR: Final = "creator"
ITEM: Final = "item"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blocked (
    user_id INTEGER, kind TEXT, target INTEGER, since_ms INTEGER NOT NULL, held INTEGER NOT NULL, change INTEGER NOT NULL,
    PRIMARY KEY (user_id, kind, target)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_change ON blocked (change);
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A block that was set, or taken back. ``kind`` is ``creator`` or ``item``."""

    user_id: int
    kind: str
    target: int
    held: bool


class BlockedList:
    """The durable list of blocks. Any thread and process may call any method; what returned is on disk.

    Each call opens the file anew: calls are rare, and nothing needs to be closed or shared between threads.

    Args:
        path: The file; it and its folder are made.
        busy_s: How long to wait for another process that writes.

    Raises:
        StoreError: The disk is full (``store-002``), another process holds the file (``store-003``), or it fails otherwise
            (``store-004``). Every method may raise them; nothing was changed then.
    """

    def __init__(self, path: Path, busy_s: float = 5.0) -> None:
        self._path, self._busy_s = path, busy_s
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as db:
            db.executescript(_SCHEMA)

    def set(self, user_id: int, kind: str, target: int, held: bool, now_ms: int) -> bool:
        """Sets a block or takes it back; False when it is so already."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            row = db.execute(
                "SELECT held FROM blocked WHERE user_id = ? AND kind = ? AND target = ?", (user_id, kind, target)
            ).fetchone()
            changed = bool(row and row[0]) != held
            if changed:
                change = _version(db) + 1
                # A block taken back stays as a row, so that followers hear of it.
                db.execute(
                    "INSERT OR REPLACE INTO blocked VALUES (?, ?, ?, ?, ?, ?)",
                    (user_id, kind, target, now_ms, int(held), change),
                )
                db.execute(f"PRAGMA user_version = {change}")
            db.execute("COMMIT")
        return changed

    def version(self) -> int:
        """A number that every change by any process makes larger. Much cheaper than the changes."""
        with self._open() as db:
            return _version(db)

    def since(self, version: int) -> tuple[int, list[Change]]:
        """The version now, and what changed after an earlier one; after 0, everything."""
        with self._open() as db:
            now = _version(db)  # before the rows: what is written in between is read again, never missed
            rows = db.execute("SELECT user_id, kind, target, held FROM blocked WHERE change > ?", (version,))
            return now, [Change(user, kind, target, bool(held)) for user, kind, target, held in rows]

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one call; closing it undoes what was not committed."""
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=self._busy_s, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous=FULL")
                yield db
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self._path, self._busy_s) from error


def _version(db: sqlite3.Connection) -> int:
    return db.execute("PRAGMA user_version").fetchone()[0]
