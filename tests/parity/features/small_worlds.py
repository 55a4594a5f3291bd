"""A small made log as a configuration of the unified features, and requests that are asked of it."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl

from mainstem.base.heads import HEADS
from mainstem.features.catalog import Catalog
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.statics import Rates, Statics
from mainstem.features.unified import UNIFIED
from mainstem.features.unified_state import FeatureState
from mainstem.features.unified_tables import unified_tables
from mainstem.parity.features.configuration import Asked, Configuration
from mainstem.parity.features.unified_door import UnifiedDoor

START_MS = 1_650_800_000_000
DAY_MS = 86_400_000
USERS, ITEMS = 40, 60


def small_configuration(rows: int = 1_500, past: int = 400, seed: int = 0) -> Configuration:
    draw = np.random.default_rng(seed)
    items = pl.DataFrame(
        {
            "item_id": np.arange(ITEMS) * 5 + 100,
            "creator_id": draw.integers(0, 12, ITEMS) + 1_000,
            "category": draw.integers(0, 6, ITEMS),
            "duration_ms": draw.integers(5, 90, ITEMS) * 1_000,
            "created_ms": START_MS - draw.integers(1, 40, ITEMS) * DAY_MS,
            "kind": ["NORMAL"] * ITEMS,
        }
    )
    users = pl.DataFrame(
        {
            "user_id": np.arange(USERS) * 3 + 7,
            "following_count": draw.integers(0, 90, USERS),
            "follower_count": draw.integers(0, 90, USERS),
            "registered_days": draw.integers(0, 900, USERS),
            "activity": ["full", "high"] * (USERS // 2),
            "utc_offset_min": draw.choice([0, 480], USERS),
        }
    )
    catalog = Catalog.from_tables(items, users)
    feedback = _feedback(draw, past, timed=False).then(_feedback(draw, rows, timed=True))
    rates = Rates.fit(feedback)
    statics = Statics.fit(catalog, feedback, rates)
    events = Events.from_feedback(feedback, 0)
    tables = unified_tables(catalog, statics)
    door = partial(_door, catalog, statics)
    return Configuration("unified", UNIFIED, tables, {"feedback": events}, door=door)


def _door(catalog: Catalog, statics: Statics) -> UnifiedDoor:
    return UnifiedDoor(FeatureState(catalog, statics))


def _feedback(draw: np.random.Generator, rows: int, timed: bool) -> FeedbackBatch:
    outcomes = np.zeros((rows, len(HEADS)), np.int8)
    outcomes[:, HEADS.index("long_view")] = draw.random(rows) < 0.4
    outcomes[:, HEADS.index("click")] = draw.random(rows) < 0.5
    outcomes[:, HEADS.index("like")] = draw.random(rows) < 0.1
    time_ms = np.sort(START_MS + draw.integers(0, 6 * DAY_MS, rows)) if timed else np.full(rows, -1)
    length = draw.integers(5, 90, rows).astype(np.float32)
    return FeedbackBatch(
        user_id=draw.integers(0, USERS, rows) * 3 + 7,
        item_id=draw.integers(0, ITEMS, rows) * 5 + 100,
        surface=draw.integers(0, 3, rows).astype(np.int8),
        scenario=draw.integers(-1, 5, rows).astype(np.int16),
        time_ms=time_ms,
        outcomes=outcomes,
        viewed=np.ones(rows, np.int8),
        watch_s=(length * draw.uniform(0, 1.5, rows)).astype(np.float32),
        duration_s=length,
    )


def small_asked(configuration: Configuration, requests: int = 120, seed: int = 1, logged: int = 2) -> Asked:
    draw = np.random.default_rng(seed)
    events = configuration.streams["feedback"]
    timed = np.flatnonzero(events.columns["time_ms"] >= 0)
    rows = np.sort(draw.choice(timed, requests, replace=False))
    candidates = draw.integers(0, ITEMS + 2, (requests, 6)) * 5 + 100
    candidates[:, 0] = events.columns["item_id"][rows]
    context = {
        "user_id": np.where(draw.random(requests) < 0.05, 10**9, events.columns["user_id"][rows]),
        "surface": events.columns["surface"][rows].astype(np.int64),
        "scenario": events.columns["scenario"][rows].astype(np.int64),
    }
    failed = draw.random(requests) < 0.05
    time_ms = np.asarray(events.columns["time_ms"][rows], np.int64)
    return Asked(np.arange(requests), time_ms, context, candidates, np.full(requests, logged), failed, rows)
