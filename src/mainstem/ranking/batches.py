"""A lesson's rows as the network reads them, some at a time: standardised, whole, with their outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.feature import Role
from mainstem.ranking.lesson import Lesson
from mainstem.ranking.loss import Outcomes
from mainstem.ranking.model import embedding_rows
from mainstem.ranking.network import static_inputs
from mainstem.ranking.rows import SIDES, Scales, shuffled
from mainstem.ranking.watch_time import MOST_S, WatchLevels

Ints = NDArray[np.int64]

CHUNK = 16_384
"""Rows that are looked at together where nothing is learned."""


@dataclass(slots=True)
class Batches:
    """The network's inputs and outcomes of any rows of a lesson.

    Attributes:
        ids: Items that have an embedding of their own, sorted.
        categories: The same of categories.
        levels: Thresholds of the watch time; none where its logarithm is predicted.
        untimed_weight: What a history row counts against an impression.
        scales: Mean and spread of each column; a column with numbers that are not finite is taken as it is.
        still: Which columns never moved over the training rows, by side.
        not_finite: How many numbers were replaced by their features' defaults so far.
    """

    lesson: Lesson
    ids: Ints
    categories: NDArray[np.int32]
    levels: WatchLevels
    untimed_weight: float
    scales: Scales
    still: dict[str, NDArray[np.bool_]]
    not_finite: int
    _tables: tuple[NDArray, ...]
    _defaults: dict[Role, NDArray[np.float32]]

    @classmethod
    def of(cls, lesson: Lesson, least_events: int, levels: int, untimed_weight: float) -> Batches:
        """What can be read of a lesson.

        Args:
            lesson: Rows and outcomes.
            least_events: An item has an embedding of its own from this many training rows on.
            levels: How many thresholds the watch time has; 0 predicts its logarithm.
            untimed_weight: What a history row counts against an impression.
        """
        items, rows = lesson.catalog.items, lesson.rows.values.item_row
        counts = np.bincount(rows[lesson.train & (rows >= 0)], minlength=len(items))
        ids = np.sort(items.ids[counts >= least_events])
        categories = np.unique(items.category_id[items.category_id >= 0])
        vectors, _ = lesson.statics.on(lesson.catalog)
        tables = (
            static_inputs(lesson.catalog),
            vectors,
            embedding_rows(ids, np.append(items.ids, -1)),
            embedding_rows(categories, items.category_id),
        )
        roles: tuple[Role, ...] = ("user", "item", "cross")
        defaults: dict[Role, NDArray[np.float32]] = {
            role: np.array(lesson.features.defaults_of(role), np.float32) for role in roles
        }
        found = WatchLevels.fit(lesson.feedback.watch_s[lesson.train], levels)
        scales = {side: _whole_scale(*scale) for side, scale in lesson.rows.scales.items()}
        return cls(lesson, ids, categories, found, untimed_weight, scales, _still(lesson), 0, tables, defaults)

    def inputs(self, at: Ints) -> tuple[Tensor, ...]:
        """What ``Trunk.forward`` takes."""
        values = self.lesson.rows.take(at)
        parts: list[NDArray] = []
        for role, default in self._defaults.items():
            mean, std = self.scales[role]
            side = (self._finite(getattr(values, role), default) - mean) / std
            parts.append(side.astype(np.float32, copy=False))
        parts += [table[values.item_row] for table in self._tables]
        return tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in parts)

    def _finite(self, side: NDArray[np.float32], default: NDArray[np.float32]) -> NDArray[np.float32]:
        with np.errstate(all="ignore"):
            if np.isfinite(side.sum()):
                return side
        bad = ~np.isfinite(side)
        self.not_finite += int(bad.sum())
        return np.where(bad, default, side)

    def outcomes(self, at: Ints, lists: Ints | None = None) -> Outcomes:
        """What became of some rows, and which list each belongs to where orders are learned."""
        weight = np.where(self.lesson.timed[at], 1.0, self.untimed_weight)
        return row_outcomes(self.lesson.feedback.take(at), self.levels.at, weight, lists)


def _still(lesson: Lesson) -> dict[str, NDArray[np.bool_]]:
    rows = np.flatnonzero(lesson.train)
    first = lesson.rows.take(rows[:1])
    same = {side: np.ones(getattr(first, side).shape[1], bool) for side in SIDES}
    for start in range(0, len(rows), 4 * CHUNK):
        values = lesson.rows.take(rows[start : start + 4 * CHUNK])
        for side in SIDES:
            same[side] &= (getattr(values, side) == getattr(first, side)).all(axis=0)
    return same


def _whole_scale(
    mean: NDArray[np.float32], std: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    whole = np.isfinite(mean) & np.isfinite(std)
    return np.where(whole, mean, 0.0).astype(np.float32), np.where(whole, std, 1.0).astype(np.float32)


def row_outcomes(
    feedback: FeedbackBatch, at: NDArray[np.float32], weight: NDArray[np.floating], lists: Ints | None = None
) -> Outcomes:
    """Outcomes as the loss reads them.

    Args:
        feedback: What became of the rows.
        at: The model's thresholds of the watch time; none where its logarithm is predicted.
        weight: What each row counts.
        lists: Which list each row belongs to.
    """
    seconds = np.clip(feedback.watch_s, 0.0, MOST_S)
    watch = WatchLevels(at, at).passed(seconds) if len(at) else np.log1p(seconds)[:, None]
    return Outcomes(
        torch.from_numpy(feedback.outcomes.astype(np.float32)),
        torch.from_numpy(watch.astype(np.float32)),
        torch.from_numpy(np.asarray(weight, np.float32)),
        None if lists is None else torch.from_numpy(lists),
    )


def user_lists(lesson: Lesson) -> Ints:
    """A number for each row's list: its user's impressions, or its user's history rows, whose state is another.

    Shapes: ``[rows]``.
    """
    return lesson.rows.values.user_row.astype(np.int64) * 2 + lesson.timed


def drawn(rows: Ints, lists: Ints | None, size: int, seed: Sequence[int]) -> Iterator[tuple[Ints, Ints | None]]:
    """Batches of rows in a drawn order; with lists, whole lists stay together and each row's list is numbered from 0.

    Args:
        rows: Which rows, ascending.
        lists: A number for each of the lesson's rows.
        size: Rows of a batch.
        seed: Of the draw.
    """
    if lists is None:
        for some in shuffled(rows, size, seed):
            yield some, None
        return
    names, own = np.unique(lists[rows], return_inverse=True)
    place = np.random.default_rng(list(seed)).permutation(len(names))
    order = rows[np.argsort(place[own], kind="stable")]
    for start in range(0, max(1, len(order) // size) * size, size):
        some = order[start : start + size]
        yield some, np.unique(lists[some], return_inverse=True)[1]
