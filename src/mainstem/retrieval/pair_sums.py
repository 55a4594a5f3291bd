"""How often do two items lie near each other in somebody's history, and how often does one follow the other.

A sequential linear model learns "the decayed future from the decayed past". With exponential decay both of its sums,
``P'P`` and ``P'F`` over all places of all users, depend on the gap of two events alone (``gap_weights``), so one pass over
pairs of events makes them: no matrix of places is ever built, and the events of a new day are added to yesterday's sums.

Source: Gauss's normal equations; item-to-item linear models as in Steck, Embarrassingly Shallow Autoencoders, WWW 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import Sequences

WINDOW = 64
"""Events further apart than this say nothing about each other."""
DENSE_MOST = 6_000
"""Up to so many items the sums are plain matrices; beyond, only pairs that were met are held."""
_NEGLIGIBLE = 1e-4

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decay:
    """How fast the past is forgotten and how far the future counts, as half-lives in events."""

    past: float
    future: float
    window: int = WINDOW

    def __post_init__(self) -> None:
        if not (self.past > 0 and self.future > 0 and self.window >= 1):
            raise RetrievalError(
                f"found the half-lives {self.past} and {self.future} and a window of {self.window}, expected them above 0",
                code="retrieval-010",
                hint="half-lives are counted in events, for example past=3, future=0.5",
            )


def gap_weights(decay: Decay) -> tuple[Floats, Floats]:
    """What a pair of events so many places apart adds to ``P'P`` and to ``P'F``; gaps of no weight are cut off.

    With p and f the decay per place, a pair n places apart adds ``p^n / (1 - p^2)`` to the first (the geometric sum of all
    places after both, run on past the end of the history) and ``sum p^a f^(n - 1 - a)`` to the second.

    Shapes: [gaps + 1] each, from gap 0.
    """
    n = np.arange(decay.window + 1, dtype=np.float64)
    p, f = 2.0 ** (-1.0 / decay.past), 2.0 ** (-1.0 / decay.future)
    near = p**n / (1.0 - p * p)
    follow = n * p ** np.maximum(n - 1, 0) if abs(p - f) < 1e-9 else (p**n - f**n) / (p - f)
    follow[0] = 0.0
    used = int(np.flatnonzero((near > _NEGLIGIBLE * near[0]) | (follow > _NEGLIGIBLE * follow.max()))[-1])
    return near[: used + 1].astype(np.float32), follow[: used + 1].astype(np.float32)


@dataclass(frozen=True, slots=True)
class PairSums:
    """``near`` = P'P (symmetric) and ``follow`` = P'F (row: the item before; column: the one after).

    Attributes:
        starts, columns: Where dense, both are empty and the sums are matrices. Otherwise row i holds the pairs
            ``starts[i]`` to ``starts[i + 1]`` with their columns rising, the same for both sums.
        taken: How often each item was taken.

    Shapes: dense ``near[items, items]``, ``follow[items, items]``; sparse ``[pairs]`` each.
    """

    decay: Decay
    items: int
    near: Floats
    follow: Floats
    taken: NDArray[np.int64]
    starts: NDArray[np.int64]
    columns: NDArray[np.int32]

    @property
    def is_dense(self) -> bool:
        """Are the sums plain matrices?"""
        return self.near.ndim == 2

    def matrices(self) -> tuple[Floats, Floats]:
        """Both sums as fresh matrices that the caller may overwrite."""
        if self.is_dense:
            return self.near.copy(), self.follow.copy()
        near, follow = np.zeros((2, self.items, self.items), np.float32)
        rows = np.repeat(np.arange(self.items), np.diff(self.starts))
        near[rows, self.columns] = self.near
        follow[rows, self.columns] = self.follow
        return near, follow

    def plus(self, more: PairSums) -> PairSums:
        """The sums over both sets of events; new items may have been added at the end.

        Raises:
            RetrievalError: ``retrieval-011`` when they do not forget alike, or when items went away.
        """
        if more.decay != self.decay or more.items < self.items:
            raise RetrievalError(
                f"found sums with {more.decay} over {more.items} items, expected {self.decay} over {self.items} or more",
                code="retrieval-011",
                hint="items are only ever added at the end; another decay needs its sums from the start",
            )
        taken = more.taken.copy()
        taken[: self.items] += self.taken
        if self.is_dense and more.is_dense:
            near, follow = more.near.copy(), more.follow.copy()
            near[: self.items, : self.items] += self.near
            follow[: self.items, : self.items] += self.follow
            return PairSums(self.decay, more.items, near, follow, taken, self.starts, self.columns)
        one, two = self._sparse(), more._sparse()
        starts = np.concatenate([one.starts, np.full(two.items - one.items, one.starts[-1])])
        merged = _merge(starts, one.columns, one.near, one.follow, two.starts, two.columns, two.near, two.follow)
        return PairSums(self.decay, two.items, merged[2], merged[3], taken, merged[0], merged[1])

    def _sparse(self) -> PairSums:
        if not self.is_dense:
            return self
        rows, columns = np.nonzero((self.near != 0) | (self.follow != 0))
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=self.items))]).astype(np.int64)
        near, follow = self.near[rows, columns], self.follow[rows, columns]
        return PairSums(self.decay, self.items, near, follow, self.taken, starts, columns.astype(np.int32))


def pair_sums(
    sequences: Sequences,
    decay: Decay,
    *,
    begins: NDArray[np.int64] | None = None,
    dense_most: int = DENSE_MOST,
) -> PairSums:
    """The sums of these sequences, or only of the pairs whose later event is new.

    Args:
        begins: For each user the place in its row from which events are new; the earlier ones only give the pairs their
            other end. ``old.plus(pair_sums(grown, decay, begins=old lengths))`` equals the sums of all at once.
        dense_most: Up to how many items the sums are plain matrices.
    """
    near, follow = gap_weights(decay)
    first = np.zeros(len(sequences), np.int64) if begins is None else np.asarray(begins, np.int64)
    n = sequences.items
    new = np.arange(len(sequences.rows)) >= np.repeat(sequences.starts[:-1] + first, sequences.lengths)
    taken = np.bincount(sequences.rows[new], minlength=n).astype(np.int64)
    if n <= dense_most:
        a, b = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
        _accumulate(sequences.starts, sequences.rows, first, near, follow, a, b)
        return PairSums(decay, n, a, b, taken, np.zeros(0, np.int64), np.zeros(0, np.int32))
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    places = np.argsort(sequences.rows, kind="stable")
    at = np.concatenate([[0], np.cumsum(np.bincount(sequences.rows, minlength=n))]).astype(np.int64)
    arrays = (sequences.starts, sequences.rows, owner, first, near, follow, places, at)
    starts = np.concatenate([[0], np.cumsum(_count(*arrays))]).astype(np.int64)
    columns = np.empty(starts[-1], np.int32)
    values = np.empty((2, starts[-1]), np.float32)
    _fill(*arrays, starts, columns, values[0], values[1])
    return PairSums(decay, n, values[0], values[1], taken, starts, columns)


@njit(cache=True, nogil=True)
def _accumulate(starts: Any, rows: Any, first: Any, near: Any, follow: Any, a: Any, b: Any) -> None:
    """Adds every pair whose later event is new to two matrices."""
    reach = len(near) - 1
    for u in range(len(starts) - 1):
        for t in range(starts[u] + first[u], starts[u + 1]):
            j = rows[t]
            a[j, j] += near[0]
            for s in range(max(starts[u], t - reach), t):
                i = rows[s]
                a[i, j] += near[t - s]
                a[j, i] += near[t - s]
                b[i, j] += follow[t - s]


@njit(cache=True, nogil=True)
def _one_row(
    i: int, starts: Any, rows: Any, owner: Any, first: Any, near: Any, follow: Any, places: Any, at: Any,
    a: Any, b: Any, met: Any, mark: Any,
) -> int:  # fmt: skip
    """One item's row of both sums in scratch vectors; returns how many columns were met (named in ``met``)."""
    reach = len(near) - 1
    n = 0
    for place in range(at[i], at[i + 1]):
        t = places[place]
        u = owner[t]
        new = starts[u] + first[u]
        for s in range(max(starts[u], t - reach), min(starts[u + 1], t + reach + 1)):
            if max(s, t) < new:
                continue
            j = rows[s]
            if mark[j] != i:
                mark[j] = i
                met[n] = j
                n += 1
                a[j] = 0.0
                b[j] = 0.0
            a[j] += near[abs(t - s)]
            if s > t:
                b[j] += follow[s - t]
    return n


