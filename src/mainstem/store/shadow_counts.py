"""What mirrored traffic has shown so far, counted by launch and surface: what a pilot asks before anybody is served.

Several server processes add to one file; each sum is one transaction, so nothing is counted twice or half.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mainstem.store.event_table import translated

FILE: Final = "shadow_counts.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS counts (
    launch TEXT, surface TEXT, requests INTEGER NOT NULL, failed INTEGER NOT NULL, overlap REAL NOT NULL,
    new_ms REAL NOT NULL, old_ms REAL NOT NULL, PRIMARY KEY (launch, surface)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class ShadowCount:
    """Sums over mirrored requests of one surface of one launch.

    Attributes:
        requests: Mirrored.
        failed: Those that the new stack did not answer whole and in time.
        overlap: Sum over the others of the share of items that both stacks showed.
        new_ms, old_ms: Sums over the others of the time the new stack took to rank, and of the time until the viewer was answered
            by the old one.
    """

    requests: int = 0
    failed: int = 0
    overlap: float = 0.0
    new_ms: float = 0.0
    old_ms: float = 0.0

    def plus(self, other: ShadowCount) -> ShadowCount:
        """Both together."""
        return ShadowCount(
            self.requests + other.requests,
            self.failed + other.failed,
            self.overlap + other.overlap,
            self.new_ms + other.new_ms,
            self.old_ms + other.old_ms,
        )

    @property
    def mean_overlap(self) -> float:
        """Share of items that both stacks showed, over the requests that did not fail; 0 before there is one."""
        return self.overlap / whole if (whole := self.requests - self.failed) else 0.0


class ShadowCounts:
    """The durable counts. Any thread and process may call any method.

    Threads of one process take turns at one connection: SQLite lets those who wait try again by chance, and on a slow disk one of
    several may starve. A power cut may lose the last counts, as ``synchronous = NORMAL`` has it; a killed process loses none.

    Args:
        path: The file; it and its folder are made with the first count.
        busy_s: How long to wait for another process that writes.

    Raises:
        StoreError: The disk is full (``store-002``), another process holds the file (``store-003``), or it fails otherwise
            (``store-004``). Every method may raise them; nothing was changed then.
    """

    def __init__(self, path: Path, busy_s: float = 5.0) -> None:
        self._path, self._busy_s = path, busy_s
        self._turn = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def add(self, more: Mapping[tuple[str, str], ShadowCount]) -> None:
        """Adds counts by (launch, surface), all in one transaction."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            for (launch, surface), one in more.items():
                db.execute(
                    "INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (launch, surface) DO UPDATE SET"
                    " requests = requests + excluded.requests, failed = failed + excluded.failed,"
                    " overlap = overlap + excluded.overlap, new_ms = new_ms + excluded.new_ms,"
                    " old_ms = old_ms + excluded.old_ms",
                    (launch, surface, one.requests, one.failed, one.overlap, one.new_ms, one.old_ms),
                )
            db.execute("COMMIT")

    def read(self, launch: str, surface: str) -> ShadowCount:
        """The sums of one surface; zeros before the first request."""
        if not self._path.is_file():
            return ShadowCount()
        with self._open() as db:
            row = db.execute(
                "SELECT requests, failed, overlap, new_ms, old_ms FROM counts WHERE launch = ? AND surface = ?",
                (launch, surface),
            ).fetchone()
        return ShadowCount(*row) if row else ShadowCount()

    def close(self) -> None:
        """Closes the file; the next call opens it again."""
        with self._turn:
            self._close()

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one call; what was not committed when it fails is undone."""
        with self._turn:
            try:
                yield self._connection()
            except (sqlite3.Error, OSError) as error:
                self._close()
                raise translated(error, self._path, self._busy_s) from error

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, timeout=self._busy_s, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        return self._db

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None
