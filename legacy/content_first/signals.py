"""Feature code: raw counters are copied at the moment of the request, turned into model inputs later, many at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from content_first import memory as m
from content_first.catalogue import ACTIVITY_BUCKETS, CATEGORY_BUCKETS, DURATION_BUCKETS, Items
from content_first.memory import Memory

Matrix = NDArray[np.float64]
SCENARIO_BUCKETS = 16
WINDOWS_H = (1, 6, 24)
RECENT = (1, 3, 10, 50)
_CLICK = m.FIRST_OUTCOME
_LIKE = m.FIRST_OUTCOME + 1
_LONG = m.FIRST_OUTCOME + 6

USER_INPUTS = (
    "user_views", "user_old_views", "user_click_rate", "user_like_rate", "user_long_rate", "user_watch_share",
    *(f"user_views_{h}h" for h in WINDOWS_H), *(f"user_long_rate_{h}h" for h in WINDOWS_H),
    "user_session_views", "user_session_long_rate", "user_idle_min", "user_idle_known",
    *(f"user_long_last_{k}" for k in RECENT),
    "user_following", "user_followers", "user_registered", *(f"user_activity_{k}" for k in range(ACTIVITY_BUCKETS)),
)  # fmt: skip
PAIR_INPUTS = (
    "pair_category_rate", "pair_category_views", "pair_duration_rate", "pair_duration_views", "pair_taste", "pair_distaste",
    "pair_item_seen", "pair_item_long", "pair_creator_seen", "pair_creator_long", "pair_category_recent_long", "pair_followed",
)  # fmt: skip
ITEM_INPUTS = (
    "item_views", "item_long_rate", "item_click_rate", "item_like_rate", "item_watch_share",
    *(f"item_views_{h}h" for h in WINDOWS_H), "item_long_rate_24h", "item_creator_rate", "item_category_rate",
    "item_seconds", "item_age_h", "item_ad",
    *(f"item_duration_{k}" for k in range(DURATION_BUCKETS)), *(f"item_category_{k}" for k in range(CATEGORY_BUCKETS)),
)  # fmt: skip
PLACE_INPUTS = (*(f"scenario_{k}" for k in range(SCENARIO_BUCKETS)), "hour_sin", "hour_cos")
INPUTS = (*USER_INPUTS, *PAIR_INPUTS, *ITEM_INPUTS, *PLACE_INPUTS)
ABOUT_USER = len(USER_INPUTS) + len(PAIR_INPUTS)
"""The first columns are all about the user: a failed feature lookup leaves them 0."""


@dataclass(slots=True)
class Moments:
    """Requests whose raw counters have been copied and wait to be scored together."""

    sizes: list[int] = field(default_factory=list)
    surfaces: list[int] = field(default_factory=list)
    scenarios: list[int] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    user_failed: list[bool] = field(default_factory=list)
    all_counts: list[Matrix] = field(default_factory=list)
    user_counts: list[Matrix] = field(default_factory=list)
    user_hours: list[Matrix] = field(default_factory=list)
    user_ring: list[NDArray[np.int64]] = field(default_factory=list)
    user_taste: list[Matrix] = field(default_factory=list)
    items: list[NDArray[np.intp]] = field(default_factory=list)
    item_counts: list[Matrix] = field(default_factory=list)
    item_hours: list[Matrix] = field(default_factory=list)
    pair_category: list[NDArray[np.float32]] = field(default_factory=list)
    pair_duration: list[NDArray[np.float32]] = field(default_factory=list)
    creator_counts: list[Matrix] = field(default_factory=list)
    category_counts: list[Matrix] = field(default_factory=list)
    followed: list[NDArray[np.bool_]] = field(default_factory=list)

    def copy_now(
        self, memory: Memory, catalogue: Items, user: int, items: NDArray[np.intp], surface: int, scenario: int, now_ms: int,
        user_failed: bool = False,
    ) -> None:  # fmt: skip
        """Copies what is known at this moment about one user and the items to be scored."""
        category, creator = catalogue.category[items], catalogue.creator[items]
        self.sizes.append(len(items))
        self.surfaces.append(surface)
        self.scenarios.append(scenario)
        self.times_ms.append(now_ms)
        self.users.append(user)
        self.user_failed.append(user_failed)
        self.all_counts.append(memory.all_counts.copy())
        self.user_counts.append(memory.user_counts[user].copy())
        self.user_hours.append(memory.user_hours[user].copy())
        self.user_ring.append(memory.user_ring[user].copy())
        self.user_taste.append(memory.user_taste[user].copy())
        self.items.append(items)
        self.item_counts.append(memory.item_counts[items])
        self.item_hours.append(memory.item_hours[items])
        self.pair_category.append(memory.user_category[user, category])
        self.pair_duration.append(memory.user_duration[user, catalogue.duration_bucket[items]])
        self.creator_counts.append(memory.creator_counts[creator])
        self.category_counts.append(memory.category_counts[category])
        self.followed.append(followed_creators(memory, user, creator))

    def __len__(self) -> int:
        return len(self.sizes)


def followed_creators(memory: Memory, user: int, creator: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which candidates come from a creator this user followed?"""
    following = memory.follows.get(user)
    if not following:
        return np.zeros(len(creator), dtype=np.bool_)
    return np.array([int(c) in following for c in creator], dtype=np.bool_)


