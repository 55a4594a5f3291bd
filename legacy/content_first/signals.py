"""Feature code: raw counters are copied at the moment of the request, turned into model inputs later, many at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from content_first import memory as m
from content_first.catalogue import ACTIVITY_BUCKETS, CATEGORY_BUCKETS, DURATION_BUCKETS, Items
from content_first.memory import Memory

Matrix = NDArray[np.float64]
WINDOWS_H = (1, 6, 24)
_CLICK = m.FIRST_OUTCOME
_LIKE = m.FIRST_OUTCOME + 1
_LONG = m.FIRST_OUTCOME + 6

USER_INPUTS = (
    "user_profile_views", "user_profile_long_rate", "user_profile_like_rate",
    *(f"user_views_{h}h" for h in WINDOWS_H), "user_session_views", "user_idle_min", "user_idle_known", "user_actions",
    "user_following", "user_followers", "user_registered", *(f"user_activity_{k}" for k in range(ACTIVITY_BUCKETS)),
)  # fmt: skip
PAIR_INPUTS = (
    "pair_category_lift", "pair_category_views", "pair_duration_lift", "pair_duration_views", "pair_taste", "pair_distaste",
    "pair_item_seen", "pair_item_long", "pair_creator_seen", "pair_creator_long", "pair_followed",
)  # fmt: skip
ITEM_INPUTS = (
    "item_views", "item_long_rate", "item_click_rate", "item_like_rate", "item_watch_share",
    *(f"item_views_{h}h" for h in WINDOWS_H), "item_long_rate_24h", "item_creator_rate", "item_category_rate",
    "item_seconds", "item_age_h", "item_ad",
    *(f"item_duration_{k}" for k in range(DURATION_BUCKETS)), *(f"item_category_{k}" for k in range(CATEGORY_BUCKETS)),
)  # fmt: skip
INPUTS = (*USER_INPUTS, *PAIR_INPUTS, *ITEM_INPUTS)
"""The surface is no input: it chooses the network. The log's finer scenario is not looked at."""
ABOUT_USER = len(USER_INPUTS) + len(PAIR_INPUTS)
"""The first columns are all about the user: a failed feature lookup leaves them 0."""


@dataclass(slots=True)
class Moments:
    """Requests whose raw counters have been copied and wait to be scored together."""

    sizes: list[int] = field(default_factory=list)
    surfaces: list[int] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    user_failed: list[bool] = field(default_factory=list)
    all_counts: list[Matrix] = field(default_factory=list)
    user_counts: list[Matrix] = field(default_factory=list)
    user_profile: list[Matrix] = field(default_factory=list)
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
        self, memory: Memory, catalogue: Items, user: int, items: NDArray[np.intp], surface: int, now_ms: int,
        user_failed: bool = False,
    ) -> None:  # fmt: skip
        """Copies what is known at this moment about one user and the items to be scored."""
        category, creator = catalogue.category[items], catalogue.creator[items]
        self.sizes.append(len(items))
        self.surfaces.append(surface)
        self.times_ms.append(now_ms)
        self.users.append(user)
        self.user_failed.append(user_failed)
        self.all_counts.append(memory.all_counts.copy())
        self.user_counts.append(memory.user_counts[user].copy())
        self.user_profile.append(memory.user_profile[user].copy())
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
    pairs = _pair_inputs(moments, catalogue, request, items, users[:, USER_INPUTS.index("user_profile_long_rate")])
    failed = np.array(moments.user_failed)
    users[failed] = 0.0
    pairs[failed[request]] = 0.0
    seen_items = _item_inputs(moments, catalogue, now_ms[request], items, base[request])
    joined = np.concatenate([users[request], pairs, seen_items], axis=1)
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


def _user_inputs(moments: Moments, about: Matrix, now_ms: NDArray[np.int64], base: Matrix) -> Matrix:
    counts, hours, profile = (np.array(a) for a in (moments.user_counts, moments.user_hours, moments.user_profile))
    in_session = now_ms - counts[:, m.LAST_MS] <= m.SESSION_GAP_MS
    idle_known = counts[:, m.LAST_MS] > 0
    idle_min = np.where(idle_known, np.maximum(now_ms - counts[:, m.LAST_MS], 0) / 60_000.0, 0.0)
    columns = [
        np.log1p(profile[:, 0]), _rate(profile[:, 1], profile[:, 0], base, 5.0), _rate(profile[:, 2], profile[:, 0], 0.02, 10.0),
        *(np.log1p(_window(hours, now_ms, h)[0]) for h in WINDOWS_H),
        np.log1p(np.where(in_session, counts[:, m.SESSION_VIEWS], 0.0)), np.log1p(idle_min), idle_known,
        np.minimum(counts[:, m.ACTIONS], m.ACTIONS_KEPT),
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
    loved = enjoyed[request]
    columns = [
        _rate(category[:, 1], category[:, 0], own, 4.0) - own, np.log1p(category[:, 0]),
        _rate(duration[:, 1], duration[:, 0], own, 4.0) - own, np.log1p(duration[:, 0]),
        _cosine(catalogue.vectors[items], taste[:, 0]), _cosine(catalogue.vectors[items], taste[:, 1]),
        np.log1p(same_item.sum(axis=1)), (same_item & loved).sum(axis=1) > 0,
        np.log1p(same_creator.sum(axis=1)), np.log1p((same_creator & loved).sum(axis=1)),
        np.concatenate(moments.followed),
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