@njit(cache=True, nogil=True)
def _count(starts: Any, rows: Any, owner: Any, first: Any, near: Any, follow: Any, places: Any, at: Any) -> Any:
    """How many columns each row has."""
    n = len(at) - 1
    a, b = np.empty(n, np.float32), np.empty(n, np.float32)
    met, mark, counts = np.empty(n, np.int32), np.full(n, -1), np.zeros(n, np.int64)
    for i in range(n):
        counts[i] = _one_row(i, starts, rows, owner, first, near, follow, places, at, a, b, met, mark)
    return counts


@njit(cache=True, nogil=True)
def _fill(
    starts: Any, rows: Any, owner: Any, first: Any, near: Any, follow: Any, places: Any, at: Any,
    out: Any, columns: Any, near_out: Any, follow_out: Any,
) -> None:  # fmt: skip
    """Writes each row's columns, rising, and both sums."""
    n = len(at) - 1
    a, b = np.empty(n, np.float32), np.empty(n, np.float32)
    met, mark = np.empty(n, np.int32), np.full(n, -1)
    for i in range(n):
        found = _one_row(i, starts, rows, owner, first, near, follow, places, at, a, b, met, mark)
        chosen = np.sort(met[:found])
        for k in range(found):
            j = chosen[k]
            columns[out[i] + k] = j
            near_out[out[i] + k] = a[j]
            follow_out[out[i] + k] = b[j]


@njit(cache=True, nogil=True)
def _merge(starts: Any, columns: Any, a: Any, b: Any, starts2: Any, columns2: Any, a2: Any, b2: Any) -> Any:
    """Two sparse sums as one, row by row."""
    n = len(starts2) - 1
    most = len(columns) + len(columns2)
    out = np.zeros(n + 1, np.int64)
    merged, ma, mb = np.empty(most, np.int32), np.empty(most, np.float32), np.empty(most, np.float32)
    k = 0
    for i in range(n):
        x, y = starts[i], starts2[i]
        while x < starts[i + 1] or y < starts2[i + 1]:
            left = y >= starts2[i + 1] or (x < starts[i + 1] and columns[x] <= columns2[y])
            right = x >= starts[i + 1] or (y < starts2[i + 1] and columns2[y] <= columns[x])
            merged[k] = columns[x] if left else columns2[y]
            ma[k] = (a[x] if left else 0.0) + (a2[y] if right else 0.0)
            mb[k] = (b[x] if left else 0.0) + (b2[y] if right else 0.0)
            x += left
            y += right
            k += 1
        out[i + 1] = k
    return out, merged[:k].copy(), ma[:k].copy(), mb[:k].copy()
