"""Rules that look at one candidate at a time and remove it or not."""

from __future__ import annotations

import threading
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import StoreError
from mainstem.base.request import Pool, Request, Rows
from mainstem.base.withdrawn import Withdrawn
from mainstem.control.day import DAY, Days
from mainstem.control.lookups import FAILED, KNOWN, Answer, LookedUp
from mainstem.control.repeats import repeats

FINE: Final = 0
VIOLATING: Final = 1
UNKNOWN: Final = -1
"""States of the safety lookup: checked and fine, checked and violating, not answered."""


class Filter(Protocol):
    """Says which candidates may not be shown to this viewer now.

    One with a true ``ranks`` reads the order, best first, and is shown only what the filters before it left.
    """

    @property
    def name(self) -> str:
        """How traces and explanations call it."""
        ...

    def removes(self, request: Request, user: Any, pool: Pool) -> NDArray[np.bool_]:
        """True where the candidate is removed. Shapes: [n]."""
        ...


class Gone:
    """Whether an item was withdrawn while serving: nobody is shown it, wherever it comes from.

    Args:
        withdrawn: What is withdrawn now.
    """

    name = "withdrawn"

    def __init__(self, withdrawn: Withdrawn) -> None:
        self._withdrawn = withdrawn

    def removes(self, request: Request, user: Any, pool: Pool) -> NDArray[np.bool_]:
        """True for withdrawn items."""
        return self._withdrawn.mask[pool.rows]


class Integrity(LookedUp):
    """Whether an item passed its safety check, with a declared answer for when the check cannot be read.

    Args:
        states: One of ``FINE``, ``VIOLATING``, ``UNKNOWN`` for each catalog row, and ``UNKNOWN`` in a last row for items the
            catalog does not hold (row -1).
        closed: When the lookup fails, or there is no verdict, True drops the item and False shows it.
    """

    def __init__(self, states: NDArray[np.int8], *, closed: bool) -> None:
        super().__init__("integrity", Safety(states), closed=closed, needs_answer=True)


class Safety:
    """The safety check's verdict on each item; an item that was never checked is known to have none."""

    name = "safety"

    def __init__(self, states: NDArray[np.int8]) -> None:
        self._states = states

    def look(self, request: Request, user: Any, pool: Pool) -> Answer:
        """The verdicts. Shapes: [n]."""
        states = self._states[pool.rows]
        return Answer((states != UNKNOWN).view(np.int8), states == VIOLATING)

    def covers(self, pool: Pool) -> NDArray[np.bool_] | None:
        """Every item."""
        return None


class RecentlySeen(Protocol):
    """Knows which items a viewer was shown lately."""

    def seen_rows(self, user: Any, last: int) -> Rows:
        """Rows of the items among the viewer's last impressions."""
        ...


class Seen(LookedUp):
    """Whether the viewer was shown this item, or a repost of it, among the last ``last`` impressions.

    Args:
        memory: What outcomes tell of; it fails where the request's ``features`` fail.
        last: Impressions that count.
        catalog_size: Rows of the catalog.
        originals: The row that each row is a repost of, its own for an original; None when there are no reposts.
        days: What was served, also in other processes and before any outcome; None without.
        closed: Whether everything is dropped when neither can be read.
    """

    def __init__(
        self,
        memory: RecentlySeen,
        *,
        last: int,
        catalog_size: int,
        originals: Rows | None = None,
        days: Days | None = None,
        closed: bool = False,
    ) -> None:
        super().__init__("seen", SeenLately(memory, last, catalog_size, originals, days), closed=closed)


class SeenLately:
    """What a viewer was shown lately, from what was served and from what outcomes tell."""

    name = "seen"

    def __init__(
        self, memory: RecentlySeen, last: int, catalog_size: int, originals: Rows | None, days: Days | None
    ) -> None:
        self._memory, self._last, self._days = memory, last, days
        self._originals = originals
        self._size = catalog_size
        self._local = threading.local()

    def look(self, request: Request, user: Any, pool: Pool) -> Answer:
        """Known where it was seen; elsewhere known to be empty, or failed when one of the memories failed. Shapes: [n]."""
        seen, failed = self._rows(request, user)
        rows = pool.rows
        if self._originals is not None:
            seen, rows = self._originals[seen], self._originals[rows]
        marks = self._marks()
        marks[seen] = True
        marks[-1] = False
        found = marks[rows]
        marks[seen] = False
        states = found.view(np.int8)
        return Answer(np.where(found, np.int8(KNOWN), np.int8(FAILED)) if failed else states, found)

    def covers(self, pool: Pool) -> NDArray[np.bool_] | None:
        """Every item."""
        return None

    def _marks(self) -> NDArray[np.bool_]:
        """One mark a row, set and cleared again: no search, no set. Each thread has its own."""
        marks = getattr(self._local, "marks", None)
        if marks is None:
            marks = self._local.marks = np.zeros(self._size + 1, np.bool_)
        return marks

    def _rows(self, request: Request, user: Any) -> tuple[Rows, bool]:
        failed = "features" in request.failures
        seen = np.empty(0, np.int64) if failed else self._memory.seen_rows(user, self._last)
        if self._days is None:
            return seen, failed
        if DAY in request.failures:
            return seen, True
        try:
            return np.concatenate([seen, self._days.of(request).recent[: self._last]]), failed
        except StoreError:
            return seen, True


class Originals:
    """Whether a better candidate of the same original is there: of reposts, only the best stays.

    Candidates must come best first.
    """

    name = "originals"
    ranks = True

    def __init__(self, canonical: Rows) -> None:
        self._canonical = canonical
        self._any_reposts = bool(((canonical != np.arange(len(canonical))) & (canonical >= 0)).any())

    def removes(self, request: Request, user: Any, pool: Pool) -> NDArray[np.bool_]:
        """True for every candidate after the first of its original."""
        if not self._any_reposts and request.item_ids is None:
            return np.zeros(len(pool.rows), bool)
        originals = np.where(pool.rows >= 0, self._canonical[pool.rows], -1 - np.arange(len(pool.rows)))
        return repeats(originals)
