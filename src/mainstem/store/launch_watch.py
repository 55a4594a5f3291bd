"""What does the book of launches say now? Asked before every request, so it costs microseconds while nothing changes.

One connection stays open; SQLite's own counter on it says whether anybody, in any process, has written since. So the first request
that begins after an act has returned sees the act.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from mainstem.base.errors import StoreError
from mainstem.store.event_table import translated
from mainstem.store.launch_book import LaunchBook, Placement

BUSY_S: Final = 0.01
"""How long a request may wait for somebody who holds the whole file."""


class LaunchWatch:
    """Follows a book that others write. Belongs to one thread; makes no book where there is none.

    Args:
        path: The book's file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = str(path)
        self._db: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._counter = -1
        self._version = -1
        self._known: tuple[Placement, ...] = ()

    def look(self) -> tuple[Placement, ...]:
        """Every placement as of now; the very same tuple as before when nothing was written.

        Raises:
            StoreError: The book cannot be read (``store-003``, ``store-004``), or what was known is no longer in it
                (``launch-120``).
        """
        try:
            found = os.stat(self._text)
        except FileNotFoundError:
            self.close()
            if self._known:
                raise self._lost("is gone") from None
            return ()
        except OSError as error:
            raise translated(error, self.path, BUSY_S) from error
        try:
            return self._look((found.st_dev, found.st_ino))
        except sqlite3.Error as error:
            self.close()
            raise translated(error, self.path, BUSY_S) from error

    def first_served_ms(self, launch: str, surface: str) -> int | None:
        """When units of a surface were first put on the new stack; None if never."""
        acts = LaunchBook(self.path, BUSY_S).acts(launch)
        return next((one.at_ms for one in acts if one.surface == surface and one.after > 0), None)

    def close(self) -> None:
        """Closes the connection; the next look opens another."""
        if self._db is not None:
            self._db.close()
        self._db, self._counter = None, -1

    def _look(self, file: tuple[int, int]) -> tuple[Placement, ...]:
        if self._db is None or file != self._file:
            self.close()
            self._db = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode=rw",
                uri=True,
                timeout=BUSY_S,
                isolation_level=None,
                check_same_thread=False,
            )
            self._file, self._version = file, -1
        counter = self._db.execute("PRAGMA data_version").fetchone()[0]
        if counter != self._counter:
            self._take_in(self._db)
            self._counter = counter
        return self._known

    def _take_in(self, db: sqlite3.Connection) -> None:
        """Reads the placements when an act was done; a pilot's signs of life change the file too, but not its version."""
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == self._version:
            return
        now = LaunchBook(self.path, BUSY_S).placements()
        at = {(one.launch, one.surface): one.number for one in now}
        if any(at.get((one.launch, one.surface), -1) < one.number for one in self._known):
            raise self._lost("lacks acts that were known of")
        self._version, self._known = version, now

    def _lost(self, what: str) -> StoreError:
        return StoreError(
            f"found that {self.path} {what}, expected the book of launches that was followed so far",
            code="launch-120",
            status=503,
            hint="put the book back; to begin with another one, restart the server",
        )
