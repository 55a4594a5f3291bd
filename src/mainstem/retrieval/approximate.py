"""Nearest vectors without reading all of them: the clusters nearest to the query are scanned, and no others.

For a deep result (some hundreds wanted) scanning lists beats walking a graph: at 100,000 vectors and 400 wanted, lists take 0.41 ms
for a recall of .983, graphs (faiss and usearch alike) 1.1 ms for .976 and 60 times the time to build. Measured with one thread;
``benchmarks/vector_index.py`` measures it again.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Found, Rows
from mainstem.retrieval.index import checked, ordered

_FEWEST_PROBES: Final = 32
_PROBED: Final = 6
"""One list in this many is scanned."""
_ROUNDS: Final = 8
"""Of the clustering; more changes recall by less than a thousandth."""
_SAMPLE: Final = 64
"""Vectors a cluster learns its centre from."""


class ListIndex:
    """Vectors grouped by cluster in faiss's inverted lists, with a mark for each vector that is gone.

    New vectors join the list of their nearest centre at once; the centres stay as they were learned, so a catalog that has become
    another one deserves a new index, which any thread may build beside the one that serves.

    Args:
        vectors: [n, d], what the centres are learned from.
        rows: Their catalog rows.
        lists: How many; about the square root of n when 0.
        probes: Lists that are scanned at least; a sixth of them, 32 at least, when 0. All of them is an exact search.
        seed: Chooses the first centres.

    Raises:
        RetrievalError: Shapes do not fit, or a value is not finite (``retrieval-070``).

    Source: Jégou, Douze, Schmid, TPAMI 2011 (inverted file without product quantisation); Douze et al., The Faiss library, 2024.
    """

    def __init__(self, vectors: Floats, rows: Rows, lists: int = 0, probes: int = 0, seed: int = 0) -> None:
        rows, given = checked(rows, vectors, vectors.shape[1])
        known = given[given.any(axis=1)]
        count = max(1, min(lists or round(len(known) ** 0.5), len(known)))
        self._dim = given.shape[1]
        self._lists = _trained(known, self._dim, count, seed)
        self._probes = min(count, probes or max(_FEWEST_PROBES, count // _PROBED))
        self._count = count
        self._rows = np.empty(0, np.int64)
        self._bits = np.empty(0, np.uint8)
        self._filled = self._dead = 0
        self._place: dict[int, int] = {}
        # faiss lets many search at once but nobody while one writes; a search takes far less than a millisecond.
        self._lock = threading.Lock()
        self.add(rows, given)

    @property
    def exact(self) -> bool:
        """Whether every list is scanned."""
        return self._probes >= self._count

    def __len__(self) -> int:
        return len(self._place)

    def add(self, rows: Rows, vectors: Floats) -> None:
        """Puts vectors into the lists of their nearest centres."""
        rows, given = checked(rows, vectors, self._dim)
        there = given.any(axis=1)
        with self._lock:
            self._forget(rows)
            rows, given = rows[there], np.ascontiguousarray(given[there])
            places = np.arange(self._filled, self._filled + len(rows))
            self._reserve(self._filled + len(rows))
            self._rows[places] = rows
            self._lists.add_with_ids(given, places)
            self._filled += len(rows)
            self._place.update(zip(rows.tolist(), places.tolist(), strict=True))

    def remove(self, rows: Rows) -> None:
        """Marks these rows; when a quarter of all vectors are marked, they are taken out of the lists."""
        with self._lock:
            self._forget(np.asarray(rows, np.int64))
            if 4 * self._dead > self._filled:
                self._lists.remove_ids(_marked(self._bits))
                self._dead = 0

    def search(self, query: Floats, k: int) -> Found:
        """The k nearest among the lists that are scanned; all lists are, before fewer than k are answered."""
        queries = np.ascontiguousarray(np.atleast_2d(query), np.float32)
        with self._lock:
            k = min(k, len(self._place))
            if k <= 0:
                return ordered(np.empty(0, np.int64), np.empty(0, np.float32))
            scores, places = self._found(queries, k, self._probes)
            if self._probes < self._count and (places < 0).any():
                scores, places = self._found(queries, k, self._count)
            rows = self._rows[places]
        if len(queries) == 1:
            return ordered(rows[0], scores[0])
        return _best_of(rows, scores, places >= 0, k)

    def _found(self, queries: Floats, k: int, probes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        given: dict[str, Any] = {"nprobe": probes}
        if self._dead:
            given["sel"] = faiss.IDSelectorNot(_marked(self._bits))
        return self._lists.search(queries, k, params=faiss.SearchParametersIVF(**given))

    def _forget(self, rows: NDArray[np.int64]) -> None:
        places = np.array([self._place.pop(row) for row in rows.tolist() if row in self._place], np.int64)
        np.bitwise_or.at(self._bits, places >> 3, np.left_shift(1, places & 7).astype(np.uint8))
        self._dead += len(places)

    def _reserve(self, room: int) -> None:
        if room > len(self._rows):
            room = max(room, 2 * len(self._rows)) + 7 & ~7
            self._rows = np.concatenate([self._rows, np.zeros(room - len(self._rows), np.int64)])
            self._bits = np.concatenate([self._bits, np.zeros(room // 8 - len(self._bits), np.uint8)])


def _marked(bits: NDArray[np.uint8]) -> Any:
    """Selects the places whose bit is set."""
    select: Any = faiss.IDSelectorBitmap  # its Python form takes an array; the stubs know the C++ one
    return select(bits)


def _trained(vectors: Floats, dim: int, lists: int, seed: int) -> Any:
    """Empty lists around centres learned from a sample; the same for the same seed."""
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.niter, index.cp.spherical, index.cp.min_points_per_centroid = seed + 1, _ROUNDS, True, 1
    if len(vectors):
        most = min(len(vectors), _SAMPLE * lists)
        index.train(np.ascontiguousarray(vectors[np.linspace(0, len(vectors) - 1, most).astype(np.int64)]))
    else:
        index.train(np.ones((1, dim), np.float32))
    return index


def _best_of(rows: Rows, scores: Floats, found: NDArray[np.bool_], k: int) -> Found:
    """What several queries found as one list: every row once, with its best score."""
    flat, score = rows[found], scores[found]
    order = np.lexsort((-score, flat))
    flat, score = flat[order], score[order]
    first = np.ones(len(flat), np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=first[1:])
    best = ordered(flat[first], score[first])
    return Found(best.rows[:k], best.scores[:k])
