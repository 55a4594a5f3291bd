"""The increasing curve that fits best: pool adjacent violators, smoothed so that no two predictions change places."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

GROUPS: Final = 512
"""Rows are pooled into at most this many groups of neighbours before violators are looked for."""

TRUST: Final = 10.0
"""With how many rows of what was predicted each block of equal rate is mixed, so that no rate is 0 or 1."""


def pool_adjacent_violators(values: Doubles, weights: Doubles) -> tuple[Doubles, NDArray[np.int64]]:
    """The increasing sequence nearest to ``values`` in weighted squares.

    Args:
        values: In the order in which they should increase.
        weights: What each counts; all above 0.

    Returns:
        The value of each block, and where each block begins.

    Source: Ayer et al., Annals of Mathematical Statistics 1955; one pass with a stack.
    """
    level: list[float] = []
    mass: list[float] = []
    start: list[int] = []
    for at, (value, weight) in enumerate(zip(values.tolist(), weights.tolist(), strict=True)):
        level.append(value)
        mass.append(weight)
        start.append(at)
        while len(level) > 1 and level[-2] >= level[-1]:
            last, heavy = level.pop(), mass.pop()
            start.pop()
            both = mass[-1] + heavy
            level[-1] = (level[-1] * mass[-1] + last * heavy) / both
            mass[-1] = both
    return np.array(level), np.array(start, np.int64)


def isotonic_odds(odds: Doubles, labels: Doubles, grid: Doubles) -> Doubles:
    """Log odds that come true at each place of the grid: linear between the blocks' centres, of slope 1 outside them.

    Args:
        odds: Log odds as predicted.
        labels: 0 or 1, one a row.
        grid: Where the curve is asked for, increasing.

    Shapes: ``odds[n]``, ``labels[n]``, ``grid[g]`` to ``[g]``. The answer need not be strictly increasing yet.
    """
    order = np.argsort(odds, kind="stable")
    x, y = odds[order], labels[order]
    first_equal = np.searchsorted(x, x, side="left")
    _, group = np.unique(first_equal * min(GROUPS, len(x)) // len(x), return_inverse=True)
    rows = np.bincount(group).astype(np.float64)
    _, start = pool_adjacent_violators(np.bincount(group, y) / rows, rows)
    n = np.add.reduceat(rows, start)
    centre = np.add.reduceat(np.bincount(group, x), start) / n
    predicted = np.add.reduceat(np.bincount(group, 1.0 / (1.0 + np.exp(-x))), start)
    positives = np.add.reduceat(np.bincount(group, y), start)
    rate = (positives + TRUST * predicted / n) / (n + TRUST)
    rate = np.clip(np.maximum.accumulate(rate), 1e-7, 1.0 - 1e-7)
    height = np.log(rate / (1.0 - rate))
    inside = np.interp(grid, centre, height)
    return inside + np.minimum(grid - centre[0], 0.0) + np.maximum(grid - centre[-1], 0.0)


def strictly_increasing(table: Doubles, grid: Doubles, slope: float) -> Doubles:
    """The table raised where it rises by less than ``slope`` a unit of the grid: ties of a block keep the order they had.

    Shapes: ``table[g]``, ``grid[g]`` to ``[g]``.
    """
    return np.maximum.accumulate(table - slope * grid) + slope * grid
