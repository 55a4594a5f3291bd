"""Which come first: the one order of scores that every stage shares."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_MANY: Final = 1 << 15
"""From here on, rank, row and position no longer fit one number."""


def best_first(scores: NDArray[np.floating[Any]], rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Positions by score, the largest first; equals by the smaller row, then by position. NaN comes last.

    The same as ``np.lexsort((rows, -scores))`` in a third of the time for a thousand: a sort that may swap equals, and where there
    are equals, one more over (rank, row, position) packed into one number.

    Args:
        scores: [n].
        rows: [n], from -1 to 2**31 - 1.
    """
    down = -scores
    if len(down) >= _MANY:
        return np.lexsort((rows, down))
    order = np.argsort(down)
    ordered = down[order]
    higher = (ordered[1:] != ordered[:-1]) & (ordered[:-1] == ordered[:-1])
    if higher.all():
        return order
    packed = np.zeros(len(down), np.int64)
    np.cumsum(higher, out=packed[1:])
    packed <<= 48
    packed |= (rows[order].astype(np.int64) + 1) << 16
    packed |= order
    packed.sort()
    packed &= 0xFFFF
    return packed
