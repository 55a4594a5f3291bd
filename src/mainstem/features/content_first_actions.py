"""What each user of the content-first stack did last: fifty actions, a session, and two tastes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.base.request import Floats, Rows
from mainstem.features.content_first_items import CONTENT_DIM

KEPT_ACTIONS: Final = 50
SESSION_GAP_MS: Final = 30 * 60_000
CREDIT_WINDOW_MS: Final = 30 * 60_000
NOBODY: Final = 0
"""The row of a user of whom nothing is known; it never changes."""

_BIT: Final = {name: 1 << place for place, name in enumerate(HEADS)}
CLICK, LIKE, FOLLOW, HATE, LONG_VIEW = (_BIT[name] for name in ("click", "like", "follow", "hate", "long_view"))
ENJOYED: Final = sum(_BIT[name] for name in ("like", "follow", "comment", "forward", "long_view"))
_FADE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Happened:
    """Outcomes, oldest first.

    Shapes: all [n]. ``did`` is a bit set over the heads; ``item`` the row of an original, -1 unknown; ``watch_s`` NaN unknown.
    """

    user: Rows
    item: Rows
    time_ms: NDArray[np.int64]
    viewed: NDArray[np.bool_]
    did: NDArray[np.int64]
    watch_s: Floats

    def take(self, at: Rows | NDArray[np.bool_]) -> Happened:
        """Some of them."""
        return Happened(*(getattr(self, field.name)[at] for field in fields(self)))


class Actions:
    """The part of the state in which order matters. Shapes: one row a user; ``taste[u, 2, 64]`` what they enjoy and what not.

    Args:
        users: How many rows.
        vectors: Content of each catalog row.
    """

    def __init__(self, users: int, vectors: Floats) -> None:
        self._vectors = vectors
        self.count = np.zeros(users, np.int64)
        self.last_ms = np.zeros(users, np.int64)
        self.session_views = np.zeros(users)
        self.item = np.full((users, KEPT_ACTIONS), -1, np.int64)
        self.did = np.zeros((users, KEPT_ACTIONS), np.int64)
        self.time_ms = np.zeros((users, KEPT_ACTIONS), np.int64)
        self.taste = np.zeros((users, 2, CONTENT_DIM))

    def take_in(self, events: Happened) -> NDArray[np.int64]:
        """What each event newly tells, as a bit set; -1 where it counts for nothing.

        An event with a view tells its own outcomes. One without gives them to the last view of the same original within 30 minutes
        before, among the user's last fifty actions. Users do not see each other, so each round takes one event of every user.
        """
        told = np.full(len(events.user), -1, np.int64)
        for at in _rounds(events.user):
            seen = events.viewed[at]
            told[at[seen]] = self._view(events.take(at[seen]))
            if not seen.all():
                late = at[~seen & (events.did[at] > 0)]
                told[late] = self._late(events.take(late))
        return told

    def newest_first(self, user: int) -> Rows:
        """The slots of a user's actions, the newest first."""
        return (self.count[user] - 1 - np.arange(min(int(self.count[user]), KEPT_ACTIONS))) % KEPT_ACTIONS

    def grow(self, users: int) -> None:
        """Makes room for more users."""
        blank = Actions(users - len(self.count), self._vectors)
        for name in self.arrays():
            setattr(self, name, np.concatenate([getattr(self, name), getattr(blank, name)]))

    def arrays(self) -> tuple[str, ...]:
        """The names of everything that changes."""
        return ("count", "last_ms", "session_views", "item", "did", "time_ms", "taste")

    def _view(self, seen: Happened) -> NDArray[np.int64]:
        user = seen.user
        slot = self.count[user] % KEPT_ACTIONS
        self.item[user, slot], self.did[user, slot], self.time_ms[user, slot] = seen.item, seen.did, seen.time_ms
        self.count[user] += 1
        fresh = seen.time_ms - self.last_ms[user] > SESSION_GAP_MS
        self.session_views[user] = np.where(fresh, 0.0, self.session_views[user]) + 1.0
        self.last_ms[user] = np.maximum(self.last_ms[user], seen.time_ms)
        self._fade_in(user, seen.item, seen.did)
        return seen.did

    def _late(self, late: Happened) -> NDArray[np.int64]:
        user, when = late.user, self.time_ms[late.user]
        fits = (self.item[user] == late.item[:, None]) & (late.item >= 0)[:, None] & (when > 0)
        fits &= (when <= late.time_ms[:, None]) & (when >= late.time_ms[:, None] - CREDIT_WINDOW_MS)
        slot = np.where(fits, when, -1).argmax(axis=1)
        hit = fits.any(axis=1)
        new = np.where(hit, late.did & ~self.did[user, slot], -1)
        self.did[user[hit], slot[hit]] |= late.did[hit]
        moves = hit & ((new & ENJOYED) > 0)
        self._fade_in(user[moves], late.item[moves], new[moves])
        return new

    def _fade_in(self, user: Rows, item: Rows, did: NDArray[np.int64]) -> None:
        """Tastes fade by a tenth with each item that joins them; what was hidden or passed over joins the other one."""
        known = item >= 0
        user, item = user[known], item[known]
        side = np.where(((did & ENJOYED) > 0) & ((did & HATE) == 0), 0, 1)[known]
        self.taste[user, side] = self.taste[user, side] * _FADE + self._vectors[item]


def _rounds(user: Rows) -> Iterator[Rows]:
    """Positions of everybody's first event, then of everybody's second, and so on."""
    if len(user) == 1:
        yield np.zeros(1, np.int64)
        return
    by_user = np.argsort(user, kind="stable")
    grouped = user[by_user]
    first = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(user) else np.zeros(0, np.int64)
    turn = np.arange(len(user)) - np.repeat(first, np.diff(np.r_[first, len(user)]))
    by_turn = by_user[np.argsort(turn, kind="stable")]
    yield from np.split(by_turn, np.cumsum(np.bincount(turn))[:-1]) if len(user) else ()
