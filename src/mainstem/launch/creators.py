"""Whose items? What units did on the items of large creators and of small ones, each unit whole on both sides."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.launch.plan_file import Metric
from mainstem.launch.served_log import ACTS, ITEM


def large_creators_items(impressions: pl.DataFrame, items: pl.DataFrame) -> NDArray[np.int64]:
    """Which items are of the creators who were shown most: as few creators as had half of all that was shown?

    An item without a known creator is its own; one that came later is no large creator's.

    Args:
        impressions: What was shown before the launch: ``item_id``.
        items: ``item_id``, ``creator_id``.

    Shapes: ``[items]``, ascending.
    """
    whose = pl.when(pl.col("creator_id").fill_null(-1) >= 0).then("creator_id").otherwise(-2 - pl.col("item_id"))
    known = items.select("item_id", whose.alias("creator"))
    shown = impressions.join(known, on="item_id").group_by("creator").len()
    most = shown.sort(["len", "creator"], descending=[True, False])
    before = most["len"].cum_sum() - most["len"]
    large = most.filter(before < most["len"].sum() / 2)
    return np.sort(known.join(large, on="creator", how="semi")["item_id"].to_numpy().astype(np.int64))


def by_creator(metric: Metric) -> bool:
    """Whether a metric can be told by side: it counts acts, and what it is divided by is whole on both sides."""
    return metric.column in ACTS and metric.per not in ACTS


def sides_of(
    units: pl.DataFrame, events: pl.DataFrame, metrics: Mapping[str, Metric], large: NDArray[np.int64]
) -> dict[str, pl.DataFrame]:
    """For each side a table of all units with what they did on its items, 0 where nothing; empty where no metric asks.

    Args:
        units: From ``exposure.triggered``.
        events: What they did, with ``item``; acts on items that are no number are on neither side.
        metrics: Those with ``by_creator`` are told.
        large: From ``large_creators_items``.
    """
    acts = sorted({one.column for one in metrics.values() if by_creator(one)})
    if not len(large) or not acts:
        return {}
    there = events.join(units.select("unit", "since_ms"), on="unit")
    done = there.filter((pl.col(ITEM) >= 0) & (pl.col("time_ms") >= pl.col("since_ms")))
    item = done[ITEM].to_numpy()
    is_large = pl.Series(large[np.searchsorted(large, item).clip(0, len(large) - 1)] == item, dtype=pl.Boolean)
    return {"large": _with(units, done.filter(is_large), acts), "small": _with(units, done.filter(~is_large), acts)}


def _with(units: pl.DataFrame, done: pl.DataFrame, acts: list[str]) -> pl.DataFrame:
    sums = done.group_by("unit").agg(pl.col(name).cast(pl.Float64).sum() for name in acts)
    whole = units.drop(acts).join(sums, on="unit", how="left", maintain_order="left")
    return whole.with_columns(pl.col(name).fill_null(0.0) for name in acts)
