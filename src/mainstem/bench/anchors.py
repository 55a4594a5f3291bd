"""The lines everybody's table has: popularity, and EASE as the check that our evaluator counts as others do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.data.sequences import Sequences

EASE_RIDGE: Final = 500.0
EASE_MOST_ITEMS: Final = 6_000
"""Above, the inverse of a dense items x items matrix costs minutes and gigabytes: the row says so instead."""


@dataclass(frozen=True, slots=True)
class Popularity:
    """Everybody gets what was taken most.

    Shapes: ``counts[items]``.
    """

    counts: NDArray[np.float32]
    name: str = "popularity"

    @classmethod
    def fit(cls, told: Sequences) -> Popularity:
        """Counts of all events."""
        return cls(np.bincount(told.rows, minlength=told.items).astype(np.float32))

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """The same line for every history."""
        return np.tile(self.counts, (len(histories), 1))


@dataclass(frozen=True, slots=True)
class Ease:
    """Items explained by all other items, in closed form.

    Shapes: ``weights[items, items]``, zero on the diagonal. Source: Steck, Embarrassingly shallow autoencoders, WWW 2019.
    """

    weights: NDArray[np.float32]
    name: str = "EASE"

    @classmethod
    def fit(cls, told: Sequences, ridge: float = EASE_RIDGE) -> Ease:
        """The inverse of the ridged Gram matrix, its columns over their diagonal."""
        taken = _taken(told)
        gram = (taken.T @ taken).astype(np.float64)
        gram[np.diag_indices_from(gram)] += ridge
        inverse = np.linalg.inv(gram)
        weights = (inverse / -np.diag(inverse)).astype(np.float32)
        np.fill_diagonal(weights, 0.0)
        return cls(weights)

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """The sum of what each taken item says."""
        return _taken(histories) @ self.weights


def _taken(told: Sequences) -> NDArray[np.float32]:
    """Users by items, 1 where taken."""
    out = np.zeros((len(told), told.items), np.float32)
    out[np.repeat(np.arange(len(told)), told.lengths), told.rows] = 1.0
    return out
