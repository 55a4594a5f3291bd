"""A log folder small enough to read: 12 creators, reposts, one violating item, four days of made impressions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "legacy"))

HEADS = ("click", "like", "follow", "comment", "forward", "hate", "long_view")
HOUR_MS = 3_600_000
START_MS = 1_650_844_800_000  # 2022-04-25 00:00 UTC
DAYS = (20220425, 20220426, 20220427, 20220428)
UNTIL = 20220429
NOW_MS = START_MS + 4 * 24 * HOUR_MS
USERS, ITEMS = 40, 60
VIOLATING, UNCHECKED, REPOST_OF_3, REPOST_OF_4 = 5, 6, 101, 102


def write_tiny_log(folder: Path, seed: int = 3, requests: int = 700) -> Path:
    """Items 1-60 by creators 1-12; 101 and 102 repost items 3 and 4; user 7 follows creator 2 on the first day."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    _items(rng).write_parquet(folder / "items.parquet")
    pl.DataFrame(
        {
            "user_id": np.arange(1, USERS + 1), "utc_offset_min": np.full(USERS, 480, np.int16),
            "activity": ["full_active" if u % 2 else "low_active" for u in range(USERS)],
            "following_count": rng.integers(0, 99, USERS), "follower_count": rng.integers(0, 99, USERS),
            "registered_days": rng.integers(1, 999, USERS), "traits": [[1, -1]] * USERS,
        }
    ).write_parquet(folder / "users.parquet")  # fmt: skip
    _impressions(rng, requests).write_parquet(folder / "impressions.parquet")
    history = {
        "user_id": np.repeat(np.arange(1, USERS + 1), 12), "item_id": rng.integers(1, ITEMS + 1, USERS * 12),
        "back": np.tile(np.arange(12, dtype=np.int32), USERS), "time_ms": np.full(USERS * 12, START_MS - HOUR_MS),
        "long_view": rng.integers(0, 2, USERS * 12, dtype=np.int8), "like": np.zeros(USERS * 12, np.int8),
    }  # fmt: skip
    pl.DataFrame(history).write_parquet(folder / "history.parquet")
    return folder


def _items(rng: np.random.Generator) -> pl.DataFrame:
    ids = np.append(np.arange(1, ITEMS + 1), [REPOST_OF_3, REPOST_OF_4])
    original = np.where(ids == REPOST_OF_3, 3, np.where(ids == REPOST_OF_4, 4, ids))
    category = original % 7
    integrity = [1 if i == VIOLATING else None if i == UNCHECKED else 0 for i in ids.tolist()]
    created = START_MS - (original % 9) * 24 * HOUR_MS
    return pl.DataFrame(
        {
            "item_id": ids, "canonical_id": original, "creator_id": original % 12 + 1, "entity_id": ids % 5,
            "created_ms": created, "duration_ms": (original % 10 + 1) * 6000, "kind": ["NORMAL"] * len(ids),
            "category": category.astype(np.int32), "tags": [[int(c)] for c in category],
            "audio_id": rng.integers(0, 9999, len(ids)), "integrity": pl.Series(integrity, dtype=pl.Int8),
        }
    ).with_columns(pl.col("tags").cast(pl.List(pl.Int32)))  # fmt: skip


def _impressions(rng: np.random.Generator, requests: int) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    times = np.sort(rng.integers(START_MS, NOW_MS - HOUR_MS, requests))
    for request, time_ms in enumerate(times.tolist()):
        user = 7 if request == 0 else int(rng.integers(1, USERS + 1))
        surface = ("feed", "feed", "feed", "groups", "pages")[int(rng.integers(5))]
        for position in range(int(rng.integers(1, 4))):
            item, viewed = int(rng.integers(1, ITEMS + 1)), int(rng.random() < 0.9)
            item = 1 if request == 0 and position == 0 else item
            viewed = 1 if request == 0 else viewed
            outcomes = {name: int(viewed and rng.random() < 0.05) for name in HEADS}
            outcomes["long_view"] = int(viewed and rng.random() < (0.7 if item % 7 == user % 7 else 0.25))
            outcomes["follow"] = int(request == 0 and position == 0)
            rows.append(
                {
                    "request_id": request, "user_id": user, "item_id": item, "surface": surface, "scenario": 1,
                    "time_ms": time_ms, "day": DAYS[(time_ms - START_MS) // (24 * HOUR_MS)], "position": position,
                    "viewed": viewed, **outcomes, "watch_ms": 4000 * viewed, "duration_ms": 9000, "stack": None,
                    "arm": None, "propensity": None,
                }
            )  # fmt: skip
    small = dict.fromkeys((*HEADS, "viewed"), pl.Int8)
    return pl.DataFrame(rows).cast(small | {"scenario": pl.Int16, "position": pl.Int16, "day": pl.Int32})  # type: ignore[arg-type]


def event(
    item: int, time_ms: int, user: int = 7, request: int = 90_000, viewed: int = 1, **outcomes: int
) -> dict[str, Any]:
    """One feedback record; every head that is not named is 0."""
    head = {"request_id": request, "user_id": user, "item_id": item, "surface": "feed", "scenario": 1, "position": 0}
    return head | {"time_ms": time_ms, "viewed": viewed, "watch_ms": 0} | dict.fromkeys(HEADS, 0) | outcomes


def ask(item_ids: list[int] | None = None, user: int = 7, **more: Any) -> dict[str, Any]:
    """One rank request."""
    plain = {"request_id": 1, "user_id": user, "surface": "feed", "scenario": 1, "now_ms": NOW_MS, "count": 10}
    return plain | {"item_ids": item_ids, "explain": True, "failures": []} | more
