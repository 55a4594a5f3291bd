"""Reads a log folder: plain Parquet tables into columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from content_first.flags import OUTCOMES

IntColumn = NDArray[np.int64]


class FolderError(ValueError):
    """A table of the log folder is missing or lacks a column."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Impressions in the order they were served. ``known`` and ``did`` are bit sets over ``OUTCOMES``."""

    request_id: IntColumn
    user_id: IntColumn
    item_id: IntColumn
    surface: list[str]
    time_ms: IntColumn
    day: IntColumn
    viewed: NDArray[np.bool_]
    did: IntColumn
    known: IntColumn
    watch_ms: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Before:
    """Earlier impressions without times, each user's oldest first."""

    user_id: IntColumn
    item_id: IntColumn
    long_view: NDArray[np.bool_]
    like: NDArray[np.bool_]


def table(folder: Path, name: str) -> pl.DataFrame:
    """One whole table of the folder."""
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise FolderError(f"{path} is not there; a log folder needs {name}.parquet")
    return pl.read_parquet(path)


def shown_before_day(folder: Path, until_day: int | None) -> Shown:
    """Which impressions came before that day (all of them when no day is given)?"""
    frame = table(folder, "impressions")
    if until_day is not None:
        frame = frame.filter(pl.col("day") < until_day)
    frame = frame.sort("time_ms", "request_id", "position", maintain_order=True)
    did = pl.sum_horizontal(pl.col(name).cast(pl.Int64).fill_null(0) * (1 << bit) for bit, name in enumerate(OUTCOMES))
    known = pl.sum_horizontal(
        pl.col(name).is_not_null().cast(pl.Int64) * (1 << bit) for bit, name in enumerate(OUTCOMES)
    )
    packed = frame.select(did=did, known=known)
    whole = {
        name: frame[name].cast(pl.Int64).to_numpy() for name in ("request_id", "user_id", "item_id", "time_ms", "day")
    }
    return Shown(
        **whole,
        surface=frame["surface"].to_list(),
        viewed=frame["viewed"].fill_null(0).cast(pl.Boolean).to_numpy(),
        did=packed["did"].to_numpy(),
        known=packed["known"].to_numpy(),
        watch_ms=frame["watch_ms"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
    )


def before_log(folder: Path) -> Before | None:
    """What is known from before the log began, if anything?"""
    if not (folder / "history.parquet").is_file():
        return None
    frame = table(folder, "history").sort(["user_id", "back"], descending=[False, True], maintain_order=True)
    return Before(
        user_id=frame["user_id"].cast(pl.Int64).to_numpy(),
        item_id=frame["item_id"].cast(pl.Int64).to_numpy(),
        long_view=frame["long_view"].fill_null(0).cast(pl.Boolean).to_numpy(),
        like=frame["like"].fill_null(0).cast(pl.Boolean).to_numpy(),
    )
