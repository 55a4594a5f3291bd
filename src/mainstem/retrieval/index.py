"""Which items lie nearest to a query: one protocol, the exact search behind it, and the choice of an index by size.

Measured on one core of the build machine (64 values, 400 wanted, queries of several tastes): exact 0.18 ms at 10,000 vectors, 0.63
ms at 50,000, 2.3 ms at 100,000, 5.2 ms at 300,000; the lists of ``approximate`` 0.31 ms at 50,000 (recall .989), 0.41 ms at 100,000
(.983), 1.0 ms at 300,000 (.954). ``benchmarks/vector_index.py`` measures it again.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.base.order import best_first
from mainstem.base.request import NOTHING, Floats, Found, Rows
from mainstem.retrieval.search import top_k

LOG = logging.getLogger("mainstem.retrieval")
Vectors = NDArray[np.float32]

LARGE: Final = 50_000
"""From this many vectors on, an approximate index answers sooner than one exact pass."""


@runtime_checkable
class VectorIndex(Protocol):
    """Vectors by catalog row, searched by inner product, changed while it serves.

    Any thread may search while another adds or removes. A vector of zeros is never found: nothing is known of its item.
    ``mainstem.testing.index_suite`` holds one test for each of these promises.
    """

    @property
    def exact(self) -> bool:
        """Whether a search finds the true nearest, all of them."""
        ...

    def __len__(self) -> int:
        """How many rows can be found."""
        ...

    def add(self, rows: Rows, vectors: Floats) -> None:
        """Puts vectors in; a row that is there already gets the new one. Found by every search that begins after it.

        Shapes: ``rows[n]``, ``vectors[n, d]``.

        Raises:
            RetrievalError: Shapes do not fit, or a value is not finite (``retrieval-070``).
        """
        ...

    def remove(self, rows: Rows) -> None:
        """Takes rows out; no search that begins after it finds them. Rows that are not there are no error."""
        ...

    def search(self, query: Floats, k: int) -> Found:
        """The k rows with the largest inner product, best first, equals by the smaller row.

        Several queries ask for the rows nearest to any of them: a row scores its largest product.

        Shapes: ``query[d]`` or ``query[q, d]``.
        """
        ...


def vector_index(vectors: Floats, rows: Rows | None = None, large: int = LARGE, seed: int = 0) -> VectorIndex:
    """The index that answers soonest for this many vectors: exact below ``large``, lists of clusters from there on.

    Without the ``ann`` extra every size is searched exactly, and a warning says so.

    Args:
        vectors: [n, d].
        rows: Their catalog rows; 0 to n-1 when not given.
        large: Where the approximate index begins.
        seed: Of its clusters.

    Raises:
        RetrievalError: Shapes do not fit, or a value is not finite (``retrieval-070``).
    """
    held = np.arange(len(vectors)) if rows is None else np.asarray(rows, np.int64)
    if len(vectors) >= large:
        if find_spec("faiss") is not None:
            # The library takes a tenth of a second to import, and small catalogs never need it.
            from mainstem.retrieval.approximate import ListIndex

            return ListIndex(vectors, held, seed=seed)
        LOG.warning(
            "%d vectors are searched exactly, which reads all of them for every request: the extra 'ann' is not installed",
            len(vectors),
        )
    index = ExactIndex(vectors.shape[1])
    index.add(held, vectors)
    return index


@dataclass(frozen=True, slots=True)
class _Held:
    """What a search reads: replaced as a whole when the arrays grow, so that a search under way keeps what it began with.

    Shapes: ``vectors[room, d]``, ``rows[room]``, ``gone[room]`` (1 where the vector is not to be found).
    """

    vectors: Vectors
    rows: NDArray[np.int64]
    gone: NDArray[np.bool_]
    filled: int
    any_gone: bool


class ExactIndex:
    """One pass over all vectors: the truth, and the fastest there is for small catalogs.

    Args:
        dim: Values of a vector.
    """

    exact = True

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._place: dict[int, int] = {}
        self._writing = threading.Lock()
        self._held = _Held(np.empty((0, dim), np.float32), np.empty(0, np.int64), np.empty(0, np.bool_), 0, False)

    def __len__(self) -> int:
        return len(self._place)

    def add(self, rows: Rows, vectors: Floats) -> None:
        """Puts vectors in behind the others; the places of those they replace are given up."""
        rows, given = checked(rows, vectors, self._dim)
        there = given.any(axis=1)
        with self._writing:
            self._forget(self._held, rows)
            rows, given = rows[there], given[there]
            held = self._with_room(len(rows))
            start, end = held.filled, held.filled + len(rows)
            held.vectors[start:end], held.rows[start:end] = given, rows
            self._place.update(zip(rows.tolist(), range(start, end), strict=True))
            self._held = replace(held, filled=end, any_gone=len(self._place) < end)

    def remove(self, rows: Rows) -> None:
        """Marks the places of these rows, which every later search leaves out."""
        with self._writing:
            self._forget(self._held, np.asarray(rows, np.int64))
            self._held = replace(self._held, any_gone=len(self._place) < self._held.filled)

    def search(self, query: Floats, k: int) -> Found:
        """The k nearest of all vectors."""
        held = self._held
        vectors = held.vectors[: held.filled]
        scores = vectors @ query if query.ndim == 1 else (query @ vectors.T).max(axis=0, initial=-np.inf)
        if held.any_gone:
            scores[held.gone[: held.filled]] = -np.inf
        places = top_k(scores, k)
        return ordered(held.rows[places], scores[places])

    def _forget(self, held: _Held, rows: Rows) -> None:
        for row in rows.tolist():
            place = self._place.pop(row, None)
            if place is not None:
                held.gone[place] = True

    def _with_room(self, more: int) -> _Held:
        """The arrays with space for more; what is gone is left behind when they grow."""
        held = self._held
        if held.filled + more <= len(held.rows):
            return held
        kept = np.flatnonzero(~held.gone[: held.filled])
        room = 2 * (len(kept) + more) if held.filled else more
        vectors, rows = np.zeros((room, self._dim), np.float32), np.zeros(room, np.int64)
        vectors[: len(kept)], rows[: len(kept)] = held.vectors[kept], held.rows[kept]
        self._place = {row: place for place, row in enumerate(rows[: len(kept)].tolist())}
        return _Held(vectors, rows, np.zeros(room, np.bool_), len(kept), False)


def checked(rows: Rows, vectors: Floats, dim: int) -> tuple[NDArray[np.int64], Vectors]:
    """Rows and vectors that fit each other and the index; the last one of a row that is named twice.

    Raises:
        RetrievalError: They do not fit (``retrieval-070``).
    """
    rows, given = np.atleast_1d(np.asarray(rows, np.int64)), np.asarray(vectors, np.float32)
    if given.shape != (len(rows), dim):
        raise RetrievalError(
            f"found vectors of shape {given.shape} for {len(rows)} rows, expected ({len(rows)}, {dim})",
            code="retrieval-070",
        )
    if not np.isfinite(given).all():
        bad = int(rows[np.flatnonzero(~np.isfinite(given).all(axis=1))[0]])
        raise RetrievalError(f"the vector of row {bad} holds a value that is not finite", code="retrieval-070")
    last = np.unique(rows[::-1], return_index=True)[1]
    if len(last) < len(rows):
        kept = np.sort(len(rows) - 1 - last)
        return rows[kept], given[kept]
    return rows, given


def ordered(rows: Rows, scores: Floats) -> Found:
    """What was found, best first, equals by the smaller row."""
    if not len(rows):
        return NOTHING
    order = best_first(scores, rows)
    return Found(rows=rows[order], scores=scores[order])
