"""Which original each item stands for, also where reposts were reposted or point at each other in a circle."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ControlError

LOG = logging.getLogger("mainstem.reposts")


@dataclass(frozen=True, slots=True, eq=False)
class Originals:
    """The original of every catalog row, and what was odd about how the table tells it.

    Attributes:
        rows: The original's row; -1 in the last row, for items the catalog does not hold. Shapes: [n + 1].
        chained: Reposts of a repost: they are taken to the first item of the chain.
        circular: Items that are, over others, their own repost: the whole circle stands for its lowest row.
    """

    rows: NDArray[np.int64]
    chained: int
    circular: int


def originals_of(canonical: NDArray[np.int32], *, strict: bool = False) -> Originals:
    """The original of each row, with chains followed to their end.

    An item that names itself is an original: that is how the items table says so. Of a circle no item came first by what the table
    says; its items count as one, with the lowest row as the original, so that a cap or a block on one holds for all.

    Args:
        canonical: The row that each row names, a last one for unknown items. Shapes: [n + 1].
        strict: Refuses circles; else they are counted and logged.

    Raises:
        ControlError: Items repost each other in a circle, and ``strict`` asks (``control-032``).
    """
    named = canonical[:-1].astype(np.int64)
    own = np.arange(len(named))
    ends, low = named.copy(), np.minimum(own, named)
    for _ in range(max(1, int(np.ceil(np.log2(len(named) + 1))) + 1)):
        low = np.minimum(low, low[ends])  # the lowest row on the way; twice as far in each round
        ends = ends[ends]
    # Where a chain ends, the item names itself; else the way came into a circle, and every further step stays in it.
    in_circle = named[ends] != ends
    circle = _members(named, ends[in_circle])
    ends[in_circle] = low[ends[in_circle]]
    chained = int(((named != own) & (named[named] != named) & ~circle).sum())
    if circle.any():
        _tell(circle, strict)
    return Originals(np.append(ends, -1), chained, int(circle.sum()))


def _members(named: NDArray[np.int64], reached: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Every row of the circles in which these rows lie."""
    marks = np.zeros(len(named), np.bool_)
    at = np.unique(reached)
    while len(at):
        marks[at] = True
        at = np.unique(named[at])
        at = at[~marks[at]]
    return marks


def _tell(circle: NDArray[np.bool_], strict: bool) -> None:
    example = int(np.flatnonzero(circle)[0])
    told = (
        f"found {int(circle.sum())} items that repost each other in a circle, such as catalog row {example},"
        " expected reposts of an original"
    )
    if strict:
        raise ControlError(told, code="control-032", hint="mainstem data check PATH")
    LOG.warning("control-032: %s; each circle counts as one item", told)
