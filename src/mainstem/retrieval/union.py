"""One pool of what several sources found: every candidate once, ordered by the ranks its sources gave it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mainstem.base.order import best_first
from mainstem.base.request import Found, Pool, Request, Rows

Table = NDArray[np.float64]


class TableFusion:
    """Merges by what a place on a source's list is worth: a candidate scores the sum over its sources of the table's value there.

    Ranks are comparable between sources where scores are not.

    Args:
        tables: One for each source, in the order of the stack: the worth of its first, second, … candidate; beyond the end, the
            last value.
        candidates: Most candidates kept, by surface.
        reserved: By source: so many of its first candidates are lifted to where they are still ranked, because their source is
            there to show what nobody would ask for (exploration, new items).
        ranked: How many candidates the ranker scores, by surface: the places that are reserved in.

    Shapes: ``tables[s][ranks]``.
    """

    def __init__(
        self,
        tables: tuple[Table, ...],
        candidates: Mapping[str, int],
        reserved: Mapping[int, int] | None = None,
        ranked: Mapping[str, int] | None = None,
    ) -> None:
        self._tables = [np.asarray(one, np.float64) for one in tables]
        self._candidates = candidates
        self._reserved = {source: most for source, most in (reserved or {}).items() if most > 0}
        self._ranked = ranked or {}

    def merge(self, request: Request, found: list[Found]) -> Pool:
        """Every candidate once, best fused score first; ties go to the smaller row."""
        rows = np.concatenate([one.rows for one in found])
        sizes = [len(one.rows) for one in found]
        score = np.concatenate([self._worth(source, size) for source, size in enumerate(sizes)])
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
        if self._reserved:
            self._lift(fused, unique, found, self._ranked.get(request.surface, self._candidates[request.surface]))
        best = best_first(fused, unique)[: self._candidates[request.surface]]
        return Pool(rows=unique[best], source_mask=mask[best], fused=fused[best])

    def _worth(self, source: int, size: int) -> Table:
        table = self._tables[source]
        if size > len(table):
            table = np.concatenate([table, np.full(max(size, 2 * len(table)) - len(table), table[-1:].sum())])
            self._tables[source] = table
        return table[:size]

    def _lift(self, fused: Table, unique: Rows, found: list[Found], ranked: int) -> None:
        """Raises the reserved candidates just above the last place that leaves room for all of them, and above its equals."""
        first = [found[source].rows[:most] for source, most in self._reserved.items()]
        room = ranked - sum(map(len, first))
        if len(unique) <= ranked or room <= 0:
            return
        bound = np.partition(fused, len(fused) - room)[len(fused) - room]
        at = np.searchsorted(unique, np.concatenate(first))
        fused[at] = np.maximum(fused[at], np.nextafter(bound, np.inf))


class RankFusion(TableFusion):
    """Merges by reciprocal rank: a candidate scores the sum over its sources of weight / (``constant`` + rank).

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
        candidates: Mapping[str, int],
        weights: Mapping[str, float] | None = None,
        constant: float = 60.0,
    ) -> None:
        self._weights = [(weights or {}).get(name, 1.0) for name in sources]
        self._constant = constant
        super().__init__(tuple(self._reciprocal(source, 1_000) for source in range(len(sources))), candidates)

    def _reciprocal(self, source: int, size: int) -> Table:
        return self._weights[source] / (self._constant + 1 + np.arange(size, dtype=np.float64))

    def _worth(self, source: int, size: int) -> Table:
        if size > len(self._tables[source]):
            self._tables[source] = self._reciprocal(source, 2 * size)
        return self._tables[source][:size]


def _by_row(rows: Rows) -> NDArray[np.int64]:
    """Positions by row, equals in the order in which they stand: one sort of (row, position) packed into one number."""
    if len(rows) >= 1 << 16:
        return np.argsort(rows, kind="stable")
    packed = (rows.astype(np.int64) << 16) | np.arange(len(rows))
    packed.sort()
    packed &= 0xFFFF
    return packed
