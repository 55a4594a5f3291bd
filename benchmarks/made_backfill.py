"""The point-in-time job that feature engines are compared on: a made log, 42 declared features, and what an oracle needs.

Count, sum and mean over one hour, one day and seven days, and the last five amounts, by user, item and user x category: 42
columns. Times differ between all events, so that an engine without log offsets has one right answer too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mainstem.features.engines.job import BackfillJob
from mainstem.features.engines.runners import Runner, Threads
from mainstem.features.language import Context, Feature, Source, count, last, mean, total
from mainstem.features.language.feature_set import FeatureSet

HOUR_MS = 3_600_000
START_MS = 1_699_920_000_000
SPAN_MS = 30 * 24 * HOUR_MS
WINDOWS = {"1h": (HOUR_MS, 300_000), "1d": (24 * HOUR_MS, HOUR_MS), "7d": (168 * HOUR_MS, HOUR_MS)}
"""Length and step of each window: it begins at a whole step, as declared windows do."""
KEYS = {"user": ("user_id",), "item": ("item_id",), "user_cat": ("user_id", "category")}
EVENTS = Source("events", dict.fromkeys(("time_ms", "user_id", "item_id", "category", "amount"), "int64"))


def declared() -> FeatureSet:
    """The 42 features, in the words of a definitions file."""
    features = [Feature(name, Context()) for name in ("now_ms", "user_id", "item_id", "category")]
    for name, key in KEYS.items():
        by = {"over": key, "source": EVENTS, "windows": tuple(WINDOWS), "dtype": "float64"}
        features += [
            Feature(f"{name}_n", count(), **by),
            Feature(f"{name}_sum", total("amount", scale=1.0), **by),
            Feature(f"{name}_mean", mean("amount", scale=1.0), **by),
            Feature(f"{name}_recent", last(5, amount="amount"), over=key, source=EVENTS),
            *(Feature(f"{name}_last_{at}", f"at({name}_recent.amount, {at})", dtype="float64") for at in range(5)),
        ]
    return FeatureSet(features)


def columns() -> tuple[str, ...]:
    """The 42 columns, key by key."""
    found = []
    for name in KEYS:
        found += [f"{name}_{what}_{window}" for what in ("n", "sum", "mean") for window in WINDOWS]
        found += [f"{name}_last_{at}" for at in range(5)]
    return tuple(found)


def made_log(events: int, labels: int, seed: int = 1) -> tuple[pa.Table, pa.Table]:
    """Events, and some of them as labels: each asks for what its server had seen, which is everything before it."""
    draw = np.random.default_rng(seed)
    gaps = draw.exponential(1.0, events)
    time_ms = START_MS + np.cumsum(1 + (gaps * (SPAN_MS - 2 * events) / gaps.sum()).astype(np.int64))
    users, items = max(50, events // 25), max(25, events // 50)
    user, item = ((size * draw.random(events) ** 2).astype(np.int64) for size in (users, items))
    log = {
        "offset": np.arange(events),
        "time_ms": time_ms,
        "user_id": user,
        "item_id": item,
        "category": item % 40,
        "amount": draw.integers(0, 100, events),
    }
    at = np.sort(draw.choice(events, labels, replace=False))
    asked = {"now_ms": time_ms[at], "as_of": at} | {name: log[name][at] for name in ("user_id", "item_id", "category")}
    return pa.table(log), pa.table(asked)


def write(folder: Path, events: int, labels: int) -> None:
    """Both tables as Parquet."""
    for name, table in zip(("events", "labels"), made_log(events, labels), strict=True):
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=1 << 20)


def job(events: object, labels: object, runner: Runner | None = None, **changed: int) -> BackfillJob:
    """The job through the public definitions."""
    return BackfillJob(declared(), {"events": events}, labels, columns=columns(), runner=runner or Threads(), **changed)
