"""Which items were withdrawn, on disk: a small table of its own that several processes write and follow.

Not a kind of record of the event log: readers of old logs take every record that is no outcome for an impression, and finding the
few withdrawals of a long log would read all of it at each start.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mainstem.store.event_table import translated

_SCHEMA = "CREATE TABLE IF NOT EXISTS withdrawn (item_id INTEGER PRIMARY KEY, since_ms INTEGER NOT NULL)"


class WithdrawnItems:
    """The durable list of withdrawn items. Any thread and process may call any method; what returned is on disk.

    Each call opens the file anew: calls are rare, and nothing needs to be closed or shared between threads.

    Args:
        path: The file; it and its folder are made.
        busy_s: How long to wait for another process that writes.

    Raises:
        StoreError: The disk is full (``store-002``), another process holds the file (``store-003``), or it fails otherwise
            (``store-004``). Every method may raise them; nothing was changed then.
    """

    def __init__(self, path: Path, busy_s: float = 5.0) -> None:
        self._path = path
        self._busy_s = busy_s
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as db:
            db.execute(_SCHEMA)

    def add(self, item_id: int, now_ms: int) -> bool:
        """Withdraws an item; False when it is withdrawn already."""
        return self._change("INSERT OR IGNORE INTO withdrawn VALUES (?, ?)", (item_id, now_ms))

    def remove(self, item_id: int) -> bool:
        """Puts an item back; False when it is not withdrawn."""
        return self._change("DELETE FROM withdrawn WHERE item_id = ?", (item_id,))

    def version(self) -> int:
        """A number that every change of the list, by any process, makes larger. Much cheaper than the list."""
        with self._open() as db:
            return _version(db)

    def read(self) -> tuple[int, list[int]]:
        """The version, and every withdrawn item of at least that version, ascending."""
        with self._open() as db:
            version = _version(db)  # before the list: what is written in between is read again, never missed
            return version, [row[0] for row in db.execute("SELECT item_id FROM withdrawn ORDER BY item_id")]

    def _change(self, statement: str, values: tuple[int, ...]) -> bool:
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            changed = db.execute(statement, values).rowcount > 0
            if changed:
                db.execute(f"PRAGMA user_version = {_version(db) + 1}")
            db.execute("COMMIT")
        return changed

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
