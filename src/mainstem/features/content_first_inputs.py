"""What the content-first networks see of a viewer and of each candidate; whatever is missing is 0."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.request import Floats, Request, Rows
from mainstem.features import content_first_state as state
from mainstem.features.content_first_actions import ENJOYED, KEPT_ACTIONS, LONG_VIEW, SESSION_GAP_MS
from mainstem.features.content_first_hours import HOUR_MS, WINDOWS_H
from mainstem.features.content_first_items import CATEGORY_SLOTS, LENGTH_SLOTS, ContentItems
from mainstem.features.content_first_state import ContentState
from mainstem.features.feedback import FeedbackBatch

ACTIVITIES: Final = 6
SEEDS: Final = 10
_WINDOWS: Final = tuple(f"views_{hours}h" for hours in WINDOWS_H)
_PAIR: Final = (
    *("category_lift", "category_views", "duration_lift", "duration_views", "taste", "distaste"),
    *("item_seen", "item_long", "creator_seen", "creator_long", "followed"),
)
USER: Final = (
    *("profile_views", "profile_long_rate", "profile_like_rate", *_WINDOWS, "session_views"),
    *("idle_min", "idle_known", "actions", "following", "followers", "registered"),
    *(f"activity_{slot}" for slot in range(ACTIVITIES)),
)
ITEM: Final = (
    *("views", "long_rate", "click_rate", "like_rate", "watch_share", *_WINDOWS),
    *("long_rate_24h", "creator_rate", "category_rate", "seconds", "age_h", "ad"),
    *(f"duration_{slot}" for slot in range(LENGTH_SLOTS)),
    *(f"category_{slot}" for slot in range(CATEGORY_SLOTS)),
)
NAMES: Final = (
    *(f"user_{name}" for name in USER),
    *(f"pair_{name}" for name in _PAIR),
    *(f"item_{name}" for name in ITEM),
)
_ABOUT_USER: Final = len(USER) + len(_PAIR)


@dataclass(frozen=True, slots=True)
class ContentViewer:
    """Who asks, as the content-first sources, features and rules read it.

    Shapes: ``side`` the user inputs; ``recent``, ``loved`` and ``recent_creator`` one entry for each kept action on a known item;
    ``category[64, 2]`` and ``length[8, 2]`` views and long views of the profile; ``seeds`` the newest items they enjoyed.
    """

    side: Floats
    told: bool
    long_rate: float
    base_rate: float
    recent: Rows
    loved: NDArray[np.bool_]
    recent_creator: NDArray[np.int64]
    taste: Floats
    category: Floats
    length: Floats
    seeds: Rows
    followed_creators: NDArray[np.int64]
    creator_of: NDArray[np.int64]

    def follows(self, rows: Rows) -> NDArray[np.bool_]:
        """Which candidates come from a creator they followed."""
        return np.isin(self.creator_of[rows], self.followed_creators)


class ContentReader:
    """Feature values as of the request's time, from the live state; also the memory that feedback moves."""

    names: tuple[str, ...] = NAMES

    def __init__(self, live: ContentState, users: pl.DataFrame) -> None:
        self.state = live
        self._about = about_users(users)

    def user(self, request: Request) -> ContentViewer:
        """The viewer as of now. When the lookup fails, only the network is blind: sources and rules still see them."""
        live, items = self.state, self.state.items
        live.catch_up(request.now_ms)
        user = live.user_row(request.user_id)
        actions, profile = live.actions, live.profile_row(user)
        slots = actions.newest_first(user)
        slots = slots[actions.item[user, slots] >= 0]
        recent, did = actions.item[user, slots], actions.did[user, slots]
        base_rate = _rate(live.everything[1], live.everything[0], 0.3, 100.0)
        side = self._side(user, profile, base_rate, request.now_ms)
        return ContentViewer(
            side=side,
            told="features" not in request.failures,
            long_rate=float(side[1]),
            base_rate=float(base_rate),
            recent=recent,
            loved=(did & LONG_VIEW) > 0,
            recent_creator=items.creator[recent],
            taste=actions.taste[user].copy(),
            category=live.profiles.category[profile],
            length=live.profiles.length[profile],
            seeds=_different(recent[(did & ENJOYED) > 0])[:SEEDS],
            followed_creators=live.followed(user),
            creator_of=items.creator,
        )

    def items(self, request: Request, user: ContentViewer, rows: Rows) -> Floats:
        """One row of inputs a candidate. Shapes: [n, f]."""
        original = self.state.items.original[rows]
        out = np.zeros((len(rows), len(NAMES)))
        if user.told:
            out[:, : len(USER)] = user.side
            out[:, len(USER) : _ABOUT_USER] = _pairs(self.state.items, user, original)
        known = original >= 0
        out[known, _ABOUT_USER:] = _item_inputs(self.state, user.base_rate, original[known], request.now_ms)
        return out

    def apply(self, feedback: FeedbackBatch) -> None:
        """Takes in outcomes."""
        self.state.apply(feedback)

    def served(self, request: Request, rows: Rows) -> None:
        """Being served is no outcome."""

    def _side(self, user: int, profile: int, base_rate: Floats | float, now_ms: int) -> Floats:
        live = self.state
        shown, long, liked = live.profiles.overall[profile]
        last_ms = int(live.actions.last_ms[user])
        session = live.actions.session_views[user] if now_ms - last_ms <= SESSION_GAP_MS else 0.0
        idle_min = max(now_ms - last_ms, 0) / 60_000.0 if last_ms > 0 else 0.0
        views, _ = live.user_hours.windows(np.array([user]), now_ms)
        counted = np.log1p([float(window[0]) for window in views] + [session, idle_min])
        head = [np.log1p(shown), _rate(long, shown, base_rate, 5.0), _rate(liked, shown, 0.02, 10.0), *counted]
        about = self._about[user if user < len(self._about) else 0]
        return np.array([*head, last_ms > 0, min(int(live.actions.count[user]), KEPT_ACTIONS), *about], np.float64)


