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


def _sums(weight: NDArray, *values: NDArray) -> list[NDArray]:
    """Weighted sums over the recent list, one for each of the values; one matrix product when all candidates share it."""
    dense = weight.astype(np.float32)
    if values[0].shape[0] == 1:
        return list((dense @ np.concatenate(values).astype(np.float32).T).T)
    return [np.einsum("nk,nk->n", dense, each) for each in values]


def _same(out: NDArray, recent: Recent, held: NDArray, rows: NDArray, likeness: Likeness, known: NDArray) -> None:
    """Events of the same item, creator, category or length."""
    items = likeness.catalog.items
    ones, surprise = known.astype(np.float32), _centred(recent, known)
    verdict = ones * np.where(recent.long_view == 1, np.float32(1.0), np.float32(-1.0))
    seen = (held == rows[:, None]) & (rows[:, None] >= 0)
    times, verdicts = _sums(seen, (recent.row >= 0).astype(np.float32), verdict)
    out[:, COLUMN["seen_count"]] = np.log1p(times)
    out[:, COLUMN["seen_long_view"]] = verdicts
    count, total = _sums(_equal(items.creator, held, rows), ones, surprise)
    out[:, COLUMN["creator_count"]] = np.log1p(count)
    out[:, COLUMN["creator_surprise"]] = total / (count + 1.0)
    category = _equal(items.category, held, rows)
    count, total, late, late_total = _sums(category, ones, surprise, ones * LAST_10, surprise * LAST_10)
    out[:, COLUMN["category_count"]] = np.log1p(count)
    out[:, COLUMN["category_surprise"]] = total / (count + 3.0)
    out[:, COLUMN["category_surprise_last_10"]] = late_total / (late + 3.0)
    _length(out, recent, held, rows, likeness, ones, surprise)


def _equal(codes: NDArray[np.int32], held: NDArray, rows: NDArray) -> NDArray[np.bool_]:
    """Where a kept event has the candidate's code; an unknown code equals nothing."""
    wanted = codes[rows]
    return codes[held] == np.where(wanted > 0, wanted, -1)[:, None]


def _length(
    out: NDArray, recent: Recent, held: NDArray, rows: NDArray, likeness: Likeness, ones: NDArray, surprise: NDArray
) -> None:
    """Events of about the same length."""
    bucket = likeness.catalog.items.duration_bucket
    kept, wanted = np.where(bucket[held] > 0, bucket[held], np.int8(-9)), bucket[rows]
    near = np.abs(kept - wanted[:, None]) <= 1
    count, total = _sums(near, ones, surprise)
    out[:, COLUMN["length_count"]] = np.log1p(count)
    out[:, COLUMN["length_surprise"]] = total / (count + 3.0)
    yes = (recent.long_view == 1) & (ones > 0)
    mean = (likeness.log_length[held] * yes).sum(axis=1) / np.maximum(yes.sum(axis=1), 1)
    away = np.abs(likeness.log_length[rows] - mean)
    out[:, COLUMN["length_offset"]] = np.where(yes.any(axis=1) & (wanted > 0), away, 0.0)


def _alike(out: NDArray, recent: Recent, held: NDArray, rows: NDArray, likeness: Likeness, known: NDArray) -> None:
    """Events of items that the same people view long."""
    vectors = likeness.vectors
    shared = len(held) == 1
    cosine = vectors[rows] @ vectors[held[0]].T if shared else np.einsum("nd,nkd->nk", vectors[rows], vectors[held])
    held_any = (recent.row >= 0).astype(np.float32)
    out[:, COLUMN["alike_all"]] = _sums(cosine, held_any)[0] / (held_any.sum(axis=1) + 1.0)
    np.maximum(cosine, 0.0, out=cosine)
    out[:, COLUMN["alike_most"]] = cosine.max(axis=1)
    out[:, COLUMN["alike_last"]] = cosine[:, 0]
    np.square(cosine, out=cosine)
    ones, surprise = known.astype(np.float32), _centred(recent, known)
    total, weight, late_total, late = _sums(cosine, surprise, ones, surprise * RECENCY, ones * RECENCY)
    out[:, COLUMN["alike_surprise"]] = total / (weight + 0.5)
    out[:, COLUMN["alike_surprise_recent"]] = late_total / (late + 0.5)
