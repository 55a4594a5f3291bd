"""Everything about users and items that the content-first stack learns from outcomes, as of the last request's time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Request, Rows
from mainstem.features.catalog import Catalog
from mainstem.features.content_first_actions import (
    CLICK,
    FOLLOW,
    KEPT_ACTIONS,
    LIKE,
    LONG_VIEW,
    NOBODY,
    Actions,
    Happened,
)
from mainstem.features.content_first_hours import ClockHours
from mainstem.features.content_first_items import CATEGORY_SLOTS, LENGTH_SLOTS, ContentItems
from mainstem.features.feedback import FeedbackBatch

VIEWS, LONGS, LIKES, CLICKS, WATCH_S, LENGTH_S, OLD_VIEWS, OLD_LONGS, OLD_LIKES = range(9)
"""Columns of what is counted of an item; the old ones come from before the log, when nothing had a time."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """What users are held to like: made once, when the stack starts, and no fresher. A user who came later has the row of nobody.

    Shapes: ``overall[u, 3]`` views, long views, likes; ``category[u, 64, 2]`` and ``length[u, 8, 2]`` views and long views.
    """

    overall: Floats
    category: Floats
    length: Floats

    @classmethod
    def of(cls, events: Happened, users: int, items: ContentItems) -> Profiles:
        """The sums over everything that happened."""
        seen, long, liked = (np.asarray(column, np.float64) for column in _three(events))
        overall = np.zeros((users, 3))
        np.add.at(overall, events.user, np.stack([seen, long, liked], axis=1))
        known = events.item >= 0

        def crossed(slot_of: NDArray[np.int64], slots: int) -> Floats:
            out = np.zeros((users, slots, 2))
            pair = np.stack([seen[known], long[known]], axis=1)
            np.add.at(out, (events.user[known], slot_of[events.item[known]]), pair)
            return out

        return cls(overall, crossed(items.category, CATEGORY_SLOTS), crossed(items.length_slot, LENGTH_SLOTS))


class ContentState:
    """The state, which feedback moves. An outcome waits until a request comes whose time has reached it.

    Args:
        items: What is known of items.
        user_ids: Users that have a row from the start, in order, from row 1 on.
        history: Outcomes without times, oldest first.
        logged: Outcomes by time, from which profiles are made too.
    """

    def __init__(
        self,
        items: ContentItems,
        user_ids: NDArray[np.int64],
        history: FeedbackBatch,
        logged: FeedbackBatch,
        catalog: Catalog,
    ) -> None:
        self.items = items
        self._catalog = catalog
        self._row_of: dict[int, int] = {user: row for row, user in enumerate(user_ids.tolist(), start=1)}
        users = len(user_ids) + 1
        self.actions = Actions(users, items.vectors)
        self.user_hours = ClockHours(users)
        self.item_hours = ClockHours(len(items.original))
        self.counts = np.zeros((len(items.original), OLD_LIKES + 1))
        self.creators = np.zeros((int(items.creator.max()) + 1, 2))
        self.categories = np.zeros((CATEGORY_SLOTS, 2))
        self.everything = np.zeros(2)
        self.follows: dict[int, set[int]] = {}
        self._waiting = FeedbackBatch.empty()
        before = self._before(self._happened(history))
        during = self._live(self._happened(logged))
        both = Happened(*(np.concatenate([getattr(before, f.name), getattr(during, f.name)]) for f in fields(Happened)))
        self.profiles = Profiles.of(both, len(self.actions.count), items)

    # -- feedback in
    def apply(self, feedback: FeedbackBatch) -> None:
        """Keeps outcomes until their time has come; those of one moment stay in the order in which they came."""
        waiting = self._waiting.then(feedback) if len(self._waiting) else feedback
        self._waiting = waiting.take(np.argsort(waiting.time_ms, kind="stable")) if len(waiting) > 1 else waiting

    def served(self, request: Request, rows: Rows) -> None:
        """Being served is no outcome: no request of this stack remembers an earlier one."""

    def catch_up(self, now_ms: int) -> None:
        """Lets every outcome be seen that was served at this moment or before."""
        due = int(np.searchsorted(self._waiting.time_ms, now_ms, side="right"))
        if due:
            self._live(self._happened(self._waiting.take(slice(0, due))))
            self._waiting = self._waiting.take(slice(due, None))

    # -- users
    def user_row(self, user_id: int) -> int:
        """The user's row, that of nobody when nothing is known of them."""
        return self._row_of.get(user_id, NOBODY)

    def profile_row(self, user: int) -> int:
        """Where the user's profile stands."""
        return user if user < len(self.profiles.overall) else NOBODY

    def followed(self, user: int) -> NDArray[np.int64]:
        """Codes of the creators this user followed, ascending."""
        return np.array(sorted(self.follows.get(user, ())), np.int64)

    # -- counting
    def _happened(self, feedback: FeedbackBatch) -> Happened:
        """The batch by rows. Whole milliseconds come back exactly from 32-bit seconds."""
        row = self._catalog.item_rows(feedback.item_id)
        watch_s = np.rint(feedback.watch_s.astype(np.float64) * 1000.0) / 1000.0
        return Happened(
            user=self._rows_made(feedback.user_id),
            item=self.items.original[row].astype(np.int64),
            time_ms=np.maximum(feedback.time_ms, 0),
            viewed=feedback.viewed == 1,
            did=(feedback.outcomes == 1) @ _BITS,
            watch_s=watch_s,
        )

    def _rows_made(self, user_ids: NDArray[np.int64]) -> Rows:
        row_of = self._row_of
        rows = np.array([row_of.setdefault(user, len(row_of) + 1) for user in user_ids.tolist()], np.int64)
        held = len(self.actions.count)
        if len(row_of) >= held:
            size = max(len(row_of) + 1, held + held // 2)
            self.actions.grow(size)
            self.user_hours.grow(size)
        return rows

    def _live(self, events: Happened) -> Happened:
        """Counts outcomes with times; answers what counted, and as what."""
        told = self.actions.take_in(events)
        counts = told >= 0
        new = Happened(*(getattr(events, f.name)[counts] for f in fields(Happened)))
        new = Happened(new.user, new.item, new.time_ms, new.viewed, told[counts], new.watch_s)
        seen, long, liked = (column.astype(np.float64) for column in _three(new))
        self.user_hours.add(new.user, new.time_ms, seen, long)
        known = np.flatnonzero(new.item >= 0)
        item = new.item[known]
        self.item_hours.add(item, new.time_ms[known], seen[known], long[known])
        timed = new.viewed & np.isfinite(new.watch_s)
        watched, length = np.where(timed, new.watch_s, 0.0), np.where(timed, self.items.length_s[new.item], 0.0)
        for column, values in (
            (VIEWS, seen),
            (LONGS, long),
            (LIKES, liked),
            (CLICKS, (new.did & CLICK) > 0),
            (WATCH_S, watched),
            (LENGTH_S, length),
        ):
            np.add.at(self.counts[:, column], item, values[known])
        self._pairs(item, seen[known], long[known])
        for at in known[(new.did[known] & FOLLOW) > 0].tolist():
            self.follows.setdefault(int(new.user[at]), set()).add(int(self.items.creator[new.item[at]]))
        return new

    def _before(self, events: Happened) -> Happened:
        """Counts outcomes without times: they are in no window, and only the last fifty of a user are actions."""
        events = Happened(
            events.user, events.item, events.time_ms, np.ones(len(events.user), bool), events.did, events.watch_s
        )
        known = events.item >= 0
        item = events.item[known]
        seen, long, liked = (column[known].astype(np.float64) for column in _three(events))
        for column, values in ((OLD_VIEWS, seen), (OLD_LONGS, long), (OLD_LIKES, liked)):
            np.add.at(self.counts[:, column], item, values)
        self._pairs(item, seen, long)
        self.actions.take_in(events.take(_last_of_each(events.user, KEPT_ACTIONS)))
        return events

    def _pairs(self, item: Rows, seen: Floats, long: Floats) -> None:
        pair = np.stack([seen, long], axis=1)
        np.add.at(self.creators, self.items.creator[item], pair)
        np.add.at(self.categories, self.items.category[item], pair)
        self.everything += pair.sum(axis=0)

    # -- snapshots
    def save(self, path: Path) -> None:
        """Writes the state for a restart."""
        arrays = {f"actions/{name}": getattr(self.actions, name) for name in self.actions.arrays()}
        arrays |= {name: getattr(self, name) for name in _TALLIES}
        arrays |= {f"hours/{name}": getattr(self, name).cells for name in _HOURS}
        arrays |= {f"waiting/{f.name}": getattr(self._waiting, f.name) for f in fields(FeedbackBatch)}
        follows = [(user, creator) for user, creators in self.follows.items() for creator in sorted(creators)]
        arrays |= {
            "users": np.array(list(self._row_of), np.int64),
            "follows": np.array(follows, np.int64).reshape(-1, 2),
        }
        scratch = path.with_name(f".{path.name}.part.npz")
        np.savez(scratch, **arrays)
        scratch.replace(path)

    def load(self, path: Path) -> None:
        """Takes the state from a file that ``save`` wrote; profiles are those this process was started with."""
        with np.load(path) as held:
            for name in self.actions.arrays():
                setattr(self.actions, name, held[f"actions/{name}"])
            for name in _TALLIES:
                setattr(self, name, held[name])
            for name in _HOURS:
                getattr(self, name).cells = held[f"hours/{name}"]
            self._waiting = FeedbackBatch(*(held[f"waiting/{f.name}"] for f in fields(FeedbackBatch)))
            self._row_of = {user: row for row, user in enumerate(held["users"].tolist(), start=1)}
            self.follows = {}
            for user, creator in held["follows"].tolist():
                self.follows.setdefault(user, set()).add(creator)


_BITS: Final = 1 << np.arange(7)
_TALLIES: Final = ("counts", "creators", "categories", "everything")
_HOURS: Final = ("user_hours", "item_hours")


def _three(events: Happened) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each was a view, a long view, a like."""
    return events.viewed, (events.did & LONG_VIEW) > 0, (events.did & LIKE) > 0


def _last_of_each(user: Rows, most: int) -> Rows:
    """Positions of the last events of each user, in order."""
    by_user = np.argsort(user, kind="stable")
    grouped = user[by_user]
    end = np.searchsorted(grouped, grouped, side="right")
    return by_user[end - np.arange(len(user)) <= most]
