"""Where the unified stack's attributes come from: the catalog's facts and what was learned once with the model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.features.attributes import VECTOR_ONE, AttributeTable, dense
from mainstem.features.catalog import ACTIVITY_SLOTS, TRAIT_SLOTS, Catalog
from mainstem.features.statics import Rates, Statics

Floats = NDArray[np.float64]


def unified_tables(catalog: Catalog, statics: Statics) -> dict[str, AttributeTable]:
    """The tables ``items``, ``users`` and ``scenarios`` that the unified stack's attributes name."""
    return {"items": _items(catalog, statics), "users": _users(catalog), "scenarios": _scenarios(statics.rates)}


def _items(catalog: Catalog, statics: Statics) -> AttributeTable:
    """Facts of items; an unknown item has none, except that nothing is expected of it beyond its scenario."""
    items = catalog.items
    vectors, lift = statics.on(catalog)
    columns: dict[str, NDArray[Any]] = {
        "creator_id": _unknown_last(items.creator_id),
        "category_id": _unknown_last(items.category_id),
        "created_ms": _unknown_last(items.created_ms),
        "length_bucket": _unknown_last(items.duration_bucket),
        "log_length": _unknown_last(np.log(np.maximum(items.duration_s, 1.0))),
        "static_lift": lift.astype(np.float64),
        "vector": np.rint(vectors.astype(np.float64) * VECTOR_ONE),
    }
    return AttributeTable.of(items.ids, columns, name="items")


def _users(catalog: Catalog) -> AttributeTable:
    users = catalog.users
    counts = users.counts.astype(np.float64)
    traits = np.zeros((len(users) + 1, TRAIT_SLOTS))
    at, which = np.nonzero(users.traits >= 0)
    traits[at, users.traits[at, which].astype(np.int64)] = 1.0
    columns: dict[str, NDArray[Any]] = {
        "utc_offset_ms": users.utc_offset_ms.astype(np.float64),
        "following": counts[:, 0],
        "followers": counts[:, 1],
        "registered": counts[:, 2],
        "activity": np.eye(ACTIVITY_SLOTS)[users.activity.astype(np.int64)],
        "traits": traits,
    }
    return AttributeTable.of(users.ids, columns, name="users")


def _scenarios(rates: Rates) -> AttributeTable:
    """Base rates by scenario slot; every slot is known, so the last row is never read."""
    size = len(rates.by_scenario)
    columns: dict[str, NDArray[Any]] = {"one_hot": np.eye(size + 1, size)}
    for at, head in enumerate(HEADS):
        columns[head] = np.append(rates.by_scenario[:, at], rates.overall[at])
        columns[f"overall_{head}"] = np.full(size + 1, rates.overall[at])
    return dense(columns)


def _unknown_last(column: NDArray[Any]) -> Floats:
    out = column.astype(np.float64)
    out[-1] = np.nan
    return out
