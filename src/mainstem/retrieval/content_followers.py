"""Which items follow an item as far as what they *are* can tell: so that an item nobody took yet has followers and is one.

Every answer has the form ``marks of the item -> marks -> items with them``, and so costs as little as the vocabulary is
small. Marks are weighted by how rare they are (a brand says more than a department) and each item's weights have length 1.

* ``alike``: items with the same marks.
* ``learned_marks``: marks that follow marks, learned from the same sums as the item model in closed form.
* ``marks_to_items``: items that follow marks, learned likewise.
* ``around``: what the item model says, spread to items that are like the ones it names.

Source: Salton and Buckley 1988 for the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import ItemContent
from mainstem.retrieval.pair_sums import PairSums

MOST_MARKS = 20_000
_ROWS_AT_ONCE = 512

Floats = NDArray[np.float32]


class Marks:
    """The weighted marks of items, as a thin matrix.

    Args:
        content: What the items are.
        items: How many items there are; those without marks have a row of zeros.
        rarity: The power of the inverse frequency: 0 all marks alike, 1 the usual, 2 rare ones nearly alone.

    Raises:
        RetrievalError: ``retrieval-013`` when the marks do not fit the items, or are too many to hold as a matrix.
    """

    def __init__(self, content: ItemContent, items: int, rarity: float = 1.0) -> None:
        fits = len(content.starts) == items + 1 and (
            not len(content.marks) or (content.marks.min() >= 0 and content.marks.max() < content.vocabulary)
        )
        if not fits or content.vocabulary > MOST_MARKS:
            raise RetrievalError(
                f"found marks of {len(content.starts) - 1} items out of {content.vocabulary}, expected {items} items and at "
                f"most {MOST_MARKS} different marks",
                code="retrieval-013",
                hint="leave out marks that only one item has, or number the items as the sequences do",
            )
        owner = np.repeat(np.arange(items), np.diff(content.starts))
        carriers = np.bincount(content.marks, minlength=content.vocabulary)
        weight = np.log((items + 1) / (carriers + 0.5)) ** rarity
        table = np.zeros((items, content.vocabulary), np.float32)
        table[owner, content.marks] = weight[content.marks]
        length = np.sqrt(np.einsum("ij,ij->i", table, table))
        table /= np.where(length > 0, length, 1.0)[:, None]
        self.table: Floats = table

    def alike(self) -> Iterator[tuple[int, Floats]]:
        """Rows of "has the same marks", a block at a time; an item is not like itself."""
        return self.through(None)

    def through(self, learned: Floats | None) -> Iterator[tuple[int, Floats]]:
        """Rows of ``marks -> learned -> marks of items``; without anything learned, the marks themselves."""
        for start in range(0, len(self.table), _ROWS_AT_ONCE):
            block = self.table[start : start + _ROWS_AT_ONCE]
            rows = (block if learned is None else block @ learned) @ self.table.T
            yield start, _without_itself(rows, start)

    def to_items(self, learned: Floats) -> Iterator[tuple[int, Floats]]:
        """Rows of ``marks -> items``, for what was learned by item."""
        for start in range(0, len(self.table), _ROWS_AT_ONCE):
            yield start, _without_itself(self.table[start : start + _ROWS_AT_ONCE] @ learned, start)

    def around(self, rows: Floats, start: int) -> Floats:
        """What rows over items say about the items that are like the ones they name."""
        return _without_itself(np.maximum(rows, 0) @ self.table @ self.table.T, start)

    def learn(self, sums: PairSums, ridge: float) -> tuple[Floats, Floats]:
        """Which marks, and which items, follow each mark: ridge regressions on the sums seen through the marks.

        Shapes: [marks, marks], [marks, items].
        """
        table = self.table
        if sums.is_dense:
            near, follow = sums.near @ table, table.T @ sums.follow
        else:
            near = np.zeros_like(table)
            _times(sums.starts, sums.columns, sums.near, table, near)
            follow_t = np.zeros_like(table)
            _times_transposed(sums.starts, sums.columns, sums.follow, table, follow_t)
            follow = np.ascontiguousarray(follow_t.T)
        left = (table.T @ near).astype(np.float64)
        left[np.diag_indices(len(left))] += ridge
        to_items = np.linalg.solve(left, follow.astype(np.float64)).astype(np.float32)
        return to_items @ table, to_items


def _without_itself(rows: Floats, start: int) -> Floats:
    place = np.arange(len(rows))
    rows[place, start + place] = 0.0
    return rows


@njit(cache=True, nogil=True, fastmath=True)
def _times(starts: Any, columns: Any, values: Any, x: Any, out: Any) -> None:
    for i in range(len(starts) - 1):
        for k in range(starts[i], starts[i + 1]):
            out[i] += values[k] * x[columns[k]]


@njit(cache=True, nogil=True, fastmath=True)
def _times_transposed(starts: Any, columns: Any, values: Any, x: Any, out: Any) -> None:
    for i in range(len(starts) - 1):
        for k in range(starts[i], starts[i + 1]):
            if values[k] != 0.0:
                out[columns[k]] += values[k] * x[i]
