"""Which rows have the largest scores, best first, without sorting what is not wanted."""

from __future__ import annotations

from typing import Final

import numpy as np

from mainstem.base.order import best_first
from mainstem.base.request import Floats, Found, Rows

_STRIDE: Final = 64
"""One score in this many is looked at to guess where the top k begin."""


def top_k(scores: Floats, k: int) -> Rows:
    """Positions of the k largest scores, best first; ties go to the smaller position. Scores of minus infinity are left out.

    A strided sample guesses a threshold a little too low, so that only a few scores are partitioned; when the guess is too high,
    all of them are.
    """
    k = min(k, len(scores))
    if k <= 0:
        return np.empty(0, np.int64)
    near = _near_the_top(scores, k)
    best = scores[near]
    if len(near) > k:
        bound = np.partition(best, len(best) - k)[len(best) - k]
        near = near[best >= bound]
        best = scores[near]
    order = best_first(best, near)[:k]
    chosen = near[order]
    return chosen[best[order] > -np.inf]


def _near_the_top(scores: Floats, k: int) -> Rows:
    sample = scores[::_STRIDE]
    wanted = int(1.3 * k / _STRIDE) + 6
    if len(sample) > 4 * wanted:
        threshold = np.partition(sample, len(sample) - wanted)[len(sample) - wanted]
        near = np.flatnonzero(scores >= threshold)
        if len(near) >= k:
            return near
    return np.arange(len(scores))


def nearest(vectors: Floats, query: Floats, k: int) -> Found:
    """The k items whose vectors have the largest inner product with the query: exact, one pass over all of them.

    Shapes: ``vectors[n, d]`` C-ordered, ``query[d]``. Below about a million items this beats graph indexes for a deep top k.
    """
    scores = vectors @ query
    rows = top_k(scores, k)
    return Found(rows=rows, scores=scores[rows])
