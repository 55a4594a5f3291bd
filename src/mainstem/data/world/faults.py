"""What goes wrong between a world and its log? Each fault is a switch, and touches the tables alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.base.seeds import uniforms
from mainstem.data.world.settings import DAY_MS, HOUR_MS, WorldFaults, WorldSettings, local_days

Tables = dict[str, pl.DataFrame]

_LATE, _DELAY, _TWICE, _MISSING, _UNSAFE = range(9_000, 9_005)
_OUTCOMES: Final = (*HEADS, "watch_ms")


def apply_faults(tables: Tables, faults: WorldFaults, settings: WorldSettings) -> Tables:
    """The tables as they look after these faults; the same tables when there are none."""
    steps: tuple[Callable[[Tables, WorldFaults, WorldSettings], Tables], ...] = (
        _late, _duplicated, _day_shift, _unit_change, _missing_items, _failed_safety,
    )  # fmt: skip
    for step in steps:
        tables = step(tables, faults, settings)
    return tables


def events(tables: Tables, faults: WorldFaults, settings: WorldSettings) -> pl.DataFrame:
    """In which order do the feedback records of a log arrive?

    Returns:
        The rows of ``impressions`` with ``event_id`` and ``arrival_ms``, in order of arrival: late ones up to a day out of order,
        duplicated ones twice with the same ``event_id``.
    """
    rows = tables["impressions"]
    if "dropped" in tables:
        rows = pl.concat([rows, tables["dropped"].select(rows.columns)])
    delay_ms = np.where(_late_rows(rows, faults, settings), _delays_ms(rows, settings), 0)
    name = pl.format("w{}-{}-{}", pl.lit(settings.seed), "request_id", "item_id").alias("event_id")
    arrival = (pl.col("time_ms") + pl.Series(delay_ms)).alias("arrival_ms")
    return rows.with_columns(name, arrival).sort("arrival_ms", "request_id", "position", maintain_order=True)


def _late(tables: Tables, faults: WorldFaults, settings: WorldSettings) -> Tables:
    """A late event that has not arrived by the end of the log leaves its outcome unknown."""
    rows = tables["impressions"]
    missed = _late_rows(rows, faults, settings) & (
        rows["time_ms"].to_numpy() + _delays_ms(rows, settings) >= settings.end_ms
    )
    if not missed.any():
        return tables
    lost = pl.Series(missed)
    blank = [pl.when(lost).then(None).otherwise(pl.col(name)).alias(name) for name in _OUTCOMES]
    return tables | {"impressions": rows.with_columns(blank)}


def _duplicated(tables: Tables, faults: WorldFaults, settings: WorldSettings) -> Tables:
    """The log keeps one of each; the repeats are kept beside it with the reason, as a loader does."""
    rows = tables["impressions"]
    again = rows.filter(pl.Series(_lot(rows, _TWICE, settings) < faults.duplicate_share))
    if again.is_empty():
        return tables
    return tables | {"dropped": again.with_columns(pl.lit("duplicate").alias("reason"))}


def _day_shift(tables: Tables, faults: WorldFaults, settings: WorldSettings) -> Tables:
    if not faults.day_shift_h:
        return tables
    rows = tables["impressions"]
    first = settings.start_ms - 2 * DAY_MS
    names = np.array(local_days(first, settings.days + 4), dtype=np.int32)
    shifted = np.clip((rows["time_ms"].to_numpy() + faults.day_shift_h * HOUR_MS - first) // DAY_MS, 0, len(names) - 1)
    return tables | {"impressions": rows.with_columns(pl.Series("day", names[shifted]))}


def _unit_change(tables: Tables, faults: WorldFaults, settings: WorldSettings) -> Tables:
    if not faults.watch_in_seconds:
        return tables
    after = pl.col("time_ms") >= settings.start_ms + faults.unit_change_day * DAY_MS
    columns = ("watch_ms", "duration_ms")
    changed = [pl.when(after).then(pl.col(name) // 1000).otherwise(pl.col(name)).alias(name) for name in columns]
    return tables | {"impressions": tables["impressions"].with_columns(changed)}


def _missing_items(tables: Tables, faults: WorldFaults, settings: WorldSettings) -> Tables:
    gone = pl.Series(_item_lot(tables, _MISSING, settings) < faults.missing_item_share)
    if not gone.any():
        return tables
    blanks = {"category": -1, "duration_ms": 0, "creator_id": -1, "entity_id": -1, "audio_id": -1}
    frame = tables["items"].with_columns(
        *(pl.when(gone).then(pl.lit(blank)).otherwise(pl.col(name)).alias(name) for name, blank in blanks.items()),
        pl.when(gone).then(pl.col("tags").list.head(0)).otherwise(pl.col("tags")).alias("tags"),
    )
    return tables | {"items": frame.cast({"category": pl.Int32})}


def _failed_safety(tables: Tables, faults: WorldFaults, settings: WorldSettings) -> Tables:
    failed = pl.Series(_item_lot(tables, _UNSAFE, settings) < faults.safety_failed_share)
    integrity = pl.when(failed).then(None).otherwise(pl.col("integrity")).alias("integrity")
    return tables | {"items": tables["items"].with_columns(integrity)}


def _late_rows(rows: pl.DataFrame, faults: WorldFaults, settings: WorldSettings) -> NDArray[np.bool_]:
    return _lot(rows, _LATE, settings) < faults.late_share


def _delays_ms(rows: pl.DataFrame, settings: WorldSettings) -> NDArray[np.int64]:
    return (_lot(rows, _DELAY, settings) * DAY_MS).astype(np.int64)


def _lot(rows: pl.DataFrame, stream: int, settings: WorldSettings) -> NDArray[np.float64]:
    """A number in [0, 1) for each impression, by its request and item."""
    return uniforms(settings.seed, stream, rows["request_id"].to_numpy(), rows["item_id"].to_numpy())


def _item_lot(tables: Tables, stream: int, settings: WorldSettings) -> NDArray[np.float64]:
    return uniforms(settings.seed, stream, tables["items"]["item_id"].to_numpy())
