"""Where the content-first stack's attributes come from: its items' originals, and what is known of users."""

from __future__ import annotations

import zlib
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.features.attributes import AttributeTable
from mainstem.features.content_first import ACTIVITIES
from mainstem.features.content_first_items import CATEGORY_SLOTS, LENGTH_SLOTS, ContentItems

_COUNTS: Final = {"following": "following_count", "followers": "follower_count", "registered": "registered_days"}


def content_tables(items: ContentItems, users: pl.DataFrame) -> dict[str, AttributeTable]:
    """The tables ``items`` and ``users`` that the content-first stack's attributes name."""
    return {"items": _items(items), "users": _users(users)}


def _items(items: ContentItems) -> AttributeTable:
    """Facts by item, every repost with those of its original; of an unknown item nothing is known, and its content is zero."""

    def unknown_last(values: NDArray[Any]) -> NDArray[np.float64]:
        out = values.astype(np.float64)
        out[-1] = np.nan
        return out

    rows = items.original
    columns: dict[str, NDArray[Any]] = {
        "original_id": unknown_last(np.append(items.ids[rows[:-1]], 0)),
        "vector_row": unknown_last(rows),
        "creator": unknown_last(items.creator),
        "category_slot": unknown_last(items.category),
        "length_slot": unknown_last(items.length_slot),
        "profile_category": items.category.astype(np.float64),
        "profile_length": items.length_slot.astype(np.float64),
        "one_category": _one_hot(items.category, CATEGORY_SLOTS),
        "one_duration": _one_hot(items.length_slot, LENGTH_SLOTS),
        "length_ms": unknown_last(np.rint(items.length_s * 1000.0)),
        "created_ms": unknown_last(items.created_ms),
        "is_ad": unknown_last(items.is_ad),
        "vector": items.vectors,
    }
    return AttributeTable.of(items.ids, columns, name="items")


def _one_hot(slots: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    out = np.eye(size)[slots]
    out[-1] = 0.0
    return out


def _users(users: pl.DataFrame) -> AttributeTable:
    """What is known of users apart from what they did; all 0 for somebody who is not in the table."""
    columns: dict[str, NDArray[Any]] = {
        name: np.append(np.log1p(np.maximum(users[column].fill_null(0).to_numpy().astype(np.float64), 0.0)), 0.0)
        for name, column in _COUNTS.items()
    }
    slots = [zlib.crc32(text.encode()) % ACTIVITIES for text in users["activity"].fill_null("").to_list()]
    columns["activity"] = np.vstack([np.eye(ACTIVITIES)[np.array(slots, np.int64)], np.zeros((1, ACTIVITIES))])
    return AttributeTable.of(users["user_id"].to_numpy(), columns, name="users")
