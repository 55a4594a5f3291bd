"""One user's memory: shown items, counts in local-day windows, and the decayed interest histogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .catalogue import RELATIONS
from .folder import DAY_MS

if TYPE_CHECKING:
    from .memory import Shown

KEEP = 512  # the newest shown items of a user that are remembered one by one
WINDOWS_DAYS = (7, 30, 90)
SERVED, DEPTH, LAST_SHOWN, LAST_TOUCH = slice(0, 3), slice(3, 6), 6, 7
"""Columns of a count row: served and depth of touch in 7, 30, 90 local days; then two times."""
HALF_LIFE_MS = 14 * DAY_MS
RECENT = (1, 3, 10, 30)
_RECENT_AT = np.array(RECENT) - 1


@dataclass(frozen=True, slots=True)
class Past:
    """Shown items of one user, oldest first, as columns."""

    keys: np.ndarray
    time_ms: np.ndarray
    day: np.ndarray
    depth: np.ndarray
    joined: np.ndarray

    def __len__(self) -> int:
        return len(self.time_ms)

    def newest(self, count: int, room: int = 0) -> Past:
        """A copy of the newest rows, with room behind them."""
        columns = (getattr(self, name)[len(self) - count :] for name in Past.__slots__)
        return Past(*(np.concatenate([c, np.zeros((room, *c.shape[1:]), dtype=c.dtype)]) for c in columns))


NOTHING = Past(
    np.zeros((0, len(RELATIONS)), dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64),
    np.zeros(0), np.zeros(0, dtype=bool),
)  # fmt: skip


class Viewer:
    """What one user was shown and did.

    The count table is right for one local day; it is made again when a row leaves a window, and only then.
    """

    __slots__ = ("_day", "_keys", "_place", "_table", "histogram", "histogram_ms", "offset_ms", "past", "used")

    def __init__(
        self, offset_ms: int, interests: int, past: Past = NOTHING, interest: np.ndarray | None = None
    ) -> None:
        self.offset_ms = offset_ms
        self.histogram = np.zeros(interests)
        self.histogram_ms = 0
        if interest is not None:
            self.histogram_ms = int(past.time_ms.max())
            weight = past.depth * np.exp2((past.time_ms - self.histogram_ms) / HALF_LIFE_MS)
            self.histogram = np.bincount(interest, weight, minlength=interests)
        self.past = past if len(past) <= KEEP else past.newest(KEEP)
        self.used = len(self.past)
        self._day: int | None = None
        self._place: dict[int, int] = {}
        self._keys = np.zeros(0, dtype=np.int64)
        self._table = np.zeros((1, 8))

    def copy(self) -> Viewer:
        """A memory of its own with the same content."""
        twin = Viewer(self.offset_ms, len(self.histogram))
        twin.past, twin.used = self.past.newest(len(self.past)), self.used
        twin.histogram, twin.histogram_ms = self.histogram.copy(), self.histogram_ms
        twin._day, twin._place = self._day, self._place.copy()
        twin._keys, twin._table = self._keys.copy(), self._table.copy()
        return twin

    def local_day(self, time_ms: int) -> int:
        """The user's own day number."""
        return (time_ms + self.offset_ms) // DAY_MS

    def fresh_histogram(self, now_ms: int) -> np.ndarray:
        """[interests + 1] touches with a 14-day half-life, as of now."""
        return self.histogram * 2.0 ** (-max(now_ms - self.histogram_ms, 0) / HALF_LIFE_MS)

    def recent_depth(self) -> np.ndarray:
        """Mean depth of touch over the last 1, 3, 10, 30 shown items (over all there are when there are fewer)."""
        tail = self.past.depth[max(self.used - RECENT[-1], 0) : self.used][::-1].cumsum()
        at = np.minimum(_RECENT_AT, len(tail) - 1)
        return tail[at] / (at + 1)

    def add(self, shown: Shown, keys: np.ndarray, interest: int) -> None:
        """Takes in one shown item, counted because it was served, seen or not."""
        if self.used == len(self.past):
            self._make_room()
        past, at = self.past, self.used
        self.used += 1
        day = self.local_day(shown.time_ms)
        past.keys[at], past.time_ms[at], past.day[at] = keys, shown.time_ms, day
        past.depth[at], past.joined[at] = shown.depth, shown.joined
        age_ms = shown.time_ms - self.histogram_ms
        if age_ms > 0:
            self.histogram *= 2.0 ** (-age_ms / HALF_LIFE_MS)
            self.histogram_ms = shown.time_ms
        self.histogram[interest] += shown.depth * 2.0 ** (min(age_ms, 0) / HALF_LIFE_MS)
        if self._day is not None:
            self._count(keys, shown, self._day - day)

    def _make_room(self) -> None:
        if self.used >= KEEP:  # forget the older half at once, not one row a call
            self.used = KEEP // 2
            self._day = None
        self.past = self.past.newest(self.used, min(max(8, self.used // 2), KEEP - self.used))

    def _count(self, keys: np.ndarray, shown: Shown, age_days: int) -> None:
        place = self._place
        rows = [place.setdefault(key, len(place) + 1) for key in keys.tolist()]
        if len(place) >= len(self._table):
            self._table = np.concatenate([self._table, np.zeros((len(place) + 8, 8))])
        if len(place) > len(self._keys):
            self._keys = np.fromiter(place, dtype=np.int64, count=len(place))
        block = self._table[rows]
        for column, days in enumerate(WINDOWS_DAYS):
            if age_days < days:
                block[:, column] += 1.0
                block[:, 3 + column] += shown.depth
        np.maximum(block[:, LAST_SHOWN], shown.time_ms, out=block[:, LAST_SHOWN])
        if shown.depth > 0:
            np.maximum(block[:, LAST_TOUCH], shown.time_ms, out=block[:, LAST_TOUCH])
        self._table[rows] = block

    def counts(self, today: int) -> tuple[np.ndarray, np.ndarray]:
        """The keys this user has, and their count rows from row 1 on. Row 0 is all zeros: a key they do not have."""
        if self._day != today:
            if self._day is None or self._window_moved(self._day, today):
                self._recount(today)
            self._day = today
        return self._keys, self._table

    def _window_moved(self, before: int, today: int) -> bool:
        """Whether any row is inside a window on one of the two days and outside on the other."""
        days = self.past.day[: self.used]
        low, high = min(before, today), max(before, today)
        return any(((days > low - window) & (days <= high - window)).any() for window in WINDOWS_DAYS)

    def _recount(self, today: int) -> None:
        past, used, width = self.past, self.used, len(RELATIONS)
        keys = past.keys[:used].ravel().tolist()
        place = {key: row for row, key in enumerate(dict.fromkeys(keys), start=1)}
        flat = np.fromiter(map(place.__getitem__, keys), dtype=np.int64, count=len(keys))
        age = today - past.day[:used]
        depth, time_ms = np.repeat(past.depth[:used], width), np.repeat(past.time_ms[:used], width)
        table = np.zeros((len(place) + 1, 8))
        for column, days in enumerate(WINDOWS_DAYS):
            inside = np.repeat((age < days).astype(np.float64), width)
            table[:, column] = np.bincount(flat, inside, len(table))
            table[:, 3 + column] = np.bincount(flat, inside * depth, len(table))
        np.maximum.at(table[:, LAST_SHOWN], flat, time_ms)
        touched = depth > 0
        np.maximum.at(table[:, LAST_TOUCH], flat[touched], time_ms[touched])
        self._table, self._place = table, place
        self._keys = np.fromiter(place, dtype=np.int64, count=len(place))
