"""Isotonic calibration: a score's rank is trusted, its level is corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
ROWS_PER_BIN = 200
"""Rows are pooled by this many first: one lucky row must not make a head's top end."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A rising line through (score, observed) knots; scores beyond the ends take the end's value."""

    scores: Column
    levels: Column

    def __call__(self, scores: Column) -> Column:
        return np.interp(scores, self.scores, self.levels)


def isotonic_curve(scores: Column, outcomes: Column, low: float, high: float, top: float) -> Curve:
    """Which rising line best explains the outcomes?

    Pools neighbours that fall (PAV) and joins the middles of the blocks, so that two different scores stay different.

    Args:
        scores: What the model said.
        outcomes: What happened.
        low: Score that is held to mean 0.
        high: The largest score there can be.
        top: The largest level there can be.
    """
    order = np.argsort(scores, kind="stable")
    bins = np.array_split(order, max(1, len(order) // ROWS_PER_BIN))
    blocks = _pool([(float(scores[b].sum()), float(outcomes[b].sum()), len(b)) for b in bins if len(b)])
    middles = np.array([b[0] / b[2] for b in blocks])
    levels = np.array([b[1] / b[2] for b in blocks])
    kept = (middles > low) & (middles < high) & (levels > 0) & (levels < top)
    middles, levels = middles[kept], levels[kept]
    # Above the last block the line goes on in proportion, so that the very best still stand above the merely good.
    end = min(top, float(levels[-1] * high / middles[-1])) if len(levels) else top
    return Curve(np.concatenate([[low], middles, [high]]), np.concatenate([[0.0], levels, [end]]))


def _pool(bins: list[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    """Merges neighbours until the observed level rises; a block is (sum of scores, sum of outcomes, rows)."""
    blocks: list[tuple[float, float, int]] = []
    for total, hits, size in bins:
        while blocks and blocks[-1][1] * size >= hits * blocks[-1][2]:
            before = blocks.pop()
            total, hits, size = total + before[0], hits + before[1], size + before[2]
        blocks.append((total, hits, size))
    return blocks
