"""What each user was shown and did: the newest items one by one, and how strong each interest is by now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Ids
from mainstem.features.interest_first_crowd import HALF_LIFE_MS
from mainstem.features.interest_first_posts import INTEREST, Keys, Posts
from mainstem.features.interest_first_touch import Touches

KEPT: Final = 512
"""So many shown items of a user are kept at most. One more, and the older half goes at once."""
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Past:
    """One user's shown items, oldest first, and their histogram of touched interests as of ``as_of_ms``.

    Shapes: columns [k], ``keys[k, kinds]``, ``histogram[interests + 1]``.
    """

    offset_ms: int
    keys: Keys
    time_ms: Ids
    depth: Floats
    joined: NDArray[np.bool_]
    histogram: Floats
    as_of_ms: int

    def strength(self, now_ms: int) -> Floats:
        """How strong each interest is now. Shapes: [interests + 1]."""
        return self.histogram * 2.0 ** (-max(now_ms - self.as_of_ms, 0) / HALF_LIFE_MS)

    def local_days(self) -> Ids:
        """The user's own day of each shown item."""
        return (self.time_ms + self.offset_ms) // DAY_MS

    def slots(self, posts: Posts, kind: int, rows: NDArray[np.bool_] | slice = slice(None)) -> Keys:
        """Slots of one kind of some of the shown items, oldest first."""
        return self.keys[rows, kind] - posts.first[kind]


class Pasts:
    """The past of every user: the log's, made when a user is first asked for, and what was taken in since.

    Args:
        posts: Decides the keys.
        touches: The log's, each user's oldest first.
        keys: Of the log's showings. Shapes: [n, kinds].
    """

    def __init__(self, posts: Posts, touches: Touches, keys: Keys) -> None:
        order = np.argsort(touches.user_id, kind="stable")
        self._posts = posts
        self._log, self._log_keys = touches.take(order), keys[order]
        self.held: dict[int, Past] = {}

    def of(self, user_id: int) -> Past | None:
        """The user's past; None for somebody who was never shown anything."""
        if user_id not in self.held:
            start, end = (int(np.searchsorted(self._log.user_id, user_id, side)) for side in ("left", "right"))
            if start == end:
                return None
            self.held[user_id] = self._from_log(user_id, slice(start, end))
        return self.held[user_id]

    def add(self, touches: Touches, keys: Keys) -> None:
        """Takes in what happened since, each user's oldest first."""
        order = np.argsort(touches.user_id, kind="stable")
        users, starts = np.unique(touches.user_id[order], return_index=True)
        for user_id, rows in zip(users.tolist(), np.split(order, starts[1:]), strict=True):
            past = self.of(user_id) or self._nobody(user_id)
            self.held[user_id] = self._later(past, touches.take(rows), keys[rows])

    def _later(self, past: Past, touches: Touches, keys: Keys) -> Past:
        together = len(past.keys) + len(keys)
        kept = together if together <= KEPT else KEPT // 2 + 1 + (together - KEPT - 1) % (KEPT // 2)
        newest = slice(together - kept, None)
        as_of_ms = max(past.as_of_ms, int(touches.time_ms.max()))
        return Past(
            offset_ms=past.offset_ms,
            keys=np.concatenate([past.keys, keys])[newest],
            time_ms=np.concatenate([past.time_ms, touches.time_ms])[newest],
            depth=np.concatenate([past.depth, touches.depth])[newest],
            joined=np.concatenate([past.joined, touches.joined])[newest],
            histogram=past.strength(as_of_ms) + _strengths(self._posts, touches, keys, as_of_ms),
            as_of_ms=as_of_ms,
        )

    def _from_log(self, user_id: int, rows: slice) -> Past:
        touches, keys = self._log.take(rows), self._log_keys[rows]
        newest = slice(max(len(keys) - KEPT, 0), None)
        as_of_ms = int(touches.time_ms.max())
        return Past(
            offset_ms=self._offset_ms(user_id),
            keys=keys[newest],
            time_ms=touches.time_ms[newest],
            depth=touches.depth[newest],
            joined=touches.joined[newest],
            histogram=_strengths(self._posts, touches, keys, as_of_ms),
            as_of_ms=as_of_ms,
        )

    def _nobody(self, user_id: int) -> Past:
        nothing = np.empty(0, np.int64)
        keys = np.empty((0, len(self._posts.first)), np.int64)
        histogram = np.zeros(int(self._posts.sizes[INTEREST]))
        return Past(self._offset_ms(user_id), keys, nothing, np.empty(0), np.empty(0, bool), histogram, 0)

    def _offset_ms(self, user_id: int) -> int:
        row = self._posts.catalog.user_rows(np.array([user_id], np.int64))[0]
        return int(self._posts.catalog.users.utc_offset_ms[row])


def _strengths(posts: Posts, touches: Touches, keys: Keys, as_of_ms: int) -> Floats:
    """Touched interests, each weighing half as much every two weeks further back. Shapes: [interests + 1]."""
    weight = touches.depth * np.exp2((touches.time_ms - as_of_ms) / HALF_LIFE_MS)
    interest = keys[:, INTEREST] - posts.first[INTEREST]
    return np.bincount(interest, weight, int(posts.sizes[INTEREST])).astype(np.float64)
