"""The cross features of one user's candidates, which is what a request asks for: sums by code, then one gather a candidate.

``cross.cross_side`` defines the features by comparing every candidate with every kept event; the answers are the same.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.features import define
from mainstem.features.catalog import DURATION_BUCKETS, Catalog
from mainstem.features.cross import COLUMN, LAST_10, RECENCY, Likeness
from mainstem.features.recent import Recent

_SEEN: Final = slice(COLUMN["seen_count"], COLUMN["seen_long_view"] + 1)
_CREATOR: Final = slice(COLUMN["creator_count"], COLUMN["creator_surprise"] + 1)
_CATEGORY: Final = slice(COLUMN["category_count"], COLUMN["category_surprise_last_10"] + 1)
_LENGTH: Final = slice(COLUMN["length_count"], COLUMN["length_surprise"] + 1)
_OFFSET: Final = COLUMN["length_offset"]
_SUMS: Final = 6
_KINDS: Final = 6
_NONE: Final = define.KEPT * _KINDS
"""The group of a code that no kept event has."""


class OneUser:
    """Cross features of many candidates for one user. One caller at a time: its marks are set and cleared again.

    Items, creators, categories and lengths share one range of codes. An event adds to the codes of its item, creator, category, and
    to its length and the two beside it; a candidate reads the codes of its own item, creator, category and length.

    Args:
        likeness: What is known of items.
    """

    def __init__(self, likeness: Likeness) -> None:
        self._likeness = likeness
        self._reads, self._adds, self._nothing = _codes(likeness.catalog)
        self._marks = np.full(self._nothing + 1, _NONE, np.int16)
        self._group = np.arange(_NONE, dtype=np.int16)
        self._spread = np.arange(_SUMS)

    def features(self, recent: Recent, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """The features of each candidate. ``recent`` is ``[1, 50]``; shapes: ``[n]`` to ``[n, len(define.CROSS)]``."""
        out = np.empty((len(rows), len(define.CROSS)), np.float32)
        row, long_view = recent.row[0], recent.long_view[0]
        any_item = row >= 0
        known = (any_item & (long_view >= 0)).astype(np.float32)
        held, surprise = np.maximum(row, -1), recent.surprise[0]
        surprise = (surprise - (surprise @ known) / max(known.sum(), 1.0)) * known
        yes = (long_view == 1) * known
        values = np.stack([any_item, 2.0 * yes - known, known, surprise, known * LAST_10, surprise * LAST_10], axis=1)
        self._same(out, held, rows, values)
        self._offset(out, held, rows, yes)
        self._alike(out, held, rows, np.stack([surprise, known, surprise * RECENCY, known * RECENCY]), any_item)
        return out

    def _same(self, out: NDArray, held: NDArray, rows: NDArray, values: NDArray) -> None:
        """Events of the same item, creator, category or about the same length."""
        codes, marks = self._adds[held].ravel(), self._marks
        marks[codes] = self._group
        group = marks[codes].astype(np.int64)
        marks[self._nothing] = _NONE
        at = marks[self._reads[rows]]
        marks[codes] = _NONE
        places = (group[:, None] * _SUMS + self._spread).ravel()
        sums = np.bincount(places, np.repeat(values, _KINDS, axis=0).ravel(), (_NONE + 1) * _SUMS)
        done = _finished(np.asarray(sums, np.float64).reshape(-1, _SUMS))
        out[:, _SEEN] = done[at[:, 0], :2]
        out[:, _CREATOR] = done[at[:, 1], 2:4]
        out[:, _CATEGORY] = done[at[:, 2], 4:7]
        out[:, _LENGTH] = done[at[:, 3], 4:6]

    def _offset(self, out: NDArray, held: NDArray, rows: NDArray, yes: NDArray) -> None:
        """How far a candidate's length is from the mean length of long views."""
        bucket, log_length = self._likeness.catalog.items.duration_bucket, self._likeness.log_length
        count = float(yes.sum())
        away = np.abs(log_length[rows] - (log_length[held] @ yes) / max(count, 1.0))
        out[:, _OFFSET] = away * (bucket[rows] > 0) if count else 0.0

    def _alike(self, out: NDArray, held: NDArray, rows: NDArray, weights: NDArray, any_item: NDArray) -> None:
        """Events of items that the same people view long. One row an event, so that every step runs along the candidates."""
        vectors = self._likeness.vectors
        cosine = vectors[held] @ vectors.take(rows, axis=0, mode="wrap").T
        mean = any_item.astype(np.float32)
        out[:, COLUMN["alike_all"]] = (mean / (mean.sum() + np.float32(1.0))) @ cosine
        np.maximum(cosine, 0.0, out=cosine)
        out[:, COLUMN["alike_most"]] = cosine.max(axis=0)
        out[:, COLUMN["alike_last"]] = cosine[0]
        np.square(cosine, out=cosine)
        total, weight, late_total, late = weights @ cosine
        out[:, COLUMN["alike_surprise"]] = total / (weight + np.float32(0.5))
        out[:, COLUMN["alike_surprise_recent"]] = late_total / (late + np.float32(0.5))


def _codes(catalog: Catalog) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """The codes a candidate reads, ``[items + 1, 4]``; those an event adds to, ``[items + 1, 6]``; the code nobody reads."""
    items = catalog.items
    n, creators, categories = len(items), int(items.creator.max()) + 1, int(items.category.max()) + 1
    lengths = n + creators + categories + 1
    nothing = lengths + DURATION_BUCKETS + 2
    length = items.duration_bucket.astype(np.int32) + lengths
    reads = np.stack(
        [
            np.append(np.arange(n), nothing),
            np.where(items.creator > 0, n + items.creator, nothing),
            np.where(items.category > 0, n + creators + items.category, nothing),
            length,
        ],
        axis=1,
    ).astype(np.int32)
    beside = np.where(items.duration_bucket > 0, np.stack([length, length - 1, length + 1]), nothing).T
    return reads, np.concatenate([reads[:, :3], beside], axis=1).astype(np.int32), nothing


def _finished(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    """The features of each group: two of an item, two of a creator, three of a category (the first two also of a length)."""
    times, verdict, count, total, late, late_total = sums.T
    out = np.empty((len(sums), 7), np.float32)
    out[:, 0], out[:, 1] = np.log1p(times), verdict
    out[:, 2] = out[:, 4] = np.log1p(count)
    out[:, 3], out[:, 5] = total / (count + 1.0), total / (count + 3.0)
    out[:, 6] = late_total / (late + 3.0)
    return out
