"""A small made log for the tests of features and ranking: tables as a log folder holds them, with taste in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

START_MS = 1_650_800_000_000
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Tables:
    items: pl.DataFrame
    users: pl.DataFrame
    impressions: pl.DataFrame
    history: pl.DataFrame


def small_log(seed: int = 0, users: int = 60, items: int = 40, rows: int = 1500, history: int = 900) -> Tables:
    draw = np.random.default_rng(seed)
    taste, kind = draw.integers(0, 4, users), draw.integers(0, 4, items)
    quality = draw.normal(0.0, 0.7, items)

    def outcome(user: np.ndarray, item: np.ndarray) -> np.ndarray:
        odds = -1.2 + 2.5 * (taste[user] == kind[item]) + quality[item]
        return (draw.random(len(user)) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int8)

    user, item = draw.integers(0, users, rows), draw.integers(0, items, rows)
    time_ms = np.sort(START_MS + draw.integers(0, 6 * DAY_MS, rows))
    long_view = outcome(user, item)
    length = 5_000 + 1_000 * draw.integers(0, 60, items)
    length[0] = 0
    impressions = pl.DataFrame(
        {
            "request_id": np.arange(rows),
            "user_id": user * 3 + 7,
            "item_id": item * 5 + 100,
            "surface": np.array(["feed", "groups", "pages"])[draw.integers(0, 3, rows)],
            "scenario": draw.integers(-1, 5, rows).astype(np.int16),
            "time_ms": time_ms,
            "day": (20220425 + (time_ms - START_MS) // DAY_MS).astype(np.int32),
            "position": np.zeros(rows, np.int16),
            "viewed": np.ones(rows, np.int8),
            "click": np.maximum(long_view, draw.random(rows) < 0.2).astype(np.int8),
            "like": (long_view & (draw.random(rows) < 0.2)).astype(np.int8),
            "follow": np.zeros(rows, np.int8),
            "long_view": long_view,
            "watch_ms": (length[item] * draw.uniform(0.0, 1.5, rows)).astype(np.int64),
            "duration_ms": length[item],
        }
    ).with_columns(comment=pl.lit(None, pl.Int8), forward=pl.lit(0, pl.Int8), hate=pl.lit(0, pl.Int8))
    past_user, past_item = draw.integers(0, users, history), draw.integers(0, items, history)
    past = pl.DataFrame(
        {
            "user_id": past_user * 3 + 7,
            "item_id": past_item * 5 + 100,
            "time_ms": np.full(history, START_MS - DAY_MS),
            "long_view": outcome(past_user, past_item),
            "like": np.zeros(history, np.int8),
        }
    ).with_columns(back=pl.int_range(pl.len(), dtype=pl.Int32).over("user_id"))
    return Tables(_items(items, kind, length), _users(users, draw), impressions, past)


def _items(items: int, kind: np.ndarray, length: np.ndarray) -> pl.DataFrame:
    number = np.arange(items)
    return pl.DataFrame(
        {
            "item_id": number * 5 + 100,
            "canonical_id": number * 5 + 100,
            "creator_id": number // 3,
            "entity_id": number // 3,
            "created_ms": START_MS - DAY_MS * (number + 1),
            "duration_ms": length,
            "kind": np.where(number % 7 == 0, "AD", "NORMAL"),
            "category": kind.astype(np.int32),
            "tags": [[int(one)] for one in kind],
            "audio_id": number % 11,
            "integrity": pl.Series([None if one % 9 == 0 else 0 for one in number], dtype=pl.Int8),
        }
    )


def _users(users: int, draw: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": np.arange(users) * 3 + 7,
            "utc_offset_min": np.full(users, 480, np.int16),
            "activity": ["full_active" if one % 2 else "" for one in range(users)],
            "following_count": draw.integers(0, 50, users),
            "follower_count": draw.integers(0, 50, users),
            "registered_days": draw.integers(0, 500, users),
            "traits": [[int(one) % 3, -1] for one in range(users)],
        },
        schema_overrides={"traits": pl.List(pl.Int16)},
    )
