"""Who viewed, put in the cart and bought what: RetailRocket, from the official ``events.csv`` or from TSV sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from mainstem.base.settings import Data
from mainstem.data.loaders.table import Source, load_source
from mainstem.data.sources import Loaded, Progress, read_frame, silent

_PACK: Final = "train_view_cart_buy.tsv"
_MAPPING: Final = Data(
    columns={"time_ms": "time", "surface": "place"},
    heads={"click": 'deed == "view"', "like": 'deed == "cart"', "long_view": 'deed == "buy"'},
)
_NOTES: Final = [
    "one row is one event: click stands for view, like for cart, long_view for buy; the surface is pages",
    "the log holds only what users did, not what they were shown: rates over its rows are shares of deeds",
]
_DEEDS: Final = {"view": "view", "addtocart": "cart", "transaction": "buy", "cart": "cart", "buy": "buy"}


def recognises(folder: Path) -> bool:
    """Is this a RetailRocket folder?"""
    if (folder / _PACK).is_file():
        return True
    events = folder / "events.csv"
    if not events.is_file():
        return False
    with events.open(encoding="utf-8", errors="replace") as handle:
        return {"timestamp", "visitorid", "event", "itemid"} <= set(handle.readline().strip().split(","))


def load(folder: Path, *, progress: Progress = silent) -> Loaded:
    """The log tables of a RetailRocket folder; each event is a row on the surface ``pages``."""
    progress(0.0, "reading events")
    official = folder / "events.csv"
    if official.is_file():
        raw, names = read_frame(official), ("visitorid", "itemid", "event", "timestamp")
        time = pl.col(names[3])
    else:
        raw, names = read_frame(folder / _PACK), ("user", "item", "behaviour", "unix_ts")
        time = pl.col(names[3]) * 1_000
    rows = raw.select(
        pl.col(names[0]).alias("user_id"),
        pl.col(names[1]).alias("item_id"),
        pl.col(names[2]).replace_strict(_DEEDS, default=None).alias("deed"),
        time.alias("time"),
        place=pl.lit("pages"),
    )
    source = Source(
        rows,
        "RetailRocket",
        loader="retailrocket",
        licence="CC BY-NC-SA 4.0",
        files=[official.name if official.is_file() else _PACK],
        notes=list(_NOTES),
    )
    return load_source(source, _MAPPING, progress=progress)
