"""Nearest vectors without reading all of them: the lists of the clusters that lie nearest to the query are scanned, and no others.

Below some 50,000 items one exact pass (``search.nearest``) costs less than a millisecond and is the better choice; the list scan is
for catalogs beyond that, where the pass is bound by memory.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.order import best_first
from mainstem.base.request import Found
from mainstem.retrieval.clusters import interest_clusters
from mainstem.retrieval.search import top_k

Vectors = NDArray[np.float32]

ROUNDS: Final = 6
LEAST_SCANNED: Final = 4
"""Lists are probed until they hold this many times the vectors that are wanted."""


class InvertedLists:
    """Vectors grouped by cluster, each group in one piece of memory.

    Args:
        vectors: [n, d]; a vector of zeros is never found.
        seed: Chooses the clusters.
        lists: How many; about the square root of n.
        probes: Lists that are scanned at least. All of them is an exact search.

    Source: Jégou, Douze, Schmid, TPAMI 2011 (inverted file without product quantisation).
    """

    def __init__(self, vectors: Vectors, seed: int, lists: int = 256, probes: int = 24) -> None:
        codes = interest_clusters(vectors, lists, seed, ROUNDS)
        has = np.flatnonzero(codes >= 0)
        self._rows = has[np.argsort(codes[has], kind="stable")]
        self._vectors = np.ascontiguousarray(vectors[self._rows], np.float32)
        sorted_codes = codes[self._rows]
        starts = (
            np.flatnonzero(np.r_[True, sorted_codes[1:] != sorted_codes[:-1]]) if len(has) else np.empty(0, np.int64)
        )
        self._bounds = np.append(starts, len(self._rows)).tolist()
        self._sizes = np.diff(self._bounds)
        self._centres = _means(self._vectors, starts)
        self._probes = probes

    def nearest(self, query: Vectors, k: int) -> Found:
        """The k largest inner products with the query among the vectors of the probed lists, best first; ties by row."""
        chosen = self._chosen(query, k)
        spans = [(self._bounds[one], self._bounds[one + 1]) for one in chosen.tolist()]
        scores = np.empty(int(self._sizes[chosen].sum()), np.float32)
        filled = 0
        for start, end in spans:
            np.dot(self._vectors[start:end], query, out=scores[filled : filled + end - start])
            filled += end - start
        at = top_k(scores, k)
        offsets = np.cumsum(self._sizes[chosen]) - self._sizes[chosen]
        span = np.searchsorted(offsets, at, side="right") - 1
        rows = (
            self._rows[at - offsets[span] + np.array([start for start, _ in spans], np.int64)[span]] if len(at) else at
        )
        found = scores[at]
        order = best_first(found, rows)
        return Found(rows=rows[order], scores=found[order])

    def _chosen(self, query: Vectors, k: int) -> NDArray[np.int64]:
        """The lists with the nearest centres: at least ``probes``, and enough that k is a small share of what they hold."""
        near = np.argsort(-(self._centres @ query), kind="stable")
        enough = int(np.searchsorted(np.cumsum(self._sizes[near]), LEAST_SCANNED * k)) + 1
        return np.sort(near[: max(self._probes, enough)])


def _means(vectors: Vectors, starts: NDArray[np.int64]) -> Vectors:
    """The mean vector of each list."""
    if not len(starts):
        return np.empty((0, vectors.shape[1]), np.float32)
    sums = np.add.reduceat(vectors, starts, axis=0)
    return (sums / np.diff(np.append(starts, len(vectors)))[:, None]).astype(np.float32)
