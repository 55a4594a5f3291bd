"""Which items are liked by the same people, as short vectors: a truncated SVD without a sparse-matrix package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def co_engagement(
    users: NDArray[np.int32], items: NDArray[np.int32], n_users: int, n_items: int, dim: int, seed: int
) -> NDArray[np.float32]:
    """One vector an item from (user, item) pairs: the top right singular vectors of the damped pair matrix.

    A pair weighs 1 / sqrt(items of the user · items' popularity ^ 0.5), so that neither heavy users nor hits dominate.

    Source: randomised range finder (Halko, Martinsson, Tropp, SIAM Review 2011), four power iterations.
    """
    if len(users) == 0:
        return np.zeros((n_items, dim), np.float32)
    by_user, by_item = np.argsort(users, kind="stable"), np.argsort(items, kind="stable")
    per_user = np.bincount(users, minlength=n_users).astype(np.float64)
    per_item = np.bincount(items, minlength=n_items).astype(np.float64)
    weight = (1.0 / np.sqrt(per_user[users] * np.sqrt(per_item[items]))).astype(np.float32)

    def times(right: NDArray[np.float32]) -> NDArray[np.float32]:
        return _grouped(right[items[by_user]] * weight[by_user, None], users[by_user], n_users)

    def back(left: NDArray[np.float32]) -> NDArray[np.float32]:
        return _grouped(left[users[by_item]] * weight[by_item, None], items[by_item], n_items)

    width = min(dim + 8, n_items, n_users)
    basis = np.random.default_rng(seed).standard_normal((n_items, width)).astype(np.float32)
    for _ in range(4):
        basis = np.linalg.qr(back(times(basis)))[0].astype(np.float32)
    _, scale, right = np.linalg.svd(times(basis), full_matrices=False)
    vectors = np.zeros((n_items, dim), np.float32)
    kept = min(dim, width)
    vectors[:, :kept] = (basis @ right[:kept].T) * np.sqrt(scale[:kept]) * np.sqrt(n_items)
    return vectors


def _grouped(values: NDArray[np.float32], groups: NDArray[np.int32], n: int) -> NDArray[np.float32]:
    """Sums of consecutive rows that share a group; groups are sorted."""
    out = np.zeros((n, values.shape[1]), np.float32)
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    out[groups[starts]] = np.add.reduceat(values, starts, axis=0)
    return out
