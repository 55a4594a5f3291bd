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
WINDOWS_DAYS = np.array([7, 30, 90])
SERVED, DEPTH, LAST_SHOWN, LAST_TOUCH = slice(0, 3), slice(3, 6), 6, 7
"""Columns of a count row: served, and depth of touch in tenths, in 7, 30, 90 local days; then two times."""
HALF_LIFE_MS = 14 * DAY_MS
RECENT = (1, 3, 10, 30)
_RECENT_AT = np.array(RECENT) - 1
_FEW = 1 << 15  # up to so many comparisons it is quicker to compare than to make a table


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
    """What one user was shown and did."""

    __slots__ = ("histogram", "histogram_ms", "offset_ms", "past", "used")

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

    def _make_room(self) -> None:
        if self.used >= KEEP:  # forget the older half at once, not one row a call
            self.used = KEEP // 2
        self.past = self.past.newest(self.used, min(max(8, self.used // 2), KEEP - self.used))

    def counts(self, keys: np.ndarray, today: int) -> np.ndarray:
        """[items, relations, 8] how often the user was shown and touched things of these keys, as of a local day.

        Sums are whole numbers (of tenths), so both ways of counting give the same bits.
        """
        past, used = self.past, self.used
        inside = (today - past.day[:used, None] < WINDOWS_DAYS).astype(np.float64)
        tenths = np.rint(10.0 * past.depth[:used])  # exact sums
        weight = np.concatenate([inside, inside * tenths[:, None]], axis=1)
        time_ms = past.time_ms[:used].astype(np.float64)
        touch_ms = time_ms * (tenths > 0)
        count = _compare if keys.size * used <= _FEW else _tabulate
        return count(keys, past.keys[:used], weight, time_ms, touch_ms)


def _compare(
    keys: np.ndarray, past: np.ndarray, weight: np.ndarray, time_ms: np.ndarray, touch_ms: np.ndarray
) -> np.ndarray:
    """Every key against every shown item of its relation."""
    same = (keys[:, :, None] == past.T).astype(np.float64)
    out = np.empty((*keys.shape, 8))
    out[:, :, :6] = same @ weight
    (same * time_ms).max(axis=2, out=out[:, :, LAST_SHOWN])
    (same * touch_ms).max(axis=2, out=out[:, :, LAST_TOUCH])
    return out


def _tabulate(
    keys: np.ndarray, past: np.ndarray, weight: np.ndarray, time_ms: np.ndarray, touch_ms: np.ndarray
) -> np.ndarray:
    """A table of the user's keys first, then a look-up of each key."""
    known, at = np.unique(past, return_inverse=True)
    at, width = at.ravel(), past.shape[1]
    table = np.zeros((len(known) + 1, 8))  # the last row stays zero: a key the user does not have
    for column in range(6):
        table[:, column] = np.bincount(at, np.repeat(weight[:, column], width), len(table))
    np.maximum.at(table[:, LAST_SHOWN], at, np.repeat(time_ms, width))
    np.maximum.at(table[:, LAST_TOUCH], at, np.repeat(touch_ms, width))
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return table[np.where(known[place] == keys, place, len(known))]
