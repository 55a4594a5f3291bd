"""The features of logged impressions as they were at that moment: nothing of itself, nothing later, nothing not yet known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.features import define, sums
from mainstem.features.catalog import Catalog
from mainstem.features.cross import Likeness, cross_side
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.recent import Moments, Recent, Totals, user_side
from mainstem.features.statics import STRENGTH, Statics, scenario_slot

DELAY_MS = 60_000
BEFORE_ALL = -2
"""The time of untimed events that come before every untimed event that is asked about."""

_CHUNK = 8_192


@dataclass(frozen=True, slots=True)
class Values:
    """The features of n impressions.

    Shapes:
        ``user`` is ``[n, u]``, ``item`` is ``[n, i]``, ``cross`` is ``[n, x]``, all float32.
    """

    user: NDArray[np.float32]
    item: NDArray[np.float32]
    cross: NDArray[np.float32]
    user_row: NDArray[np.int32]
    item_row: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Timeline:
    """All events of a log in order, with what each adds to the sums. Made once, asked for any of its rows.

    Attributes:
        feedback: Untimed events first (oldest first), then timed ones by time.
        earlier: How many of the untimed events come before everything that is asked about; later untimed events see
            the item sums of these only, because nothing says which of the others came first.
    """

    catalog: Catalog
    statics: Statics
    likeness: Likeness
    feedback: FeedbackBatch
    events: Recent
    lists: UserLists
    adds: sums.Sums
    user_row: NDArray[np.int32]
    item_row: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    delay_ms: int

    @classmethod
    def of(
        cls, catalog: Catalog, statics: Statics, feedback: FeedbackBatch, earlier: int = 0, delay_ms: int = DELAY_MS
    ) -> Timeline:
        """The timeline of a batch that is in order (``FeedbackBatch.from_history(...).then(from_frame(...))``)."""
        vectors, lift = statics.on(catalog)
        user_row, item_row = catalog.user_rows(feedback.user_id), catalog.item_rows(feedback.item_id)
        events = Recent.of(feedback, item_row, statics.rates, lift)
        adds = sums.contributions(feedback, events, statics.rates)
        lists = UserLists.of(user_row, adds)
        time_ms = feedback.time_ms.copy()
        time_ms[:earlier] = BEFORE_ALL
        return cls(
            catalog=catalog,
            statics=statics,
            likeness=Likeness.of(catalog, vectors),
            feedback=feedback,
            events=events,
            lists=lists,
            adds=sums.for_items(adds, lists.before(user_row)),
            user_row=user_row,
            item_row=item_row,
            time_ms=time_ms,
            delay_ms=delay_ms,
        )

    def values(
        self,
        asked: NDArray[np.int64],
        known_until_ms: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Values:
        """The features of some rows of the timeline, each as of its own moment.

        Args:
            asked: Rows of the timeline.
            known_until_ms: Events after this time are not read, of users and of items: a frozen state.
            progress: Told the share that is done.
        """
        visible = self._visible(known_until_ms)[asked]
        item_sums = _all_item_sums(self, asked, known_until_ms)
        out = Values(
            user=np.empty((len(asked), len(define.USER)), np.float32),
            item=np.empty((len(asked), len(define.ITEM)), np.float32),
            cross=np.empty((len(asked), len(define.CROSS)), np.float32),
            user_row=self.user_row[asked],
            item_row=self.item_row[asked],
        )
        for start in range(0, len(asked), _CHUNK):
            part = slice(start, start + _CHUNK)
            self._fill(out, part, asked[part], visible[part], item_sums)
            if progress is not None:
                progress(min(1.0, (start + _CHUNK) / len(asked)))
        return out

    def _visible(self, until_ms: int | None) -> NDArray[np.int64]:
        """The place behind the last event of its user that each row may read."""
        user, order = self.user_row.astype(np.int64), self.lists.order
        limit = self.time_ms - self.delay_ms
        if until_ms is not None:
            limit = np.minimum(limit, until_ms)
        by_time = np.searchsorted(_key(user[order], self.time_ms[order]), _key(user, limit), side="right")
        place, start = self.lists.place, self.lists.start
        visible = np.where(self.time_ms >= 0, np.minimum(by_time, place), place)
        return np.where(user < 0, start, np.maximum(visible, start))

    def _recent(self, asked: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[Recent, Totals]:
        """The 50 latest visible events of each asked row's user, latest first, and the user's sums."""
        start = self.lists.start[asked]
        places = end[:, None] - 1 - np.arange(define.KEPT)
        none = places < start[:, None]
        recent = self.events.at(self.lists.order[np.where(none, 0, places)])
        blank = Recent.blank((1,))
        for name in Recent.__slots__:
            getattr(recent, name)[none] = getattr(blank, name)[0]
        total = self.lists.running[end] - self.lists.running[start]
        return recent, Totals(total[:, sums.COUNT], total[:, sums.GOOD], total[:, sums.EXPECTED])

    def _fill(
        self,
        out: Values,
        part: slice,
        asked: NDArray[np.int64],
        visible: NDArray[np.int64],
        item_sums: sums.ItemSums,
    ) -> None:
        recent, totals = self._recent(asked, visible)
        rows, now = self.item_row[asked], self.feedback.time_ms[asked]
        moments = Moments(
            user_row=self.user_row[asked],
            slot=scenario_slot(self.feedback.scenario[asked]),
            surface=self.feedback.surface[asked],
            now_ms=now,
        )
        out.user[part] = user_side(recent, moments, totals, self.catalog, self.statics.rates, STRENGTH)
        here = sums.ItemSums(*(getattr(item_sums, name)[part] for name in sums.ItemSums.__slots__))
        out.item[part] = sums.item_side(here, rows, now, self.catalog)
        out.cross[part] = cross_side(recent, rows, self.likeness)


@dataclass(frozen=True, slots=True)
class UserLists:
    """Events grouped by user, in order, with running sums.

    Attributes:
        order: Event of each place in the grouping.
        start: Place of the first event of each event's user.
        place: Place of each event.
        running: Sums of all places before a place.
    """

    order: NDArray[np.int64]
    start: NDArray[np.int64]
    place: NDArray[np.int64]
    running: sums.Sums

    @classmethod
    def of(cls, user_row: NDArray[np.int32], adds: sums.Sums) -> UserLists:
        """The grouping of events that are in order."""
        order = np.argsort(user_row, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        start = np.searchsorted(user_row[order], user_row)
        return cls(order, start, place, running(adds[order]))

    def before(self, user_row: NDArray[np.int32]) -> sums.Sums:
        """The sums of each event's user over all events before it; nothing for unknown users."""
        return np.where(user_row[:, None] < 0, 0.0, self.running[self.place] - self.running[self.start])


