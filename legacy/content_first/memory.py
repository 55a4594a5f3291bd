"""The live state: what users did last, and how often items were seen and enjoyed."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from content_first.catalogue import CATEGORY_BUCKETS, DURATION_BUCKETS, Items
from content_first.content import WIDTH
from content_first.flags import OUTCOMES
from content_first.folder import Before

ACTIONS_KEPT = 50
HOURS_KEPT = 31
"""Seven more than the longest window, so that a request about a moment that has passed still finds its whole day."""
HOUR_MS = 3_600_000
LABEL_WINDOW_MS = 30 * 60_000
SESSION_GAP_MS = 30 * 60_000
TASTE_DECAY = 0.9
SEEN_RECORDS_KEPT = 2_000_000

LIKE, FOLLOW, HATE, LONG_VIEW = (1 << OUTCOMES.index(name) for name in ("like", "follow", "hate", "long_view"))
ENGAGED = sum(1 << OUTCOMES.index(name) for name in ("like", "follow", "comment", "forward", "long_view"))
"""What makes an item one that the user is held to have enjoyed. A click alone does not."""

VIEWS, FIRST_OUTCOME, WATCH_S, LENGTH_S, OLD_VIEWS, OLD_LONG, OLD_LIKE = 0, 1, 8, 9, 10, 11, 12
SESSION_START, SESSION_VIEWS, SESSION_LONG, LAST_MS, ACTIONS = 13, 14, 15, 16, 17
COUNTERS = 18
RING_ITEM, RING_DID, RING_MS, RING_TAG = range(4)
_OUTCOME_COUNTS = ((np.arange(1 << len(OUTCOMES))[:, None] >> np.arange(len(OUTCOMES))) & 1).astype(np.float64)

_ARRAYS = (
    "user_counts", "user_hours", "user_ring", "user_taste", "user_profile", "user_category", "user_duration",
    "item_counts", "item_hours", "creator_counts", "category_counts", "all_counts",
)  # fmt: skip


class Memory:
    """Everything that changes while the stack serves. Row 0 of users and items is the unknown one and stays zero."""

    def __init__(self, items: Items, known_users: dict[int, int]) -> None:
        users, n_items = len(known_users) + 1, len(items.ids)
        self._items = items
        self.user_rows = dict(known_users)
        self.user_counts = np.zeros((users, COUNTERS))
        self.user_hours = np.zeros((users, HOURS_KEPT, 3))
        self.user_ring = np.zeros((users, 4, ACTIONS_KEPT), dtype=np.int64)
        self.user_taste = np.zeros((users, 2, WIDTH))
        self.user_profile = np.zeros((users, 3))
        self.user_category = np.zeros((users, CATEGORY_BUCKETS, 2), dtype=np.float32)
        self.user_duration = np.zeros((users, DURATION_BUCKETS, 2), dtype=np.float32)
        self.item_counts = np.zeros((n_items, 13))
        self.item_hours = np.zeros((n_items, HOURS_KEPT, 3))
        self.creator_counts = np.zeros((len(items.creator_ids), 2))
        self.category_counts = np.zeros((CATEGORY_BUCKETS, 2))
        self.all_counts = np.zeros(2)
        self.profiles_open = True
        self.follows: dict[int, set[int]] = {}
        self.waiting: list[tuple[int, int, tuple[int, int, bool, int, float]]] = []
        self.seen_records: dict[Any, None] = {}
        self.events_seen = 0

    # -- feedback in ---------------------------------------------------------------------------------------------
    def first_time(self, key: Any) -> bool:
        """Is this record new? Remembers it when it is."""
        if key in self.seen_records:
            return False
        self.seen_records[key] = None
        if len(self.seen_records) > SEEN_RECORDS_KEPT:
            del self.seen_records[next(iter(self.seen_records))]
        return True

    def first_times(self, request_ids: list[int], item_ids: list[int]) -> None:
        """Remembers a whole log's records at once: sending one of them again changes nothing."""
        self.seen_records.update(dict.fromkeys(zip(request_ids, item_ids, strict=True)))

    def take(self, user_id: int, item_row: int, time_ms: int, viewed: bool, did: int, watch_ms: float) -> None:
        """Keeps one record until a request comes whose time has reached it."""
        self.events_seen += 1
        heapq.heappush(self.waiting, (time_ms, self.events_seen, (user_id, item_row, viewed, did, watch_ms)))

    def catch_up(self, now_ms: int) -> None:
        """Makes visible every record that was served at or before this moment, oldest first."""
        waiting = self.waiting
        while waiting and waiting[0][0] <= now_ms:
            time_ms, _, (user_id, item_row, viewed, did, watch_ms) = heapq.heappop(waiting)
            self.apply(self.row_for(user_id), item_row, time_ms, viewed, did, watch_ms)

    def apply(self, user: int, item: int, time_ms: int, viewed: bool, did: int, watch_ms: float, tag: int = -1) -> int:
        """Counts one outcome. Only a viewable impression counts as shown; what was done without one goes to the
        last viewable impression of the same canonical item in the 30 minutes before.

        Returns:
            The tag of the impression that was credited, or -1 when nothing was.
        """
        if viewed:
            self._push_action(user, item, time_ms, did, tag)
            self._count(user, item, time_ms, did, 1.0, watch_ms)
            self._move_taste(user, item, did)
            return tag
        if not did:
            return -1
        ring = self.user_ring[user]
        slot = _last_touch(ring, item, time_ms)
        if slot < 0:
            return -1
        new = did & ~int(ring[RING_DID, slot])
        ring[RING_DID, slot] |= did
        self._count(user, item, time_ms, new, 0.0, 0.0)
        if new & ENGAGED:
            self._move_taste(user, item, new)
        return int(ring[RING_TAG, slot])

    def _push_action(self, user: int, item: int, time_ms: int, did: int, tag: int) -> None:
        counts = self.user_counts[user]
        slot = int(counts[ACTIONS]) % ACTIONS_KEPT
        self.user_ring[user, :, slot] = (item, did, time_ms, tag)
        counts[ACTIONS] += 1
        if time_ms - counts[LAST_MS] > SESSION_GAP_MS:
            counts[SESSION_START : SESSION_LONG + 1] = (time_ms, 0.0, 0.0)
        if time_ms > counts[LAST_MS]:
            counts[LAST_MS] = time_ms

    def _count(self, user: int, item: int, time_ms: int, did: int, views: float, watch_ms: float) -> None:
        items, long_view = self._items, 1.0 if did & LONG_VIEW else 0.0
        watch_s = watch_ms / 1000.0 if views and watch_ms == watch_ms else 0.0
        length_s = items.duration_s[item] if views and watch_ms == watch_ms else 0.0
        gained = (views, *_OUTCOME_COUNTS[did], watch_s, length_s)
        counts = self.user_counts[user]
        counts[: LENGTH_S + 1] += gained
        counts[SESSION_VIEWS] += views
        counts[SESSION_LONG] += long_view
        _bump_hour(self.user_hours[user], time_ms, views, long_view)
        if not item:
            return
        self.item_counts[item, : LENGTH_S + 1] += gained
        _bump_hour(self.item_hours[item], time_ms, views, long_view)
        category, creator = items.category[item], items.creator[item]
        pair = (views, long_view)
        if self.profiles_open:
            self.user_category[user, category] += pair
            self.user_duration[user, items.duration_bucket[item]] += pair
        self.category_counts[category] += pair
        self.creator_counts[creator] += pair
        self.all_counts += pair
        if did & FOLLOW:
            self.follows.setdefault(user, set()).add(int(creator))

    def _move_taste(self, user: int, item: int, did: int) -> None:
        if item:
            side = self.user_taste[user, 0 if did & ENGAGED and not did & HATE else 1]
            side *= TASTE_DECAY
            side += self._items.vectors[item]

    def close_profiles(self) -> None:
        """Fixes what each user is held to like: profiles are a batch job's table, built with the model and no fresher.

        Only what they were shown, how often, and the short list of recent actions stay live.
        """
        counts = self.user_counts
        views, long = counts[:, VIEWS] + counts[:, OLD_VIEWS], counts[:, FIRST_OUTCOME + 6] + counts[:, OLD_LONG]
        self.user_profile = np.stack([views, long, counts[:, FIRST_OUTCOME + 1] + counts[:, OLD_LIKE]], axis=1)
        self.profiles_open = False

    # -- users ---------------------------------------------------------------------------------------------------
    def row_of(self, user_id: int) -> int:
        """The user's row, 0 when nothing is known of them."""
        return self.user_rows.get(user_id, 0)

    def row_for(self, user_id: int) -> int:
        """The user's row, made when they are new."""
        row = self.user_rows.get(user_id, 0)
        if not row:
            row = self.user_rows[user_id] = len(self.user_rows) + 1
            if row >= len(self.user_counts):
                self._grow()
        return row

    def _grow(self) -> None:
        for name in (n for n in _ARRAYS if n.startswith("user_")):
            old = getattr(self, name)
            more = max(64, len(old) // 2)
            setattr(self, name, np.concatenate([old, np.zeros((more, *old.shape[1:]), old.dtype)]))

    # -- history, copies -----------------------------------------------------------------------------------------
    def load_before(self, before: Before) -> None:
        """Starts from what came before the log. Its order is known, its times are not, so no window holds any of it."""
        users = np.array([self.row_for(u) for u in before.user_id.tolist()], dtype=np.intp)
        items = self._items.rows(before.item_id.tolist())
        long, like = before.long_view.astype(np.float64), before.like.astype(np.float64)
        pair = np.stack([np.ones_like(long), long], axis=1)
        for counts, rows in ((self.user_counts, users), (self.item_counts, items)):
            for column, values in ((OLD_VIEWS, None), (OLD_LONG, long), (OLD_LIKE, like)):
                counts[:, column] += np.bincount(rows, weights=values, minlength=len(counts))
        self.item_counts[0] = 0
        known = items > 0
        self._load_pairs(users[known], items[known], pair[known])
        self._load_actions(users, items, before)

    def _load_pairs(self, users: NDArray[np.intp], items: NDArray[np.intp], pair: NDArray[np.float64]) -> None:
        catalogue = self._items
        np.add.at(self.user_category, (users, catalogue.category[items]), pair)
        np.add.at(self.user_duration, (users, catalogue.duration_bucket[items]), pair)
        np.add.at(self.category_counts, catalogue.category[items], pair)
        np.add.at(self.creator_counts, catalogue.creator[items], pair)
        self.all_counts += pair.sum(axis=0)

    def _load_actions(self, users: NDArray[np.intp], items: NDArray[np.intp], before: Before) -> None:
        did = before.long_view * LONG_VIEW + before.like * LIKE
        age = _places_from_end(users)
        kept = age < ACTIONS_KEPT
        lengths = np.minimum(np.bincount(users, minlength=len(self.user_counts)), ACTIONS_KEPT)
        slots = lengths[users[kept]] - 1 - age[kept]
        self.user_ring[users[kept], RING_ITEM, slots] = items[kept]
        self.user_ring[users[kept], RING_DID, slots] = did[kept]
        self.user_ring[users[kept], RING_TAG, slots] = -1
        self.user_counts[:, ACTIONS] = lengths
        for side, chosen in enumerate((did > 0, did == 0)):
            rows = np.flatnonzero(chosen & (items > 0) & kept)
            back = _places_from_end(users[rows])
            for step in range(ACTIONS_KEPT):
                now = rows[back == step]
                self.user_taste[users[now], side] += TASTE_DECAY**step * self._items.vectors[items[now]]

    def copy(self) -> dict[str, Any]:
        """Everything as it stands, for a later return to it."""
        arrays = {name: getattr(self, name).copy() for name in _ARRAYS}
        return arrays | {
            "user_rows": dict(self.user_rows),
            "follows": {user: set(creators) for user, creators in self.follows.items()},
            "waiting": list(self.waiting),
            "seen_records": dict(self.seen_records),
            "events_seen": self.events_seen,
            "profiles_open": self.profiles_open,
        }

    def go_back(self, kept: dict[str, Any]) -> None:
        """Returns to a copy; the copy itself stays untouched."""
        for name, value in kept.items():
            same = value if isinstance(value, int | bool) else value.copy()
            setattr(self, name, same)
        self.follows = {user: set(creators) for user, creators in kept["follows"].items()}


def _bump_hour(hours: NDArray[np.float64], time_ms: int, views: float, long_views: float) -> None:
    hour = time_ms // HOUR_MS
    slot = hours[hour % HOURS_KEPT]
    if slot[0] == hour:
        slot[1] += views
        slot[2] += long_views
    elif slot[0] < hour:
        slot[:] = (hour, views, long_views)


def _last_touch(ring: NDArray[np.int64], item: int, time_ms: int) -> int:
    times = ring[RING_MS]
    fits = (ring[RING_ITEM] == item) & (times > 0) & (times <= time_ms) & (times >= time_ms - LABEL_WINDOW_MS)
    if not item or not fits.any():
        return -1
    return int(np.argmax(np.where(fits, times, -1)))


def _places_from_end(groups: NDArray[np.intp]) -> NDArray[np.int64]:
    """For rows sorted by group: 0 for the last row of each group, 1 for the one before, and so on."""
    if not len(groups):
        return np.zeros(0, dtype=np.int64)
    last = np.append(np.flatnonzero(np.diff(groups)), len(groups) - 1)
    ends = np.repeat(last, np.diff(last, prepend=-1))
    return ends - np.arange(len(groups))
