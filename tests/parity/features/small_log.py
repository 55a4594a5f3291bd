"""A small log and six features on it, computed in the plainest way, with every fault the causes are named for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from mainstem.parity.features.evidence import Variant
from mainstem.parity.features.meta import FeatureMeta

HOUR = 3_600_000
METAS = [
    FeatureMeta("count_1d", "1d", "apply"),
    FeatureMeta("watch_s", "ever", "apply"),
    FeatureMeta("age_s", "ever", "finish", unit="s"),
    FeatureMeta("hour", "", "context", unit="hour_of_day"),
    FeatureMeta("vector", "", "attribute"),
    FeatureMeta("rate", "1d", "finish"),
]


@dataclass(frozen=True)
class How:
    """How one side computes its features: the right way unless told."""

    timezone: float = 0.0
    hop: float = 0.0
    scale: float = 1.0
    empty: float = float("nan")
    late_dropped: bool = False
    behind: float = 0.0
    stopped: float = 2.0**60
    lagging: bool = False
    other_key: bool = False
    double_counted: bool = False
    duplicates_counted: bool = False
    gaps_left_out: bool = False
    truncated: bool = False
    clock_skew: float = 0.0
    label_leaked: bool = False
    narrow: bool = False

    def under(self, variant: Variant) -> How | None:
        """This side with one thing done differently."""
        name = variant.name
        if name == "default_swapped":
            return replace(self, empty=0.0 if np.isnan(self.empty) else float("nan"))
        if name in ("timezone", "hop", "behind", "stopped", "clock_skew", "scale"):
            return replace(self, **{name: variant.amount})
        return replace(self, **{name: not getattr(self, name)})


class SmallLog:
    """1,500 events of 20 users on 15 items over three days; a tenth comes hours late, some twice; 300 requests."""

    def __init__(self, seed: int, events: int = 1_500, requests: int = 300) -> None:
        rng = np.random.default_rng(seed)
        self.offset = np.arange(events)
        arrived = np.sort(rng.integers(0, 72 * HOUR, events)) + 20_000 * 24 * HOUR
        self.late = rng.random(events) < 0.1
        self.time = arrived - np.where(self.late, rng.integers(3 * HOUR, 30 * HOUR, events), 0)
        self.user = rng.integers(0, 20, events)
        self.item = rng.integers(0, 15, events)
        self.seconds = np.round(rng.gamma(2, 10, events), 3)
        self.twice = rng.random(events) < 0.1
        self.gap = (events // 4, events // 3)
        self.as_of = np.sort(rng.integers(events // 3, events, requests))
        self.now = arrived[self.as_of]
        # The event at as_of is the request's own outcome.
        self.of_user, self.of_item = self.user[self.as_of], self.item[self.as_of]
        # Some users have no event at all: their values are empty.
        self.of_user = np.where(rng.random(requests) < 0.15, 99, self.of_user)
        self.lag = np.where(rng.random(requests) < 0.4, rng.integers(50, 300, requests), 0)
        self.vectors = rng.normal(size=(15, 8)).astype(np.float32)

    def gaps(self) -> tuple[tuple[int, int], ...]:
        return (self.gap,)

    def lags(self) -> dict[str, int]:
        return {str(at): int(lag) for at, lag in enumerate(self.lag)}

    def table(self, how: How, rows: np.ndarray | None = None) -> pa.Table:
        """The values of some requests, computed this way."""
        rows = np.arange(len(self.as_of)) if rows is None else rows
        now = self.now[rows] + how.clock_skew
        seen = self._seen(how, rows)
        weight = 1 + (1 if how.double_counted else self.twice if how.duplicates_counted else np.zeros(len(self.offset)))
        start = np.floor((now + how.timezone) / HOUR) - 24 - how.hop
        tile = np.floor((self.time + how.timezone) / HOUR)
        # Days of the local clock, so that a shifted clock moves the window's start.
        day = 24 * np.floor((now + how.timezone) / (24 * HOUR)) - 24 - how.hop
        in_window = seen & (tile[None, :] > day[:, None]) & (self.time[None, :] <= now[:, None])
        recent = seen & (tile[None, :] > start[:, None])
        count = (in_window * weight).sum(axis=1)
        any_seen = seen.any(axis=1)
        watch = (seen * (np.round(self.seconds * 1_000) * weight)).sum(axis=1) / 1_000 * how.scale
        last = np.where(seen, self.time[None, :], -np.inf).max(axis=1)
        age = np.where(any_seen, (now - last) / 1_000, how.empty)
        rate = np.where(any_seen, (recent * self.seconds * weight).sum(axis=1) / 7.0, how.empty)
        rate = rate.astype(np.float32).astype(np.float64) if how.narrow else rate
        vectors = self.vectors[self.of_item[rows]][:, : 3 if how.truncated else 8]
        return pa.table(
            {
                "request_id": rows,
                "time_ms": self.now[rows],
                "offset": self.as_of[rows],
                "feature_set": ["v1"] * len(rows),
                "user_id": self.of_user[rows],
                "item_id": self.of_item[rows],
                "count_1d": count.astype(np.int64),
                "watch_s": watch,
                "age_s": age,
                "hour": (np.floor((now + how.timezone) / HOUR) % 24).astype(np.int64),
                "vector": pa.array(vectors.tolist(), pa.list_(pa.float32())),
                "rate": rate,
            }
        )

    def _seen(self, how: How, rows: np.ndarray) -> np.ndarray:
        upto = self.as_of[rows] + (1 if how.label_leaked else 0) - how.behind - (self.lag[rows] if how.lagging else 0)
        key = self.item if how.other_key else self.user
        wanted = self.of_item[rows] if how.other_key else self.of_user[rows]
        seen = (self.offset[None, :] < np.minimum(upto, how.stopped)[:, None]) & (key[None, :] == wanted[:, None])
        if how.late_dropped:
            seen &= ~self.late[None, :]
        if how.gaps_left_out:
            seen &= ~((self.offset >= self.gap[0]) & (self.offset < self.gap[1]))[None, :]
        return seen

    def recompute(self, offline: How):
        """A callback that computes sampled rows as ``offline`` does, with one thing done differently."""

        def again(variant: Variant, keys: pa.Table) -> pa.Table | None:
            how = offline.under(variant)
            return None if how is None else self.table(how, keys["request_id"].to_numpy())

        return again
