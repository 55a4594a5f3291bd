"""What every viewer was served lately, on disk: one row a viewer that all processes read and move in one transaction each.

Not derived from the event log: impressions reach it late and may be dropped, and a cap that holds needs to know at once. What was
committed survives the death of a process at any moment; a power cut may take the last commits, never half of one.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.store.event_table import translated

_SCHEMA = """
CREATE TABLE IF NOT EXISTS viewers (user_id INTEGER PRIMARY KEY, version INTEGER NOT NULL, served BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS supply (surface TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
"""
Served = NDArray[np.int64]
"""Rows of (time in ms, item id, request id), oldest first."""
NOTHING_SERVED: Final = np.empty((0, 3), np.int64)


class DayCounts:
    """The durable memory of what was served. Any thread and process may call any method; each thread has a connection of its own.

    Args:
        path: The file; it and its folder are made.
        keep: Entries of earlier days that are kept for a viewer.
        busy_s: How long to wait for another process that writes.

    Raises:
        StoreError: The disk is full (``store-002``), another process holds the file (``store-003``), or it fails otherwise
            (``store-004``). Every method may raise them; nothing was changed then.
    """

    def __init__(self, path: Path, keep: int = 200, busy_s: float = 0.25) -> None:
        self.path = path
        self._keep, self._busy_s = keep, busy_s
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._failures():
            self._connection().executescript(_SCHEMA)

    def read(self, user_id: int) -> tuple[int, Served]:
        """What a viewer was served, and the version of it that ``claim`` wants to see again."""
        with self._failures():
            return _read(self._connection(), user_id)

    def claim(
        self,
        user_id: int,
        version: int,
        entries: Served,
        since_ms: int,
        surface: str = "",
        move: Callable[[bytes | None], bytes] | None = None,
    ) -> bool:
        """Adds what is about to be served, in one transaction; False, and nothing is changed, when the version is another now.

        Args:
            entries: What is served.
            since_ms: Entries from here on are all kept; of earlier ones the last few.
            surface: Whose supply state is moved.
            move: Makes the supply state's next bytes of the last ones; None leaves it alone.
        """
        with self.alone(), self._failures():
            db = self._connection()
            held, served = _read(db, user_id)
            if held != version:
                return False
            merged = _merged(served, entries, since_ms, self._keep)
            db.execute("INSERT OR REPLACE INTO viewers VALUES (?, ?, ?)", (user_id, version + 1, merged.tobytes()))
            if move is not None:
                db.execute("INSERT OR REPLACE INTO supply VALUES (?, ?)", (surface, move(_state(db, surface))))
        return True

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One transaction around everything this thread does inside: nobody else can claim until it ends."""
        db = self._connection()
        if db.in_transaction:
            yield
            return
        with self._failures():
            db.execute("BEGIN IMMEDIATE")
            try:
                yield
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def supply(self, surface: str) -> bytes | None:
        """The supply state of a surface; None before the first."""
        with self._failures():
            return _state(self._connection(), surface)

    def forget(self, before_ms: int) -> int:
        """Drops viewers who were served nothing since; answers how many."""
        dropped = 0
        with self._failures():
            db = self._connection()
            for user_id, served in db.execute("SELECT user_id, served FROM viewers").fetchall():
                if _entries(served)[-1, 0] < before_ms:
                    # Asked again in the statement: another process may have served them meanwhile.
                    dropped += db.execute(
                        "DELETE FROM viewers WHERE user_id = ? AND served = ?", (user_id, served)
                    ).rowcount
        return dropped

    def close(self) -> None:
        """Closes every thread's connection."""
        for one in self._open:
            one.close()
        self._open.clear()
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        found = getattr(self._local, "db", None)
        if found is None:
            found = sqlite3.connect(self.path, timeout=self._busy_s, isolation_level=None, check_same_thread=False)
            self._open.append(found)
            found.execute("PRAGMA journal_mode=WAL")
            found.execute("PRAGMA synchronous=NORMAL")
            self._local.db = found
        return found

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self.path, self._busy_s) from error


def _read(db: sqlite3.Connection, user_id: int) -> tuple[int, Served]:
    row = db.execute("SELECT version, served FROM viewers WHERE user_id = ?", (user_id,)).fetchone()
    return (0, NOTHING_SERVED) if row is None else (row[0], _entries(row[1]))


def _entries(served: bytes) -> Served:
    return np.frombuffer(served, np.int64).reshape(-1, 3)


def _state(db: sqlite3.Connection, surface: str) -> bytes | None:
    row = db.execute("SELECT state FROM supply WHERE surface = ?", (surface,)).fetchone()
    return None if row is None else row[0]


def _merged(served: Served, entries: Served, since_ms: int, keep: int) -> Served:
    merged = np.concatenate([served, entries])
    old = merged[:, 0] < since_ms
    drop = max(0, int(old.sum()) - keep)
    if drop:
        stays = np.ones(len(merged), np.bool_)
        stays[np.flatnonzero(old)[:drop]] = False
        merged = merged[stays]
    return merged