def running(adds: sums.Sums) -> sums.Sums:
    """Sums of all rows before a row, with one row more at the end."""
    out = np.zeros((len(adds) + 1, adds.shape[1]))
    np.cumsum(adds, axis=0, out=out[1:])
    return out


def _key(group: NDArray[np.int64], time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number that sorts by group and then time."""
    return (group + 1) * (1 << 42) + np.clip(time_ms + 4, 0, (1 << 42) - 1)


def _all_item_sums(line: Timeline, asked: NDArray[np.int64], known_until_ms: int | None) -> sums.ItemSums:
    items = line.catalog.items
    row = np.where(line.item_row < 0, len(items), line.item_row).astype(np.int64)
    surface = row * define.SURFACE_SLOTS + sums.surface_key(line.feedback.surface)
    few = np.ascontiguousarray(line.adds[:, sums.FEW])
    now = line.time_ms[asked]
    until = np.where(now >= 0, np.maximum(now - line.delay_ms, -1), np.where(now == BEFORE_ALL, -4, BEFORE_ALL))
    if known_until_ms is not None:
        until = np.minimum(until, known_until_ms)
    by_item = _Grouped.of(row, line.time_ms, line.adds)
    opened = now // sums.BUCKET_MS
    window = np.ascontiguousarray(line.adds[:, sums.WINDOW])
    by_window = _Grouped.of(row, line.time_ms, window)

    def since(buckets: int) -> sums.Sums:
        first = np.maximum((opened - buckets + 1) * sums.BUCKET_MS, 0)
        return by_window.until(row[asked], until) - by_window.until(row[asked], np.minimum(first - 1, until))

    def grouped(key: NDArray[np.int64]) -> sums.Sums:
        return _Grouped.of(key, line.time_ms, few).until(key[asked], until)

    return sums.ItemSums(
        item=by_item.until(row[asked], until),
        surface=grouped(surface),
        creator=grouped(items.creator[line.item_row].astype(np.int64)),
        category=grouped(items.category[line.item_row].astype(np.int64)),
        day=since(4),
        three_days=since(sums.BUCKETS),
    )


@dataclass(frozen=True, slots=True)
class _Grouped:
    """Running sums by group and time."""

    keys: NDArray[np.int64]
    running: sums.Sums

    @classmethod
    def of(cls, group: NDArray[np.int64], time_ms: NDArray[np.int64], adds: sums.Sums) -> _Grouped:
        keys = _key(group, time_ms)
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], running(adds[order]))

    def until(self, group: NDArray[np.int64], time_ms: NDArray[np.int64]) -> sums.Sums:
        """The sums of each group over events no later than a time."""
        end = np.searchsorted(self.keys, _key(group, time_ms), side="right")
        start = np.searchsorted(self.keys, _key(group, np.full_like(time_ms, -4)), side="left")
        return self.running[np.maximum(end, start)] - self.running[start]
