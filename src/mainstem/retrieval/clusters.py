"""Which interest an item belongs to: clusters of item vectors, the same for the same seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats


def interest_clusters(vectors: Floats, clusters: int, seed: int, rounds: int = 12) -> NDArray[np.int64]:
    """A cluster code for each item by k-means on unit vectors; items without a vector (all zeros) get -1.

    Args:
        vectors: [n, d].
        clusters: Most clusters; fewer when there are fewer items.
        seed: Chooses the first centres.
        rounds: Of assignment and averaging; fixed, so that the answer does not depend on a tolerance.

    Source: Lloyd 1982, with centres on the unit sphere (Dhillon, Modha 2001).
    """
    length = np.linalg.norm(vectors, axis=1)
    has = np.flatnonzero(length > 0)
    codes = np.full(len(vectors), -1, np.int64)
    if not len(has):
        return codes
    unit = (vectors[has] / length[has, None]).astype(np.float32)
    random = np.random.default_rng(seed)
    centres = unit[random.choice(len(unit), min(clusters, len(unit)), replace=False)]
    nearest = np.zeros(len(unit), np.int64)
    for _ in range(rounds):
        nearest = (unit @ centres.T).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, unit)
        norm = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(norm > 0, sums / np.maximum(norm, 1e-12), centres)
    codes[has] = nearest
    return codes