def model_inputs(moments: Moments, catalogue: Items, about: Matrix) -> Matrix:
    """What does the model see? ``[rows, len(INPUTS)]``, one row an item of a request; nothing missing: absent is 0."""
    request = np.repeat(np.arange(len(moments)), moments.sizes)
    items = np.concatenate(moments.items)
    now_ms = np.array(moments.times_ms, dtype=np.int64)
    base = _long_rate(np.array(moments.all_counts), 0.3, 100.0)
    users = _user_inputs(moments, about, now_ms, base)
    pairs = _pair_inputs(moments, catalogue, request, items, users[:, USER_INPUTS.index("user_long_rate")])
    failed = np.array(moments.user_failed)
    users[failed] = 0.0
    pairs[failed[request]] = 0.0
    seen_items = _item_inputs(moments, catalogue, now_ms[request], items, base[request])
    joined = np.concatenate([users[request], pairs, seen_items, _place_inputs(moments, now_ms)[request]], axis=1)
    return np.where(np.isfinite(joined), joined, 0.0)


def _rate(hits: Matrix, shown: Matrix, prior: Matrix | float, strength: float) -> Matrix:
    return (hits + strength * prior) / (shown + strength)


def _long_rate(counts: Matrix, prior: Matrix | float, strength: float) -> Matrix:
    return _rate(counts[:, 1], counts[:, 0], prior, strength)


