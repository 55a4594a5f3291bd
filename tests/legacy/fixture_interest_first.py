"""A tiny log folder for the tests of the interest-first program, and the program itself on the path."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

LEGACY = Path(__file__).resolve().parents[2] / "legacy"
if str(LEGACY) not in sys.path:
    sys.path.insert(0, str(LEGACY))

DAY_MS = 86_400_000
START_MS = 1_650_816_000_000  # 2022-04-25 00:00 at UTC+8
DAYS = (20220425, 20220426, 20220427, 20220428)
UNTIL = 20220428
NOW_MS = START_MS + 3 * DAY_MS + 10 * 3_600_000
ITEMS, USERS = 80, 40
REPOST, ORIGINAL, VIOLATING, UNCHECKED, COLD = 1079, 1000, 1077, 1076, 1078


def write_folder(folder: Path, rows: int = 700, seed: int = 11) -> Path:
    """A log of four days: eight tags, users who love one tag, three surfaces."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    tag = np.arange(ITEMS) % 8
    item_ids = 1000 + np.arange(ITEMS)
    integrity = [1 if item == VIOLATING else None if item == UNCHECKED else 0 for item in item_ids.tolist()]
    pl.DataFrame(
        {
            "item_id": item_ids,
            "canonical_id": np.where(item_ids == REPOST, ORIGINAL, item_ids),
            "creator_id": 500 + np.arange(ITEMS) % 16,
            "entity_id": 500 + np.arange(ITEMS) % 16,
            "created_ms": START_MS - rng.integers(1, 20, ITEMS) * DAY_MS,
            "duration_ms": rng.integers(0, 90, ITEMS) * 1000,
            "kind": ["NORMAL"] * ITEMS,
            "category": tag.astype(np.int32),
            "tags": pl.Series([[int(one)] for one in tag], dtype=pl.List(pl.Int32)),
            "audio_id": np.full(ITEMS, -1),
            "integrity": pl.Series(integrity, dtype=pl.Int8),
        }
    ).write_parquet(folder / "items.parquet")
    write_users(folder)
    love = rng.integers(0, 8, USERS + 1)
    user, item = rng.integers(1, USERS + 1, rows), rng.integers(0, ITEMS - 4, rows)
    touched = rng.random(rows) < np.where(tag[item] == love[user], 0.7, 0.15)
    time_ms = np.sort(START_MS + rng.integers(0, 4 * DAY_MS, rows))
    pl.DataFrame(
        {
            "request_id": np.arange(rows),
            "user_id": user,
            "item_id": 1000 + item,
            "surface": rng.choice(["pages", "groups", "feed"], rows, p=[0.6, 0.3, 0.1]),
            "scenario": rng.integers(0, 3, rows).astype(np.int16),
            "time_ms": time_ms,
            "day": np.array(DAYS, dtype=np.int32)[(time_ms - START_MS) // DAY_MS],
            "viewed": np.ones(rows, dtype=np.int8),
            "click": (touched | (rng.random(rows) < 0.1)).astype(np.int8),
            "like": (touched & (rng.random(rows) < 0.3)).astype(np.int8),
            "follow": pl.Series([None] * rows, dtype=pl.Int8),
            "long_view": touched.astype(np.int8),
        }
    ).write_parquet(folder / "impressions.parquet")
    past = 600
    user, item = rng.integers(1, USERS + 1, past), rng.integers(0, ITEMS - 4, past)
    pl.DataFrame(
        {
            "user_id": user,
            "item_id": 1000 + item,
            "back": pl.Series(np.arange(past)[::-1].copy(), dtype=pl.Int32),
            "time_ms": np.full(past, START_MS - DAY_MS),
            "long_view": (rng.random(past) < np.where(tag[item] == love[user], 0.7, 0.15)).astype(np.int8),
            "like": np.zeros(past, dtype=np.int8),
        }
    ).write_parquet(folder / "history.parquet")
    return folder


def write_users(folder: Path) -> None:
    """Two cohorts, half and half."""
    users = 1 + np.arange(USERS)
    pl.DataFrame(
        {
            "user_id": users,
            "utc_offset_min": np.full(USERS, 480, dtype=np.int16),
            "activity": np.where(users % 2 == 0, "full_active", "low_active"),
        }
    ).write_parquet(folder / "users.parquet")


def ask(item_ids: list[int] | None = None, **changes: object) -> dict:
    """A rank or score body."""
    body = {"request_id": 9001, "user_id": 3, "surface": "pages", "scenario": 1, "now_ms": NOW_MS, "item_ids": item_ids}
    return body | changes


def event(item_id: int, **changes: object) -> dict:
    """A feedback record of a long view."""
    body = {
        "request_id": 70_000,
        "user_id": 3,
        "item_id": item_id,
        "surface": "pages",
        "scenario": 1,
        "time_ms": NOW_MS,
    }
    return body | {"viewed": 1, "click": 1, "long_view": 1} | changes
