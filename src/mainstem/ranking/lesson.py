"""What the ranker learns from: features as of each logged moment, and the outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

LATEST = 8
"""How many of each user's latest untimed events are learned from; all before them only fill the state."""

MOST_ROWS = 600_000
"""Rows learned from at most: the latest ones."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Rows to learn from and rows to stop by.

    Attributes:
        values: Features of all rows.
        feedback: Their outcomes.
        train: Which rows are learned from; the others are the validation day.
        timed: Which rows have a time (impressions, not history).
    """

    catalog: Catalog
    statics: Statics
    values: Values
    feedback: FeedbackBatch
    train: NDArray[np.bool_]
    timed: NDArray[np.bool_]
    features: FeatureSet = UNIFIED


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
) -> Lesson:
    """The lesson of a log's days up to the validation day; later days are not looked at.

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
    asked = np.arange(max(earlier + first, len(line.feedback) - MOST_ROWS), len(line.feedback))
    is_timed = asked >= len(past)
    train = ~is_timed
    train[is_timed] = taught[asked[is_timed] - len(past)]
    return Lesson(catalog, statics, line.values(asked), line.feedback.take(asked), train, is_timed, features)


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
