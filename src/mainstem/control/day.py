"""What a viewer was shown today, and the most of one creator or category a day may show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Pool, Request, Rows
from mainstem.control.lookups import KNOWN, Answer, LookedUp

DAY: Final = "day"
"""How ``Request.failures`` calls the memory of what was served."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a viewer was served, as catalog rows of originals, newest first.

    Attributes:
        recent: Of any day, but not for this very request: one sent again gets the same answer.
        today: Each original of today once, those of this request too.
        before: Today's, one entry each time, but not those of this request.
    """

    recent: Rows
    today: Rows
    before: Rows


class Days(Protocol):
    """Remembers what was served, in all processes."""

    def of(self, request: Request) -> Shown:
        """What the request's viewer was served up to now. Raises ``StoreError`` when it cannot be read."""
        ...


class DayCap(LookedUp):
    """The most originals with one value of an attribute a viewer is shown in a day, over all surfaces and processes.

    Of each value it leaves the best candidates, as many as the day still has room for, so that no choice after it can break the
    cap. What the viewer was shown today already takes no further room.

    Args:
        attribute: What is counted.
        most: Originals of one value.
        codes: A number from 1 for each value by catalog row, 0 where it is unknown: no cap holds there. Shapes: [n + 1].
        originals: The row that each row is a repost of; the original's value counts. Shapes: [n + 1].
        days: What was served.
        closed: Whether candidates with a known value are dropped when the day cannot be read.
    """

    def __init__(
        self,
        attribute: str,
        most: int,
        codes: NDArray[np.int32],
        originals: Rows,
        days: Days,
        *,
        closed: bool = False,
    ) -> None:
        super().__init__(f"day_cap:{attribute}", RoomToday(most, codes, originals, days), closed=closed, ranks=True)


class RoomToday:
    """Which candidates a day has no room for."""

    name = DAY

    def __init__(self, most: int, codes: NDArray[np.int32], originals: Rows, days: Days) -> None:
        self._most, self._days, self._originals = most, days, originals
        self._codes = codes[originals]
        self._size = int(codes.max(initial=0)) + 1

    def look(self, request: Request, user: Any, pool: Pool) -> Answer:
        """Forbidden beyond the room that is left for its value. Candidates stand best first. Shapes: [n]."""
        today = self._days.of(request).today
        room = np.full(self._size, self._most, np.int64)
        np.subtract.at(room, self._codes[today], 1)
        codes = self._codes[pool.rows]
        originals = self._originals[pool.rows]
        again = np.isin(originals, today)
        counted = np.flatnonzero((codes > 0) & ~again)
        # A repost of a candidate before it takes no room of its own.
        _, first = np.unique(originals[counted], return_index=True)
        forbids = np.zeros(len(codes), np.bool_)
        fresh = counted[np.sort(first)]
        full = _places(codes[fresh]) >= room[codes[fresh]]
        forbids[counted] = np.isin(originals[counted], originals[fresh[full]])
        return Answer(np.full(len(codes), KNOWN, np.int8), forbids, codes > 0)

    def covers(self, pool: Pool) -> NDArray[np.bool_] | None:
        """Candidates with a known value."""
        return self._codes[pool.rows] > 0


def _places(codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """How many of the same code stand before each."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(codes) else np.empty(0, np.int64)
    places = np.empty(len(codes), np.int64)
    places[order] = np.arange(len(codes)) - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))
    return places
