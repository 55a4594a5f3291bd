"""Rules that look at one candidate at a time and remove it or not."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Pool, Request, Rows
from mainstem.base.withdrawn import Withdrawn

FINE: Final = 0
VIOLATING: Final = 1
UNKNOWN: Final = -1
"""States of the safety lookup: checked and fine, checked and violating, not answered."""


class Filter(Protocol):
    """Says which candidates may not be shown to this viewer now."""

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


class Integrity:
    """Whether an item passed its safety check, with a declared answer for when the check cannot be read.

    Args:
        states: One of ``FINE``, ``VIOLATING``, ``UNKNOWN`` for each catalog row, and ``UNKNOWN`` in a last row for items the
            catalog does not hold (row -1).
        closed: When the lookup fails, True drops the item and False shows it.
    """

    name = "integrity"

    def __init__(self, states: NDArray[np.int8], *, closed: bool) -> None:
        self._states = states
        self._closed = closed

    def removes(self, request: Request, user: Any, pool: Pool) -> NDArray[np.bool_]:
        """True for violating items, and for unchecked ones where the rule fails closed."""
        if "safety" in request.failures:
            return np.full(len(pool.rows), self._closed)
        states = self._states[pool.rows]
        return (states == VIOLATING) | ((states == UNKNOWN) & self._closed)


class RecentlySeen(Protocol):
    """Knows which items a viewer was shown lately."""

    def seen_rows(self, user: Any, last: int) -> Rows:
        """Rows of the items among the viewer's last impressions."""
        ...


class Seen:
    """Whether the viewer was shown this item among the last ``last`` impressions."""

    name = "seen"

    def __init__(self, memory: RecentlySeen, *, last: int, catalog_size: int) -> None:
        self._memory = memory
        self._last = last
        self._marks = np.zeros(catalog_size + 1, bool)

    def removes(self, request: Request, user: Any, pool: Pool) -> NDArray[np.bool_]:
        """True where the viewer has seen it. One mark a row, set and cleared again: no search, no set."""
        seen = self._memory.seen_rows(user, self._last)
        self._marks[seen] = True
        self._marks[-1] = False
        removed = self._marks[pool.rows]
        self._marks[seen] = False
        return removed


class Originals:
    """Whether a better candidate of the same original is there: of reposts, only the best stays.

    Candidates must come best first.
    """

    name = "originals"

    def __init__(self, canonical: Rows) -> None:
        self._canonical = canonical
        self._any_reposts = bool(((canonical != np.arange(len(canonical))) & (canonical >= 0)).any())

    def removes(self, request: Request, user: Any, pool: Pool) -> NDArray[np.bool_]:
        """True for every candidate after the first of its original."""
        removed = np.zeros(len(pool.rows), bool)
        if not self._any_reposts and request.item_ids is None:
            return removed
        originals = np.where(pool.rows >= 0, self._canonical[pool.rows], -1 - np.arange(len(pool.rows)))
        _, first = np.unique(originals, return_index=True)
        removed[:] = True
        removed[first] = False
        return removed
