"""What is known of every logged row before it is judged: its item's age, its creator's size, any column, who an arm shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import EvidenceError, did_you_mean
from mainstem.data.log import Log
from mainstem.evaluate.exposure import Concentration, against_chance, effective_share, exposure_of, share_of, shown
from mainstem.evaluate.intervals import Interval
from mainstem.evaluate.rows import ArmScores, LoggedRows
from mainstem.evaluate.slices import Judging, Slicing, by_edges, slicing_of

NEW_ITEM_BELOW: Final = 20
"""An item with fewer impressions in training is new."""
USER_ROWS: Final = (1.0, 3.0, 10.0)
"""Bounds of the slices by a user's impressions in training."""
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class ExposureRow:
    """Who an arm shows in the top of each viewer's rows, against a random choice of the same rows.

    Attributes:
        arm: Whose order.
        users: Viewers with more rows than places.
        items: Exposure over items, and ``chance_items`` that of a random choice; ``creators`` likewise.
        effective_items: The effective number of items over chance's.
        small_creators: Exposure of small creators over chance's; ``small_share`` is the share itself.
        new_items: The same of items with few impressions in training.
        popularity: Mean impressions in training of what is shown, over chance's: above 1 the popular get more.
        hides: Hides among what is shown over chance's; ``hide_rate`` is the rate itself.
        value: Long views among what is shown over chance's.
    """

    arm: str
    users: int
    items: Concentration
    chance_items: Concentration
    creators: Concentration
    effective_items: Interval | None
    small_creators: Interval | None
    small_share: float
    new_items: Interval | None
    popularity: Interval | None
    hides: Interval | None
    hide_rate: float
    value: Interval | None


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What is known of every row's item and creator.

    Attributes:
        items: Which item it is.
        creators: Whose.
        age_days: How old the item is when it is shown.
        creator_rows: Impressions of the creator's items in training.
        item_rows: Impressions of the item in training.
        small_below: A creator with fewer impressions in training is small: the median creator of the test days.

    Shapes: arrays ``[n]``.
    """

    items: NDArray[np.int64]
    creators: NDArray[np.int64]
    age_days: NDArray[np.float64]
    creator_rows: NDArray[np.float64]
    item_rows: NDArray[np.float64]
    small_below: float

    @property
    def small(self) -> NDArray[np.float64]:
        """1 for a row of a small creator."""
        return (self.creator_rows < self.small_below).astype(np.float64)


def row_facts(log: Log, rows: LoggedRows) -> RowFacts:
    """The facts that slices and exposure are told by, from training and the item table alone."""
    frame = log.impressions.select("item_id", "time_ms").join(
        log.items.select("item_id", "creator_id", "created_ms"), on="item_id", how="left", maintain_order="left"
    )
    # An item without a known creator is its own.
    creator = frame.select(
        pl.when(pl.col("creator_id").fill_null(-1) >= 0).then(pl.col("creator_id")).otherwise(-2 - pl.col("item_id"))
    ).to_series()
    creators = creator.to_numpy()
    age = (frame["time_ms"] - frame["created_ms"]).cast(pl.Float64).fill_null(np.nan).to_numpy() / DAY_MS
    train = ~(rows.validation | rows.test)
    ids, dense = np.unique(creators, return_inverse=True)
    counts = np.bincount(dense[train], minlength=len(ids))
    tested = np.unique(dense[rows.test])
    below = float(np.median(counts[tested])) if len(tested) else 0.0
    item_rows, creator_rows = rows.item_train_counts.astype(float), counts[dense].astype(float)
    return RowFacts(np.asarray(rows.items, np.int64), creators, age, creator_rows, item_rows, max(below, 1.0))


def column_of(log: Log, name: str) -> NDArray[Any]:
    """A column of the impressions, the items or the users, for every impression.

    Raises:
        EvidenceError: No table has it, or it holds lists (``evidence-014``).
    """
    frame = log.impressions
    for table, key in ((frame, ""), (log.items, "item_id"), (log.users, "user_id")):
        if name in table.columns and not isinstance(table.schema[name], pl.List):
            return _plain(frame.get_column(name) if not key else _joined(frame, table, key, name))
    known = [*frame.columns, *log.items.columns, *log.users.columns]
    raise EvidenceError(
        f"no table of the log has a column {name!r} of plain values",
        code="evidence-014",
        hint=did_you_mean(name, known),
    )


def _joined(frame: pl.DataFrame, table: pl.DataFrame, key: str, name: str) -> pl.Series:
    side = table.select(key, name).unique(key, keep="first", maintain_order=True)
    return frame.select(key).join(side, on=key, how="left", maintain_order="left").get_column(name)


def _plain(column: pl.Series) -> NDArray[Any]:
    """Numbers with NaN, or names with empty ones, where nothing is known. The number of a category is a name."""
    names = column.name in ("category", "scenario") or column.name.endswith("_id")
    if (column.dtype.is_numeric() and not names) or column.dtype == pl.Boolean:
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return column.cast(pl.String).fill_null("").to_numpy().astype(str)


def slicings(
    log: Log, rows: LoggedRows, facts: RowFacts, columns: Mapping[str, NDArray[Any]], test: NDArray[np.int64]
) -> tuple[Slicing, ...]:
    """The declared ways to part the test rows, then the columns that were named."""
    made = (
        slicing_of("surface", np.asarray(rows.surfaces, str)[test]),
        slicing_of("user activity", column_of(log, "activity")[test]),
        by_edges("user impressions before", rows.user_train_counts[test].astype(float), USER_ROWS),
        slicing_of("item age, days", facts.age_days[test]),
        slicing_of("creator impressions before", facts.creator_rows[test]),
        *(slicing_of(name, column[test]) for name, column in columns.items()),
    )
    return tuple(one for one in made if len(np.unique(one.codes[one.codes >= 0])) > 1)


def exposure_row(
    name: str, arm: ArmScores, judging: Judging, facts: RowFacts, test: NDArray[np.int64], seed: int
) -> ExposureRow:
    """Who one arm shows."""
    one = shown(judging.users, arm.order)
    items, creators, popular = facts.items[test], facts.creators[test], facts.item_rows[test]
    hate, long_view = (_happened(judging, head) for head in ("hate", "long_view"))
    taken, chance = exposure_of(one, items)
    return ExposureRow(
        arm=name,
        users=len(one.user_ids),
        items=taken,
        chance_items=chance,
        creators=exposure_of(one, creators)[0],
        effective_items=effective_share(one, items, seed=seed),
        small_creators=against_chance(one, facts.small[test], seed=seed),
        small_share=share_of(one, facts.small[test])[0] if len(one.rows) else 0.0,
        new_items=against_chance(one, (popular < NEW_ITEM_BELOW).astype(float), seed=seed),
        popularity=against_chance(one, popular, seed=seed),
        hides=against_chance(one, hate, seed=seed),
        hide_rate=share_of(one, hate)[0] if len(one.rows) else 0.0,
        value=against_chance(one, long_view, seed=seed),
    )


def _happened(judging: Judging, head: str) -> NDArray[np.float64]:
    """1 where the outcome is known to have happened."""
    if head not in judging.labels:
        return np.zeros(len(judging.users))
    return (np.asarray(judging.labels[head], np.float64) > 0).astype(np.float64)
