"""Who and what appears in a mapped log: its items and users, with what a side table knows of them."""

from __future__ import annotations

import polars as pl

from mainstem.base.settings import Data
from mainstem.data.expressions import column_expression
from mainstem.data.ids import Numbering
from mainstem.data.local_time import to_ms, utc_offset_min
from mainstem.data.tables import ITEMS, USERS, Table


def items_table(items: pl.DataFrame | None, mapping: Data, kept: pl.DataFrame, numbers: Numbering) -> pl.DataFrame:
    """Every item that was shown or that the side table names; an upload time nobody gave is the first showing."""
    shown = kept.group_by("item_id").agg(pl.col("time_ms").min().alias("first_ms"))
    side = _side(items, ITEMS, mapping, numbers)
    both = shown.join(side, on="item_id", how="full", coalesce=True)
    first = pl.col("first_ms").fill_null(kept.get_column("time_ms").min())
    created = to_ms(both.get_column("created_ms"), mapping.time) if "created_ms" in both.columns else None
    filled = both.with_columns(
        (created if created is not None else pl.lit(None, dtype=pl.Int64)).alias("created_ms"),
    ).with_columns(
        # An item cannot be older than unknown: its first showing stands in for an upload time that nobody gave.
        pl.col("created_ms").fill_null(first),
        (pl.col("canonical_id") if "canonical_id" in both.columns else pl.col("item_id"))
        .fill_null(pl.col("item_id"))
        .alias("canonical_id"),
    )
    return _filled(filled, ITEMS)


def users_table(users: pl.DataFrame | None, mapping: Data, kept: pl.DataFrame, numbers: Numbering) -> pl.DataFrame:
    """Every user who was shown something or whom the side table names."""
    zone = mapping.time.get("zone", "UTC")
    shown = kept.select("user_id").unique()
    side = _side(users, USERS, mapping, numbers)
    both = shown.join(side, on="user_id", how="full", coalesce=True)
    if "utc_offset_min" not in both.columns:
        both = both.with_columns(utc_offset_min=pl.lit(utc_offset_min(kept.get_column("time_ms"), zone)))
    return _filled(both, USERS)


def _side(side: pl.DataFrame | None, table: Table, mapping: Data, numbers: Numbering) -> pl.DataFrame:
    """The attributes a side table has for our columns, one row a key, under numbers."""
    key = table.key[0]
    if side is None:
        return pl.DataFrame(schema={key: pl.Int64})
    ours = {
        name: column_expression(mapping.columns.get(name, name), side.columns, f"data.columns.{name}")
        for name in table.schema
        if mapping.columns.get(name, name) in side.columns or name == key
    }
    frame = side.select(**ours)
    frame = frame.with_columns(numbers.apply(frame.get_column(key)))
    return frame.filter(pl.col(key).is_not_null()).unique(key, keep="first", maintain_order=True)


def _filled(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Every column of the table, with its default where nothing is known."""
    columns = []
    for column in table.columns:
        known = pl.col(column.name) if column.name in frame.columns else pl.lit(None)
        known = known.cast(column.dtype, strict=False)
        default = None if column.required or column.nullable else column.default
        columns.append((known if default is None else known.fill_null(default)).alias(column.name))
    return frame.select(columns)
