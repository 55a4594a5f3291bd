"""How a candidate relates to what this user did lately: the cross side of the ranker's input.

Outcomes enter only as differences from the user's own recent mean. The mean itself belongs to the user side: it says
nothing about which candidate is better, and an order across moments that reads it is paid for the user's luck so far
(``docs/concepts/unified-model.md``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.features import define
from mainstem.features.catalog import Catalog
from mainstem.features.recent import Recent

COLUMN = define.columns(define.CROSS)
RECENCY = (1.0 / (1.0 + np.arange(define.KEPT) / 5.0)).astype(np.float32)
LAST_10 = (np.arange(define.KEPT) < 10).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Likeness:
    """What the cross features read of items: the catalog's facts and the learned vectors, row -1 being unknown."""

    catalog: Catalog
    vectors: NDArray[np.float32]
    log_length: NDArray[np.float32]

    @classmethod
    def of(cls, catalog: Catalog, vectors: NDArray[np.float32]) -> Likeness:
        """The catalog with its vectors."""
        return cls(catalog, vectors, np.log(np.maximum(catalog.items.duration_s, 1.0)))


def cross_side(recent: Recent, rows: NDArray[np.int32], likeness: Likeness) -> NDArray[np.float32]:
    """The cross features of candidates.

    Shapes:
        ``rows`` is ``[n]``; ``recent`` is ``[1, 50]`` for one user's n candidates or ``[n, 50]`` for one candidate each.
    """
    out = np.zeros((len(rows), len(define.CROSS)), np.float32)
    known = (recent.row >= 0) & (recent.long_view >= 0)
    held = np.maximum(recent.row, -1)
    _same(out, recent, held, rows, likeness, known)
    _alike(out, recent, held, rows, likeness, known)
    return out


def _centred(recent: Recent, known: NDArray) -> NDArray[np.float32]:
    """How much better or worse than the user's recent mean each event ended."""
    mean = (recent.surprise * known).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return ((recent.surprise - mean) * known).astype(np.float32)


def _sum(weight: NDArray, values: NDArray) -> NDArray:
    """Sums over the recent list; one matrix product when all candidates share it."""
    weight = weight.astype(np.float32)
    if values.shape[0] == 1:
        return weight @ values[0]
    return np.einsum("nk,nk->n", weight, values)


def _same(out: NDArray, recent: Recent, held: NDArray, rows: NDArray, likeness: Likeness, known: NDArray) -> None:
    """Events of the same item, creator, category or length."""
    items = likeness.catalog.items
    ones, surprise = known.astype(np.float32), _centred(recent, known)
    seen = (held == rows[:, None]) & (rows[:, None] >= 0)
    out[:, COLUMN["seen_count"]] = np.log1p(_sum(seen, (recent.row >= 0).astype(np.float32)))
    out[:, COLUMN["seen_long_view"]] = _sum(seen, known * (2.0 * (recent.long_view == 1) - 1.0).astype(np.float32))
    for name, codes, weight in (("creator", items.creator, 1.0), ("category", items.category, 3.0)):
        same = (codes[held] == codes[rows][:, None]) & (codes[rows] > 0)[:, None]
        count = _sum(same, ones)
        out[:, COLUMN[f"{name}_count"]] = np.log1p(count)
        out[:, COLUMN[f"{name}_surprise"]] = _sum(same, surprise) / (count + weight)
        if name == "category":
            late = _sum(same, ones * LAST_10)
            out[:, COLUMN["category_surprise_last_10"]] = _sum(same, surprise * LAST_10) / (late + weight)
    bucket = items.duration_bucket
    near = (np.abs(bucket[held] - bucket[rows][:, None]) <= 1) & (bucket[held] > 0)
    count = _sum(near, ones)
    out[:, COLUMN["length_count"]] = np.log1p(count)
    out[:, COLUMN["length_surprise"]] = _sum(near, surprise) / (count + 3.0)
    yes = (recent.long_view == 1) & known
    mean = (likeness.log_length[held] * yes).sum(axis=1) / np.maximum(yes.sum(axis=1), 1)
    away = np.abs(likeness.log_length[rows] - mean)
    out[:, COLUMN["length_offset"]] = np.where(yes.any(axis=1) & (bucket[rows] > 0), away, 0.0)


def _alike(out: NDArray, recent: Recent, held: NDArray, rows: NDArray, likeness: Likeness, known: NDArray) -> None:
    """Events of items that the same people view long."""
    vectors = likeness.vectors
    shared = len(held) == 1
    cosine = vectors[rows] @ vectors[held[0]].T if shared else np.einsum("nd,nkd->nk", vectors[rows], vectors[held])
    held_any = (recent.row >= 0).astype(np.float32)
    out[:, COLUMN["alike_all"]] = _sum(cosine, held_any) / (held_any.sum(axis=1) + 1.0)
    out[:, COLUMN["alike_most"]] = np.max(cosine * held_any, axis=1)
    out[:, COLUMN["alike_last"]] = cosine[:, 0]
    near = np.square(np.maximum(cosine, 0.0))
    surprise = _centred(recent, known)
    for name, weight in (("alike_surprise", known.astype(np.float32)), ("alike_surprise_recent", known * RECENCY)):
        out[:, COLUMN[name]] = _sum(near, surprise * weight) / (_sum(near, weight) + 0.5)
