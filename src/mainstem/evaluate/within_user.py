"""How each user's own rows are ordered by a score, with ties shared out: what GAUC and nDCG are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class WithinUser:
    """Where each row stands among its user's rows, lowest score first; equal scores share a run of places.

    Shapes: all ``[n]``, in sorted order. ``rows`` are positions in the arrays that were sorted, ``low`` and ``high`` are
    the run's first place and the place after its last, counted from 0 at the user's lowest score; ``size`` is how many
    rows the user has.
    """

    rows: NDArray[np.int64]
    user: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    size: NDArray[np.int64]

    def mid_ranks(self) -> NDArray[np.float64]:
        """The 1-based rank of each row within its user, the mean of the run's places where scores are equal."""
        return (self.low + self.high + 1) / 2


def within_user(users: Ints, scores: Floats) -> WithinUser:
    """How every user's rows are ordered by score.

    Args:
        users: A number for each row; need not be dense.
        scores: Higher is better.
    """
    rows = np.lexsort((scores, users))
    user, score = np.asarray(users, np.int64)[rows], scores[rows]
    n = len(rows)
    new_user = np.ones(n, bool)
    new_user[1:] = user[1:] != user[:-1]
    new_run = new_user.copy()
    new_run[1:] |= score[1:] != score[:-1]
    run_low, run_high = _spans(new_run, n)
    user_low, user_high = _spans(new_user, n)
    return WithinUser(rows=rows, user=user, low=run_low - user_low, high=run_high - user_low, size=user_high - user_low)


def _spans(starts: NDArray[np.bool_], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row the first position of its span and the position after the span's last."""
    first = np.flatnonzero(starts)
    length = np.diff(np.append(first, n))
    return np.repeat(first, length), np.repeat(first + length, length)


def sums_by(groups: Ints, weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The sum of the weights in each of ``count`` groups."""
    return np.asarray(np.bincount(groups, weights=weights, minlength=count), np.float64)


def mid_ranks(scores: Floats) -> NDArray[np.float64]:
    """The 1-based rank of each score over all rows, lowest first; equal scores share the mean of their ranks."""
    order, low, high = tied_runs(scores)
    ranks = np.empty(len(order), np.float64)
    ranks[order] = (low + high + 1) / 2
    return ranks


def tied_runs(scores: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The rows in the order of their scores, lowest first, and for each the span of places its equals take."""
    order = np.argsort(scores)
    ranked = scores[order]
    starts = np.ones(len(order), bool)
    starts[1:] = ranked[1:] != ranked[:-1]
    return order, *_spans(starts, len(order))


def mid_ranks_within(users: Ints, scores: Floats) -> NDArray[np.float64]:
    """The 1-based rank of each row among its user's rows, lowest first, in the order of the rows that were given."""
    sorted_rows = within_user(users, scores)
    ranks = np.empty(len(sorted_rows.rows), np.float64)
    ranks[sorted_rows.rows] = sorted_rows.mid_ranks()
    return ranks