def _window(hours: Matrix, now_ms: NDArray[np.int64], window_h: int) -> tuple[Matrix, Matrix]:
    """Views and long views since the UTC hour that began the window: whole clock hours, the running one included."""
    age = (now_ms // m.HOUR_MS)[:, None] - hours[:, :, 0]
    inside = (age >= 0) & (age < window_h)
    return np.where(inside, hours[:, :, 1], 0.0).sum(axis=1), np.where(inside, hours[:, :, 2], 0.0).sum(axis=1)


def _newest_first(ring: NDArray[np.int64], actions: Matrix) -> NDArray[np.int64]:
    """The ring of each request with its newest action first; empty places hold item 0."""
    order = (actions.astype(np.int64)[:, None] - 1 - np.arange(m.ACTIONS_KEPT)) % m.ACTIONS_KEPT
    return np.take_along_axis(ring, order[:, None, :], axis=2)


def _user_inputs(moments: Moments, about: Matrix, now_ms: NDArray[np.int64], base: Matrix) -> Matrix:
    counts, hours = np.array(moments.user_counts), np.array(moments.user_hours)
    ring = _newest_first(np.array(moments.user_ring), counts[:, m.ACTIONS])
    views, old = counts[:, m.VIEWS], counts[:, m.OLD_VIEWS]
    long_rate = _rate(counts[:, _LONG] + counts[:, m.OLD_LONG], views + old, base, 5.0)
    windows = [_window(hours, now_ms, h) for h in WINDOWS_H]
    in_session = now_ms - counts[:, m.LAST_MS] <= m.SESSION_GAP_MS
    session_views = np.where(in_session, counts[:, m.SESSION_VIEWS], 0.0)
    session_long = np.where(in_session, counts[:, m.SESSION_LONG], 0.0)
    idle_known = counts[:, m.LAST_MS] > 0
    idle_min = np.where(idle_known, np.maximum(now_ms - counts[:, m.LAST_MS], 0) / 60_000.0, 0.0)
    enjoyed = (ring[:, m.RING_DID] & m.LONG_VIEW) > 0
    filled = np.minimum(counts[:, m.ACTIONS], m.ACTIONS_KEPT)
    columns = [
        np.log1p(views), np.log1p(old), _rate(counts[:, _CLICK], views, 0.4, 5.0),
        _rate(counts[:, _LIKE] + counts[:, m.OLD_LIKE], views + old, 0.02, 10.0), long_rate,
        np.minimum(_rate(counts[:, m.WATCH_S], counts[:, m.LENGTH_S], 0.6, 60.0), 3.0),
        *(np.log1p(shown) for shown, _ in windows), *(_rate(hits, shown, long_rate, 3.0) for shown, hits in windows),
        np.log1p(session_views), _rate(session_long, session_views, long_rate, 2.0), np.log1p(idle_min), idle_known,
        *(_rate(enjoyed[:, :k].sum(axis=1), np.minimum(filled, k), long_rate, 1.0) for k in RECENT),
    ]  # fmt: skip
    rows = np.array(moments.users)
    known = about[np.where(rows < len(about), rows, 0)]
    return np.concatenate([np.stack(columns, axis=1), known], axis=1)


def _pair_inputs(
    moments: Moments, catalogue: Items, request: NDArray[np.intp], items: NDArray[np.intp], user_rate: Matrix
) -> Matrix:
    own = user_rate[request]
    category = np.concatenate(moments.pair_category).astype(np.float64)
    duration = np.concatenate(moments.pair_duration).astype(np.float64)
    ring, taste = np.array(moments.user_ring), np.array(moments.user_taste)[request]
    recent = ring[:, m.RING_ITEM]
    enjoyed = (ring[:, m.RING_DID] & m.LONG_VIEW) > 0
    there = (recent > 0)[request]
    same_item = (recent[request] == items[:, None]) & there
    same_creator = (catalogue.creator[recent][request] == catalogue.creator[items][:, None]) & there
    same_category = (catalogue.category[recent][request] == catalogue.category[items][:, None]) & there
    loved = enjoyed[request]
    columns = [
        _rate(category[:, 1], category[:, 0], own, 4.0), np.log1p(category[:, 0]),
        _rate(duration[:, 1], duration[:, 0], own, 4.0), np.log1p(duration[:, 0]),
        _cosine(catalogue.vectors[items], taste[:, 0]), _cosine(catalogue.vectors[items], taste[:, 1]),
        np.log1p(same_item.sum(axis=1)), (same_item & loved).sum(axis=1) > 0,
        np.log1p(same_creator.sum(axis=1)), np.log1p((same_creator & loved).sum(axis=1)),
        _rate((same_category & loved).sum(axis=1), same_category.sum(axis=1), own, 2.0), np.concatenate(moments.followed),
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float64)


def _cosine(vectors: Matrix, taste: Matrix) -> Matrix:
    """Content vectors have length 1 already; a user without any action has no taste and gets 0."""
    norm = np.sqrt((taste * taste).sum(axis=1))
    return (vectors * taste).sum(axis=1) / np.where(norm > 0, norm, 1.0)


def _item_inputs(
    moments: Moments, catalogue: Items, now_ms: NDArray[np.int64], items: NDArray[np.intp], base: Matrix
) -> Matrix:
    counts, hours = np.concatenate(moments.item_counts), np.concatenate(moments.item_hours)
    category_rate = _long_rate(np.concatenate(moments.category_counts), base, 50.0)
    creator_rate = _long_rate(np.concatenate(moments.creator_counts), category_rate, 20.0)
    views, old = counts[:, m.VIEWS], counts[:, m.OLD_VIEWS]
    long_rate = _rate(counts[:, _LONG] + counts[:, m.OLD_LONG], views + old, category_rate, 20.0)
    windows = [_window(hours, now_ms, h) for h in WINDOWS_H]
    age_h = np.maximum(now_ms - catalogue.created_ms[items], 0) / m.HOUR_MS
    columns = [
        np.log1p(views + old), long_rate, _rate(counts[:, _CLICK], views, 0.4, 20.0),
        _rate(counts[:, _LIKE] + counts[:, m.OLD_LIKE], views + old, 0.02, 50.0),
        np.minimum(_rate(counts[:, m.WATCH_S], counts[:, m.LENGTH_S], 0.6, 600.0), 3.0),
        *(np.log1p(shown) for shown, _ in windows), _rate(windows[-1][1], windows[-1][0], long_rate, 20.0),
        creator_rate, category_rate, np.log1p(catalogue.duration_s[items]), np.log1p(age_h), catalogue.is_ad[items],
    ]  # fmt: skip
    durations = np.eye(DURATION_BUCKETS)[catalogue.duration_bucket[items]]
    categories = np.eye(CATEGORY_BUCKETS)[catalogue.category[items]]
    joined = np.concatenate([np.stack(columns, axis=1), durations, categories], axis=1)
    joined[items == 0] = 0.0
    return joined


def _place_inputs(moments: Moments, now_ms: NDArray[np.int64]) -> Matrix:
    scenario = np.array(moments.scenarios)
    known = np.where(scenario < 0, SCENARIO_BUCKETS - 1, scenario % (SCENARIO_BUCKETS - 1))
    angle = (now_ms % (24 * m.HOUR_MS)) / (24 * m.HOUR_MS) * 2 * np.pi
    return np.concatenate([np.eye(SCENARIO_BUCKETS)[known], np.sin(angle)[:, None], np.cos(angle)[:, None]], axis=1)
