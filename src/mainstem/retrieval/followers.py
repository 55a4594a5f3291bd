"""Which items follow an item, the strongest few hundred of each: what a fitted linear model keeps and serves from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mainstem.data.sequences import Sequences
from mainstem.retrieval.pair_sums import WINDOW

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Followers:
    """Each item's strongest followers and how strong they are; empty places have weight 0.

    Attributes:
        mean: The mean of each item's positive weights over *all* items, kept ones and others: what "usual" is.

    Shapes: ``columns[items, kept]``, ``weights[items, kept]``, ``mean[items]``.
    """

    columns: NDArray[np.int32]
    weights: Floats
    mean: Floats

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self.columns)

    def as_evidence(self) -> Floats:
        """Each weight as log-evidence: the log of 1 plus how many times the usual it is."""
        usual = np.where(self.mean > 0, self.mean, np.float32(1.0))
        return np.log1p(self.weights / usual[:, None]).astype(np.float32)


def strongest(blocks: Iterable[tuple[int, Floats]], kept: int) -> Followers:
    """The strongest positive entries of each row, from blocks of whole rows in order; ties go to the smaller column.

    Args:
        blocks: (place of the first row, rows).
        kept: How many a row; fewer where there are fewer items.
    """
    parts = [_strongest(rows, min(kept, rows.shape[1])) for _, rows in blocks]
    return joined(parts)


def joined(parts: Sequence[Followers]) -> Followers:
    """Blocks of rows, one below the other."""
    return Followers(
        np.concatenate([part.columns for part in parts]),
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.mean for part in parts]),
    )


def _strongest(rows: Floats, kept: int) -> Followers:
    positive = np.maximum(rows, 0)
    chosen = np.sort(np.argpartition(positive, rows.shape[1] - kept, axis=1)[:, rows.shape[1] - kept :], axis=1)
    values = np.take_along_axis(positive, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    columns = np.take_along_axis(chosen, order, axis=1).astype(np.int32)
    return Followers(columns, np.take_along_axis(values, order, axis=1), positive.mean(axis=1))


def recency(histories: Sequences, half_life: float, window: int = WINDOW) -> Floats:
    """What each event of a history weighs now: 1 for the latest, half as much ``half_life`` events before, 0 beyond.

    Shapes: [events].
    """
    lengths = histories.lengths
    back = np.repeat(histories.starts[1:], lengths) - 1 - np.arange(len(histories.rows))
    return np.where(back < window, np.exp2(-back / half_life), 0.0).astype(np.float32)


def spread(histories: Sequences, event_weights: Floats, columns: NDArray[np.int32], weights: Floats) -> Floats:
    """The sum over each history's events of what their rows give to every item. Shapes: [histories, items]."""
    out = np.zeros((len(histories), histories.items), np.float32)
    _spread(histories.starts, histories.rows, event_weights, columns, weights, out)
    return out


def as_evidence(scores: Floats) -> Floats:
    """Non-negative scores as log-evidence, each row against its own mean; a row of nothing stays 0. In place."""
    np.maximum(scores, 0, out=scores)
    usual = scores.mean(axis=1, keepdims=True)
    scores /= np.where(usual > 0, usual, np.float32(1.0))
    return np.log1p(scores, out=scores)


@njit(cache=True, nogil=True, fastmath=True)
def _spread(starts: Any, rows: Any, event_weights: Any, columns: Any, weights: Any, out: Any) -> None:
    known, kept = columns.shape
    for u in range(len(starts) - 1):
        for t in range(starts[u], starts[u + 1]):
            weight = event_weights[t]
            row = rows[t]
            if weight != 0.0 and row < known:
                for k in range(kept):
                    out[u, columns[row, k]] += weight * weights[row, k]
