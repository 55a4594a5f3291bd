"""One pool of what several sources found: every candidate once, ordered by the ranks its sources gave it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mainstem.base.order import best_first
from mainstem.base.request import Found, Pool, Request, Rows


class RankFusion:
    """Merges by reciprocal rank: a candidate scores the sum over its sources of weight / (``constant`` + rank).

    Ranks are comparable between sources where scores are not.

    Args:
        sources: Names, in the order of the stack.
        candidates: Most candidates kept, by surface.
        weights: By source; 1 where it is not named.
        constant: Larger trusts the very top less.

    Source: Cormack, Clarke, Büttcher, SIGIR 2009 (constant 60).
    """

    def __init__(
        self,
        sources: tuple[str, ...],
        candidates: dict[str, int],
        weights: dict[str, float] | None = None,
        constant: float = 60.0,
    ) -> None:
        self._weights = [(weights or {}).get(name, 1.0) for name in sources]
        self._candidates = candidates
        self._constant = constant
        self._held: NDArray[np.float64] = np.empty(0)

    def _ranks(self, size: int) -> NDArray[np.float64]:
        """``constant`` + rank of the first places; kept, because every request asks for the same."""
        if size > len(self._held):
            self._held = np.asarray(self._constant + 1 + np.arange(max(size, 1_000)), np.float64)
        return self._held[:size]

    def merge(self, request: Request, found: list[Found]) -> Pool:
        """Every candidate once, best fused score first; ties go to the smaller row."""
        rows = np.concatenate([one.rows for one in found])
        sizes = [len(one.rows) for one in found]
        score = np.concatenate([weight / self._ranks(size) for weight, size in zip(self._weights, sizes, strict=True)])
        bit = np.repeat(np.left_shift(np.uint32(1), np.arange(len(found), dtype=np.uint32)), sizes)
        if not len(rows):
            return Pool(rows, bit, score)
        order = _by_row(rows)
        rows, score, bit = rows[order], score[order], bit[order]
        differs = np.ones(len(rows), np.bool_)
        np.not_equal(rows[1:], rows[:-1], out=differs[1:])
        starts = np.flatnonzero(differs)
        fused = np.add.reduceat(score, starts)
        mask = np.bitwise_or.reduceat(bit, starts)
        unique = rows[starts]
        best = best_first(fused, unique)[: self._candidates[request.surface]]
        return Pool(rows=unique[best], source_mask=mask[best], fused=fused[best])


def _by_row(rows: Rows) -> NDArray[np.int64]:
    """Positions by row, equals in the order in which they stand: one sort of (row, position) packed into one number."""
    if len(rows) >= 1 << 16:
        return np.argsort(rows, kind="stable")
    packed = (rows.astype(np.int64) << 16) | np.arange(len(rows))
    packed.sort()
    packed &= 0xFFFF
    return packed
