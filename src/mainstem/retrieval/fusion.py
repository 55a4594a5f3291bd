"""What a place on each source's list is worth: curves fitted to who really took what, so that sources of any kind add up.

The log odds that a viewer takes a candidate are a sum over sources: how much it says that this source has it at this rank, beside
what the other sources say. Fitted jointly, so that two sources that agree because they are alike do not count twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.base.request import Rows
from mainstem.base.seeds import uniforms

Doubles = NDArray[np.float64]

DEPTH: Final = 1_000
"""Ranks a curve is written out for; beyond, its last value holds."""
STRENGTH: Final = 5.0
"""How strongly a curve is drawn to "says nothing" where few have been seen there."""
LEAST_TARGETS: Final = 50
"""Fewer taken candidates than this cannot shape a curve for each source."""
_NEGATIVES: Final = 8
"""One candidate in so many that were not taken is learned from, and counts for all of them."""
_ROUNDS: Final = 12
_FIRST: Final = np.unique(np.round(np.geomspace(1, 500, 14)).astype(np.int64)) - 1
"""The rank at which each bucket begins; ranks are pooled more widely further down."""


@dataclass(frozen=True, slots=True)
class Lists:
    """What the sources offered for one request, and what the viewer then took.

    Attributes:
        found: The rows of each source, best first.
        taken: The rows the viewer took.
    """

    found: tuple[Rows, ...]
    taken: Rows


@dataclass(frozen=True, slots=True)
class Curves:
    """The worth of every rank of every source, in log odds.

    Shapes: ``worth[sources, ranks]``, never rising with the rank.

    Attributes:
        base: Log odds of a candidate of whom the sources say nothing.
    """

    sources: tuple[str, ...]
    worth: Doubles
    base: float

    def of(self, source: str) -> Doubles | None:
        """The curve of one source; None when it was not there at the fit."""
        return self.worth[self.sources.index(source)] if source in self.sources else None


def fit_curves(sources: Sequence[str], lists: Sequence[Lists], seed: int = 0) -> Curves:
    """The curves under which what was taken is most likely; each made to never rise with the rank.

    Args:
        sources: Names, in the order of ``Lists.found``.
        lists: Held-out requests: what the sources say must not have been learned from them.
        seed: Chooses which candidates that were not taken are learned from.

    Raises:
        RetrievalError: Too few candidates were taken to tell (``retrieval-071``).

    Source: additive logistic model by penalised Newton steps (Hastie, Tibshirani 1990), then pool adjacent violators (Ayer et al.
    1955).
    """
    bucket, taken, weight = _table(len(sources), lists, seed)
    if int(taken.sum()) < LEAST_TARGETS:
        raise RetrievalError(
            f"found {int(taken.sum())} taken candidates among the lists of {len(lists)} requests, expected {LEAST_TARGETS} "
            "to shape the fusion by",
            code="retrieval-071",
            hint="more held-out days, or sources that find more; until then candidates are joined by reciprocal rank",
        )
    value = _fitted(bucket, taken, weight, len(sources))
    worth = np.stack([_curve(value, bucket[:, at], weight, at) for at in range(len(sources))])
    return Curves(tuple(sources), worth, float(value[-1]))


def _table(sources: int, lists: Sequence[Lists], seed: int) -> tuple[NDArray[np.int64], Doubles, Doubles]:
    """Every candidate of every request: its bucket at each source (-1: not offered), taken or not, and what it counts."""
    buckets, taken, weights = [], [], []
    for number, one in enumerate(lists):
        rows, inverse = np.unique(np.concatenate(one.found), return_inverse=True)
        rank = np.concatenate([np.arange(len(found)) for found in one.found])
        source = np.repeat(np.arange(sources), [len(found) for found in one.found])
        matrix = np.full((len(rows), sources), -1, np.int64)
        matrix[inverse, source] = np.searchsorted(_FIRST, rank, side="right") - 1
        was_taken = np.isin(rows, one.taken)
        kept = was_taken | (uniforms(seed, number, rows.astype(np.int64)) < 1 / _NEGATIVES)
        buckets.append(matrix[kept])
        taken.append(was_taken[kept].astype(np.float64))
        weights.append(np.where(was_taken[kept], 1.0, float(_NEGATIVES)))
    if not buckets:
        return np.empty((0, sources), np.int64), np.empty(0), np.empty(0)
    return np.concatenate(buckets), np.concatenate(taken), np.concatenate(weights)


def _fitted(bucket: NDArray[np.int64], taken: Doubles, weight: Doubles, sources: int) -> Doubles:
    """One number for each bucket of each source, and the base last: penalised Newton steps."""
    size = sources * len(_FIRST)
    none = size + 1
    columns = [np.where(bucket[:, at] < 0, none, at * len(_FIRST) + bucket[:, at]) for at in range(sources)]
    columns.append(np.full(len(taken), size))
    value = np.zeros(size + 2)
    rate = float((weight * taken).sum() / weight.sum())
    value[size] = np.log(rate / (1.0 - rate))
    penalty = np.full(size + 1, STRENGTH)
    penalty[size] = 1e-6
    for _ in range(_ROUNDS):
        odds = np.sum([value[one] for one in columns], axis=0)
        chance = 1.0 / (1.0 + np.exp(-odds))
        slope, gradient = np.zeros((size + 2) ** 2), np.zeros(size + 2)
        curvature, error = weight * chance * (1.0 - chance), weight * (taken - chance)
        for one in columns:
            gradient += np.bincount(one, error, size + 2)
            for other in columns:
                slope += np.bincount(one * (size + 2) + other, curvature, (size + 2) ** 2)
        square = slope.reshape(size + 2, size + 2)[: size + 1, : size + 1] + np.diag(penalty)
        step = np.linalg.solve(square, gradient[: size + 1] - penalty * value[: size + 1])
        value[: size + 1] += np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-4:
            break
    return value[: size + 1]


def _curve(value: Doubles, bucket: NDArray[np.int64], weight: Doubles, source: int) -> Doubles:
    """The worth of every rank of one source, through the middles of its buckets."""
    part = value[source * len(_FIRST) : (source + 1) * len(_FIRST)]
    rows = np.bincount(bucket[bucket >= 0], weight[bucket >= 0], len(_FIRST)).astype(np.float64)
    level = -never_falling(-part, rows + 1e-9)
    middle = (_FIRST + np.append(_FIRST[1:], DEPTH) - 1) / 2
    return np.interp(np.log1p(np.arange(DEPTH)), np.log1p(middle), level)


def never_falling(values: Doubles, weights: Doubles) -> Doubles:
    """The sequence nearest to ``values`` in weighted squares among those that never fall: pool adjacent violators."""
    level: list[float] = []
    mass: list[float] = []
    size: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        level.append(value)
        mass.append(weight)
        size.append(1)
        while len(level) > 1 and level[-2] > level[-1]:
            last, heavy, many = level.pop(), mass.pop(), size.pop()
            level[-1] = (level[-1] * mass[-1] + last * heavy) / (mass[-1] + heavy)
            mass[-1] += heavy
            size[-1] += many
    return np.repeat(level, size)
