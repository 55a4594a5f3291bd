"""What the ranker learns from: features as of each logged moment, and the outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import DataError
from mainstem.base.heads import SURFACES
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.statics import Rates, Statics
from mainstem.features.steps import Tables
from mainstem.features.timeline import DELAY_MS, Timeline, Values
from mainstem.features.unified import UNIFIED
from mainstem.ranking.rows import Rows, rows_in_memory
from mainstem.ranking.rows_on_disk import MEMORY_BYTES, rows_on_disk

LATEST = 8
"""How many of each user's latest untimed events are learned from; all before them only fill the state."""

MOST_ROWS = 600_000
"""Rows learned from at most when they are held in memory: the latest ones."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Rows to learn from and rows to stop by.

    Attributes:
        rows: Features of all rows, in memory or in files, and how their columns spread over the training rows.
        feedback: Their outcomes.
        train: Which rows are learned from; the others are the validation day.
        timed: Which rows have a time (impressions, not history).
    """

    catalog: Catalog
    statics: Statics
    rows: Rows
    feedback: FeedbackBatch
    train: NDArray[np.bool_]
    timed: NDArray[np.bool_]
    features: FeatureSet = UNIFIED

    @property
    def values(self) -> Values:
        """Features of all rows; of rows in files these are memory maps, and ``rows.take`` reads some of them."""
        return self.rows.values


def timeline(
    catalog: Catalog,
    statics: Statics,
    impressions: pl.DataFrame,
    history: pl.DataFrame,
    surfaces: Sequence[str] = SURFACES,
    delay_ms: int = DELAY_MS,
    features: FeatureSet = UNIFIED,
    tables: Tables | None = None,
) -> Timeline:
    """All events of a log in order, history first."""
    past = FeedbackBatch.from_history(history)
    whole = past.then(FeedbackBatch.from_frame(impressions, surfaces))
    return Timeline(catalog, statics, whole, _earlier(history), delay_ms, features, tables)


def lesson(
    items: pl.DataFrame,
    users: pl.DataFrame,
    impressions: pl.DataFrame,
    history: pl.DataFrame,
    validation_day: int,
    surfaces: Sequence[str] = SURFACES,
    delay_ms: int = DELAY_MS,
    features: FeatureSet = UNIFIED,
    tables: Tables | None = None,
    folder: Path | None = None,
    memory_bytes: int = MEMORY_BYTES,
    most_rows: int | None = None,
) -> Lesson:
    """The lesson of a log's days up to the validation day; later days are not looked at.

    Args:
        items: Rows of items.
        users: Rows of users.
        impressions: What was shown.
        history: Earlier impressions, in order but without times.
        validation_day: The day to stop by; days before it are learned from.
        surfaces: The names whose position is a surface's code.
        delay_ms: How long an outcome takes to be known.
        features: What is computed.
        tables: Further tables of facts that the features name.
        folder: A scratch folder for features of more rows than memory holds; without it they are held in memory.
        memory_bytes: About what the computation of features in a folder may hold at once.
        most_rows: The latest rows that are learned from; ``MOST_ROWS`` in memory, all in a folder.

    Raises:
        DataError: No impression lies before the validation day (``data-042``).
    """
    catalog = Catalog.from_tables(items, users)
    known = impressions.filter(pl.col("day") <= validation_day)
    taught = known["day"].to_numpy() < validation_day
    if not taught.any():
        raise DataError(
            f"no impressions before the validation day {validation_day}, expected at least one day to train on",
            code="data-042",
            hint="[training] validation_day in mainstem.toml",
        )
    past, timed = FeedbackBatch.from_history(history), FeedbackBatch.from_frame(known, surfaces)
    earlier = _earlier(history)
    statics, first = constants(catalog, history, past, timed, taught)
    line = Timeline(catalog, statics, past.then(timed), earlier, delay_ms, features, tables)
    most = most_rows or (MOST_ROWS if folder is None else len(line.feedback))
    asked = np.arange(max(earlier + first, len(line.feedback) - most), len(line.feedback))
    is_timed = asked >= len(past)
    train = ~is_timed
    train[is_timed] = taught[asked[is_timed] - len(past)]
    rows = (
        rows_in_memory(line.values(asked), train)
        if folder is None
        else rows_on_disk(line, asked, train, folder, memory_bytes)
    )
    return Lesson(catalog, statics, rows, line.feedback.take(asked), train, is_timed, features)


def constants(
    catalog: Catalog, history: pl.DataFrame, past: FeedbackBatch, timed: FeedbackBatch, taught: NDArray[np.bool_]
) -> tuple[Statics, int]:
    """What is learned once, before the ranker: and from how many of the timed rows, which nobody may learn from again.

    Args:
        catalog: Rows of items and users.
        history: The log's history table.
        past: Its events, oldest first.
        timed: The log's impressions.
        taught: Which of them lie before the validation day.
    """
    earlier = _earlier(history)
    rates = Rates.fit(past.then(timed.take(taught)))
    first = 0 if earlier else int(taught.sum()) // 3
    return Statics.fit(catalog, past.take(slice(0, earlier)) if earlier else timed.take(slice(0, first)), rates), first


def _earlier(history: pl.DataFrame) -> int:
    """How many untimed events come before each user's latest ones (``FeedbackBatch.from_history`` puts them first)."""
    return int((history["back"] >= LATEST).sum()) if history.height else 0
