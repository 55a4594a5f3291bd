"""How sure a number is: intervals by resampling users, paired over arms, and Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.base.seeds import uniforms
from mainstem.evaluate.metrics import Ratio

LEVEL = 0.95
RESAMPLES = 1_000
_CHUNK_WEIGHTS = 1 << 20
"""Weights drawn at a time; they stay in cache and memory stays small."""
_MOST_EMPTY_SHARE = 0.05
"""A metric that more resamples than this cannot compute has too few users for an interval."""
_NOTHING = 1e-12
"""Sums this small are rounding: a difference of equal arms is 0 and not 5e-17, or it would pass for a gain."""
_POISSON_CDF = np.cumsum(np.exp(-1.0) / np.cumprod(np.concatenate([[1.0], np.arange(1.0, 13.0)])))


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its bounds: ``low`` and ``high`` of a two-sided interval at ``level``, around the measured ``mid``.

    ``n`` is how many users (or other independent units) it rests on, ``source`` how it was made.
    """

    low: float
    mid: float
    high: float
    level: float
    n: int
    source: str


def poisson_weights(seed: int, resamples: NDArray[np.int64], user_ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often each resample draws each user: Poisson(1), fixed by (seed, resample, user id) alone.

    Fixed by ids, so arms, metrics and slices are resampled together (paired), in whatever order the rows stand.

    Shapes: ``[resamples, users]``. Source: Chamandy et al., Estimating uncertainty for massive data streams, 2012.
    """
    drawn = uniforms(seed, resamples[:, None], user_ids[None, :])
    return np.searchsorted(_POISSON_CDF, drawn, side="right").astype(np.float64)


@dataclass(frozen=True, slots=True)
class Resampled:
    """Metrics at the users as they are and in every resample of them, so that any difference is a subtraction.

    Shapes: ``measured[metrics]``, ``draws[resamples, metrics]`` (NaN where a resample cannot compute it),
    ``n[metrics]`` users.
    """

    measured: NDArray[np.float64]
    draws: NDArray[np.float64]
    n: NDArray[np.int64]
    source: str

    def interval(self, weights: ArrayLike, level: float = LEVEL) -> Interval | None:
        """Where a weighted sum of the metrics lies, by percentiles; None when too few users can tell.

        Args:
            weights: One per metric; ``[1, -1]`` is the paired difference of two, ``[.5, .5]`` the mean of two.
        """
        weight = np.asarray(weights, np.float64)
        used = weight != 0
        drawn = self._draws(weight)
        if drawn is None:
            return None
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        mid = _settled(self.measured[used] @ weight[used])
        return Interval(float(low), float(mid), float(high), level, int(self.n[used].min()), self.source)

    def p_below(self, weights: ArrayLike, bound: float = 0.0) -> float | None:
        """One-sided p of "the weighted sum is at most ``bound``": small when it is surely above."""
        drawn = self._draws(np.asarray(weights, np.float64))
        return None if drawn is None else float((1 + (drawn <= bound).sum()) / (1 + len(drawn)))

    def p_above(self, weights: ArrayLike, bound: float = 0.0) -> float | None:
        """One-sided p of "the weighted sum is at least ``bound``": small when it is surely below."""
        drawn = self._draws(np.asarray(weights, np.float64))
        return None if drawn is None else float((1 + (drawn >= bound).sum()) / (1 + len(drawn)))

    def _draws(self, weight: NDArray[np.float64]) -> NDArray[np.float64] | None:
        used = weight != 0
        drawn = _settled(self.draws[:, used] @ weight[used])
        known = drawn[~np.isnan(drawn)]
        if np.isnan(self.measured[used]).any() or len(known) < (1 - _MOST_EMPTY_SHARE) * len(drawn):
            return None
        return known


def resample(
    metrics: Sequence[Ratio], user_ids: NDArray[np.int64], *, seed: int = 0, resamples: int = RESAMPLES
) -> Resampled:
    """What the metrics would have been with other users: whole users are drawn, all metrics from the same draw.

    Args:
        metrics: Sums per user; the arrays stand in the order of ``user_ids``.
        user_ids: The ids the draws are keyed by.
        seed: Same seed, same draws.
        resamples: How many.
    """
    columns, over, under = _distinct_columns(metrics, len(user_ids))
    sums = np.empty((resamples, columns.shape[1]))
    step = max(1, _CHUNK_WEIGHTS // max(1, len(user_ids)))
    for start in range(0, resamples, step):
        part = np.arange(start, min(start + step, resamples), dtype=np.int64)
        sums[part] = poisson_weights(seed, part, user_ids) @ columns
    total = columns.sum(axis=0)
    return Resampled(
        measured=_divide(total[over], total[under]),
        draws=_divide(sums[:, over], sums[:, under]),
        n=np.array([int((metric.under > 0).sum()) for metric in metrics], np.int64),
        source=f"bootstrap over users, Poisson weights, {resamples} resamples, seed {seed}",
    )


def _distinct_columns(
    metrics: Sequence[Ratio], users: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Every distinct array once (arms share their denominators), and which two columns each metric is made of."""
    places: dict[bytes, int] = {}
    arrays: list[NDArray[np.float64]] = []

    def place(array: NDArray[np.float64]) -> int:
        key = array.tobytes()
        if key not in places:
            places[key] = len(arrays)
            arrays.append(array)
        return places[key]

    over = np.array([place(metric.over) for metric in metrics], np.int64)
    under = np.array([place(metric.under) for metric in metrics], np.int64)
    columns = np.stack(arrays, axis=1) if arrays else np.zeros((users, 0))
    return np.ascontiguousarray(columns), over, under


def _settled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values with rounding noise around 0 taken out."""
    return np.where(np.abs(values) < _NOTHING, 0.0, values)


def _divide(over: NDArray[np.float64], under: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(over, under, out=np.full(over.shape, np.nan), where=under > 0)


def paired_difference(
    first: Ratio, second: Ratio, user_ids: NDArray[np.int64], *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval | None:
    """By how much one arm's metric is above another's on the same users; None when too few users can tell."""
    return resample([first, second], user_ids, seed=seed, resamples=resamples).interval([1, -1])


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """P-values adjusted for having looked at all of them: each is judged against the level as if it stood alone.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
