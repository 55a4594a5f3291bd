"""What the control layer remembers over requests: read before a slate is chosen, claimed before it is served."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Request, Rows
from mainstem.control.day import DAY, Shown
from mainstem.control.supply import Floors
from mainstem.features.catalog import Catalog
from mainstem.store.day_counts import DayCounts, Served

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class _Held:
    """What was read for one request."""

    request: Request
    version: int
    shown: Shown


class DayMemory:
    """One memory for all processes of a platform. Any thread may call any method.

    A slate is claimed: what was read is checked and what is served is added in one transaction. When another process served the
    same viewer in between, the claim fails and the slate is chosen again, so that a day cap is never broken by a race.

    Args:
        counts: The durable memory.
        catalog: Rows of its items.
        originals: The row that each row is a repost of. Shapes: [n + 1].
        zone: Where a day begins at midnight.
        floors: By surface.
    """

    def __init__(
        self,
        counts: DayCounts,
        catalog: Catalog,
        originals: NDArray[np.int64],
        zone: str = "UTC",
        floors: Mapping[str, Floors] | None = None,
    ) -> None:
        self._counts, self._catalog, self._originals = counts, catalog, originals
        self._zone = ZoneInfo(zone)
        self._floors = dict(floors or {})
        self._local = threading.local()
        self._midnights: tuple[int, int] = (0, 0)
        for surface, known in self._floors.items():
            known.read(counts.supply(surface))

    def of(self, request: Request) -> Shown:
        """What the request's viewer was served up to now; read once a request and thread.

        Raises:
            StoreError: It cannot be read.
        """
        return self._held(request).shown

    def claim(self, request: Request, rows: Rows) -> bool:
        """Whether these rows may be served: False when the viewer was served something else since ``of`` was asked.

        Raises:
            StoreError: It cannot be written down; nothing was changed.
        """
        if DAY in request.failures:
            return True
        held = self._held(request)
        self._local.held = None
        start_ms = self._day_starts(request.now_ms)
        floors = self._floors.get(request.surface)
        entries = self._entries(request, rows)
        if not len(entries):
            return True  # nothing is served, so nothing can be served twice
        move = None
        if floors is not None:
            day = start_ms // DAY_MS
            move = lambda kept: floors.after(kept, day, request.now_ms, rows)  # noqa: E731
        return self._counts.claim(request.user_id, held.version, entries, start_ms, request.surface, move)

    def alone(self) -> AbstractContextManager[None]:
        """While it is open no other thread or process can claim.

        Raises:
            StoreError: Another process holds the file for too long (``store-003``).
        """
        return self._counts.alone()

    def close(self) -> None:
        """Closes the file."""
        self._counts.close()

    def _held(self, request: Request) -> _Held:
        held: _Held | None = getattr(self._local, "held", None)
        if held is None or held.request is not request:
            version, served = self._counts.read(request.user_id)
            held = self._local.held = _Held(request, version, self._shown(request, served))
        return held

    def _shown(self, request: Request, served: Served) -> Shown:
        rows = self._catalog.item_rows(served[::-1, 1])
        known = rows >= 0
        rows, served = rows[known], served[::-1][known]
        other = served[:, 2] != request.request_id
        start_ms = self._day_starts(request.now_ms)
        today = (served[:, 0] >= start_ms) & (served[:, 0] < start_ms + DAY_MS)
        originals = self._originals[rows]
        return Shown(originals[other], np.unique(originals[today]), originals[today & other])

    def _entries(self, request: Request, rows: Rows) -> Served:
        """What is added: each known item once, under its original's id."""
        rows = self._originals[rows[rows >= 0]]
        entries = np.empty((len(rows), 3), np.int64)
        entries[:, 0], entries[:, 2] = request.now_ms, request.request_id
        entries[:, 1] = self._catalog.items.ids[rows]
        return entries

    def _day_starts(self, now_ms: int) -> int:
        """The midnight before a time, in the declared zone."""
        start_ms, end_ms = self._midnights
        if not start_ms <= now_ms < end_ms:
            midnight = datetime.datetime.fromtimestamp(now_ms / 1e3, self._zone).replace(
                hour=0, minute=0, second=0, microsecond=0
            )
            start_ms = int(midnight.timestamp() * 1e3)
            end_ms = int((midnight + datetime.timedelta(days=1)).timestamp() * 1e3)
            self._midnights = (start_ms, end_ms)
        return start_ms