def about_users(users: pl.DataFrame) -> Floats:
    """What is known of users apart from what they did, in the table's order from row 1 on; row 0 is nobody's, all zero."""
    names = ("following_count", "follower_count", "registered_days")
    counts = np.stack([users[name].fill_null(0).to_numpy().astype(np.float64) for name in names], axis=1)
    slots = [zlib.crc32(text.encode()) % ACTIVITIES for text in users["activity"].fill_null("").to_list()]
    known = np.hstack([np.log1p(np.maximum(counts, 0.0)), np.eye(ACTIVITIES)[np.array(slots, np.int64)]])
    return np.vstack([np.zeros((1, known.shape[1])), known])


def _pairs(items: ContentItems, user: ContentViewer, original: Rows) -> Floats:
    """What this viewer has had to do with each candidate. An unknown item has category and length slot 0."""
    out = np.empty((len(original), len(_PAIR)))
    for column, (profile, slot) in enumerate(((user.category, items.category), (user.length, items.length_slot))):
        shown, long = profile[slot[original]].T
        out[:, 2 * column] = _rate(long, shown, user.long_rate, 4.0) - user.long_rate
        out[:, 2 * column + 1] = np.log1p(shown)
    norm = np.linalg.norm(user.taste, axis=1)
    out[:, 4:6] = items.vectors[original] @ user.taste.T / np.where(norm > 0, norm, 1.0)
    same_item = original[:, None] == user.recent
    same_creator = items.creator[original][:, None] == user.recent_creator
    out[:, 6] = np.log1p(same_item.sum(axis=1))
    out[:, 7] = (same_item & user.loved).any(axis=1)
    out[:, 8] = np.log1p(same_creator.sum(axis=1))
    out[:, 9] = np.log1p((same_creator & user.loved).sum(axis=1))
    out[:, 10] = user.follows(original)
    return out


def _item_inputs(live: ContentState, base_rate: float, original: Rows, now_ms: int) -> Floats:
    """What is known of known items, whoever asks; each rate leans on that of its category, and that on everything's."""
    items, count = live.items, live.counts[original].T
    category, creator = live.categories[items.category[original]].T, live.creators[items.creator[original]].T
    category_rate = _rate(category[1], category[0], base_rate, 50.0)
    all_views, all_longs = count[state.VIEWS] + count[state.OLD_VIEWS], count[state.LONGS] + count[state.OLD_LONGS]
    long_rate = _rate(all_longs, all_views, category_rate, 20.0)
    windows, day_longs = live.item_hours.windows(original, now_ms)
    columns = (
        np.log1p(all_views),
        long_rate,
        _rate(count[state.CLICKS], count[state.VIEWS], 0.4, 20.0),
        _rate(count[state.LIKES] + count[state.OLD_LIKES], all_views, 0.02, 50.0),
        np.minimum(_rate(count[state.WATCH_S], count[state.LENGTH_S], 0.6, 600.0), 3.0),
        *np.log1p(windows),
        _rate(day_longs, windows[-1], long_rate, 20.0),
        _rate(creator[1], creator[0], category_rate, 20.0),
        category_rate,
        np.log1p(items.length_s[original]),
        np.log1p(np.maximum(now_ms - items.created_ms[original], 0) / HOUR_MS),
        items.is_ad[original],
    )
    out = np.zeros((len(original), len(ITEM)))
    out[:, : len(columns)] = np.stack(columns, axis=1)
    at = np.arange(len(original))
    out[at, len(columns) + items.length_slot[original]] = 1.0
    out[at, len(columns) + LENGTH_SLOTS + items.category[original]] = 1.0
    return out


def _rate(hits: Floats | float, shown: Floats | float, prior: Floats | float, strength: float) -> Floats:
    """A share that starts at the prior and needs ``strength`` views to get half away from it."""
    return np.asarray((hits + strength * prior) / (shown + strength))


def _different(rows: Rows) -> Rows:
    """Each row once, where it stands first."""
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)]
