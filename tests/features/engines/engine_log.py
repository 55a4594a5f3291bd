"""A made log with every kind of feature, chained sources and keys behind tables, for the engines' tests."""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa

from mainstem.features.attributes import AttributeTable
from mainstem.features.engines.job import BackfillJob
from mainstem.features.language import (
    Attribute,
    Context,
    Feature,
    Listed,
    Source,
    count,
    distinct,
    fading,
    largest,
    last,
    mean,
    ratio,
    smallest,
    time_since,
    total,
)
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.fold import Fold, number

HOUR_MS = 3_600_000
START_MS = 1_700_006_400_000


@numba.njit(cache=False, nogil=True)
def _streak(state, rows, inputs, told, beside):
    for at in range(len(rows)):
        state[rows[at], 0] = state[rows[at], 0] + 1.0 if inputs[at, 0] > 0 else 0.0
        told[at, 0] = state[rows[at], 0]


SALES = Source(
    "sales",
    {
        "time_ms": "int64",
        "user_id": "int64",
        "item_id": "int64",
        "price": "float64",
        "good": "int64",
        "utc_offset_ms": "int64",
    },
    drop_after="2h",
)
RETURNS = Source("returns", {"time_ms": "int64", "item_id": "int64"}, where="item_id != 3")
CHAINED = Source(
    "chained",
    SALES.columns,
    derive={"loyal": "streak.run >= 2", "well_known": "item_ever > 20"},
    sees=("streak.run", "item_ever"),
    stream="sales",
)
FAVOURITES = Source("favourites", SALES.columns, derive={"favourite": "item_id"}, stream="sales")
USER = {"over": "user_id", "source": SALES}
FEATURES = FeatureSet(
    [
        Feature("user_id", Context()),
        Feature("now_ms", Context()),
        Feature("utc_offset_ms", Context()),
        Feature("item_id", Context(per="candidate")),
        Feature("brand", Attribute("items", "brand", "item_id")),
        Feature("n", count(), windows=("1h", "1d", "7d", "ever"), **USER),
        Feature("good_n", count("good == 1"), windows=("1d",), **USER),
        Feature("spent", total("price"), windows=("1d", "ever"), dtype="float64", **USER),
        Feature("mean_price", mean("price", where="good == 1"), windows=("1d",), empty=-1.0, **USER),
        Feature("good_share", ratio("good", "1"), windows=("7d",), **USER),
        Feature("least", smallest("price"), windows=("1d",), **USER),
        Feature("most", largest("price"), windows=("1d",), **USER),
        Feature("since", time_since("good == 1"), unit="s", dtype="float64", **USER),
        Feature("different_items", distinct("item_id", registers=64), windows=("7d",), **USER),
        Feature("fading_spent", fading("price", "1d"), windows=("7d",), step="1h", **USER),
        Feature("today", count(), windows=("1d",), align="clock", step="1d", zone="local", **USER),
        Feature("recent", last(5, where="good == 1", price="price", item_id="item_id"), **USER),
        Feature("last_items", Listed("recent.item_id", 3)),
        Feature("item_ever", count(), over="item_id", source=SALES),
        Feature("item_n", count(), over=("user_id", "item_id"), source=SALES, windows=("7d",)),
        Feature("brand_n", count(), over=("brand",), source=SALES, windows=("1d",)),
        Feature("share_of_item", "item_n / n_7d", about="of the user's week"),
        Feature("same_item", "count(recent.item_id == item_id)"),
        Feature("returned", count(), over="item_id", source=RETURNS, windows=("7d",)),
        Feature("streak", Fold({"now": number(0.0)}, {"good": "good"}, _streak, tells=("run",)), **USER),
        Feature("streak_now", "streak.now"),
        Feature("loyal_n", count("loyal"), over="item_id", source=CHAINED, windows=("7d",)),
        Feature("known_n", count("well_known"), over="item_id", source=CHAINED),
        Feature("favourite", "count(recent.price > 50)"),
        Feature("favourite_n", count(), over="favourite", source=FAVOURITES, windows=("7d",)),
    ]
)


def tables() -> dict[str, AttributeTable]:
    """Brands, some of which changed."""
    ids = np.r_[np.arange(30), np.arange(0, 30, 3)]
    begins = np.r_[np.zeros(30, np.int64), np.full(10, START_MS + 40 * HOUR_MS)]
    return {"items": AttributeTable.of(ids, {"brand": np.r_[ids[:30] % 5, ids[30:] % 4, np.nan]}, begins)}


def events(seed: int = 0, n: int = 3_000) -> dict[str, pa.Table]:
    """Sales with late, untimed and keyless ones, and returns; their offsets are those of one log."""
    draw = np.random.default_rng(seed)
    offset = np.arange(n) * 2
    time_ms = START_MS + np.sort(draw.integers(0, 8 * 24 * HOUR_MS, n))
    time_ms -= np.where(draw.random(n) < 0.05, draw.integers(0, 4 * HOUR_MS, n), 0)
    time_ms[draw.random(n) < 0.01] = -1
    user = np.where(draw.random(n) < 0.02, -1, draw.integers(0, 40, n))
    price = np.where(draw.random(n) < 0.1, np.nan, np.round(draw.random(n) * 100, 2))
    sales = {
        "offset": offset,
        "time_ms": time_ms,
        "user_id": user,
        "item_id": draw.integers(0, 33, n),
        "price": price,
        "good": draw.integers(0, 2, n),
        "utc_offset_ms": draw.integers(-2, 3, n) * HOUR_MS,
    }
    back = np.flatnonzero(draw.random(n) < 0.1)
    returns = {"offset": offset[back] + 1, "time_ms": time_ms[back], "item_id": sales["item_id"][back]}
    return {"sales": pa.table(sales), "returns": pa.table(returns)}


def requests(seed: int = 1, n: int = 700, offsets: int = 6_000) -> pa.Table:
    """Requests in no order of the log, each as of some offset."""
    draw = np.random.default_rng(seed)
    as_of = draw.integers(0, offsets + 1, n)
    return pa.table(
        {
            "label": pa.array([f"row {at}" for at in range(n)]),
            "user_id": draw.integers(-1, 42, n),
            "item_id": draw.integers(0, 35, n),
            "utc_offset_ms": draw.integers(-2, 3, n) * HOUR_MS,
            "now_ms": START_MS + as_of * 8 * 24 * HOUR_MS // offsets + draw.integers(0, HOUR_MS, n),
            "as_of": as_of,
        }
    )


def job(**changed) -> BackfillJob:
    """The job over all of it."""
    given = {"features": FEATURES, "events": events(), "requests": requests(), "tables": tables(), "block": 128}
    return BackfillJob(**(given | {"chunk": 500} | changed))
