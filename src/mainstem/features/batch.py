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
from mainstem.features.recent import EMPTY, Moments, Recent, Totals, user_side
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
        item_row = catalog.item_rows(feedback.item_id)
        events = Recent.of(feedback, item_row, statics.rates, lift)
        time_ms = feedback.time_ms.copy()
        time_ms[:earlier] = BEFORE_ALL
        return cls(
            catalog=catalog,
            statics=statics,
            likeness=Likeness.of(catalog, vectors),
            feedback=feedback,
            events=events,
            adds=sums.contributions(feedback, events, statics.rates),
            user_row=catalog.user_rows(feedback.user_id),
            item_row=item_row,
            time_ms=time_ms,
            delay_ms=delay_ms,
        )

    def values(self, asked: NDArray[np.int64], progress: Callable[[float], None] | None = None) -> Values:
        """The features of some rows of the timeline, each as of its own moment."""
        lists = _UserLists.of(self)
        item_sums = _all_item_sums(self, asked)
        out = Values(
            user=np.empty((len(asked), len(define.USER)), np.float32),
            item=np.empty((len(asked), len(define.ITEM)), np.float32),
            cross=np.empty((len(asked), len(define.CROSS)), np.float32),
            user_row=self.user_row[asked],
            item_row=self.item_row[asked],
        )
        for start in range(0, len(asked), _CHUNK):
            part = slice(start, start + _CHUNK)
            self._fill(out, part, asked[part], lists, item_sums)
            if progress is not None:
                progress(min(1.0, (start + _CHUNK) / len(asked)))
        return out

    def _fill(
        self, out: Values, part: slice, asked: NDArray[np.int64], lists: _UserLists, item_sums: sums.ItemSums
    ) -> None:
        recent, totals = lists.at(self, asked)
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
class _UserLists:
    """Events grouped by user, in order, with running sums."""

    order: NDArray[np.int64]
    start: NDArray[np.int64]
    visible: NDArray[np.int64]
    running: sums.Sums

    @classmethod
    def of(cls, line: Timeline) -> _UserLists:
        user = line.user_row.astype(np.int64)
        order = np.argsort(user, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        start = np.searchsorted(user[order], user)
        seen_until = _key(user[order], line.time_ms[order])
        limit = _key(user, line.time_ms - line.delay_ms)
        by_time = np.searchsorted(seen_until, limit, side="right")
        visible = np.where(line.time_ms >= 0, np.minimum(by_time, place), place)
        visible = np.where(user < 0, start, np.maximum(visible, start))
        running = np.concatenate([np.zeros((1, sums.WIDTH)), np.cumsum(line.adds[order], axis=0)])
        return cls(order, start, visible, running)

    def at(self, line: Timeline, asked: NDArray[np.int64]) -> tuple[Recent, Totals]:
        """The 50 latest visible events of each asked row's user, latest first, and the user's sums."""
        start, end = self.start[asked], self.visible[asked]
        places = end[:, None] - 1 - np.arange(define.KEPT)
        none = places < start[:, None]
        index = self.order[np.where(none, 0, places)]
        recent = line.events.at(index)
        blank = Recent.blank((1,))
        for name in Recent.__slots__:
            getattr(recent, name)[none] = getattr(blank, name)[0]
        total = self.running[end] - self.running[start]
        return recent, Totals(total[:, sums.COUNT], total[:, sums.GOOD], total[:, sums.EXPECTED])


def _key(group: NDArray[np.int64], time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number that sorts by group and then time."""
    return (group + 1) * (1 << 42) + np.clip(time_ms + 4, 0, (1 << 42) - 1)


def _all_item_sums(line: Timeline, asked: NDArray[np.int64]) -> sums.ItemSums:
    items = line.catalog.items
    row = np.where(line.item_row < 0, len(items), line.item_row).astype(np.int64)
    surface = row * define.SURFACE_SLOTS + sums.surface_key(line.feedback.surface)
    few = np.ascontiguousarray(line.adds[:, sums.FEW])
    now = line.time_ms[asked]
    until = np.where(now >= 0, np.maximum(now - line.delay_ms, -1), np.where(now == BEFORE_ALL, -4, BEFORE_ALL))
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
        running = np.concatenate([np.zeros((1, adds.shape[1])), np.cumsum(adds[order], axis=0)])
        return cls(keys[order], running)

    def until(self, group: NDArray[np.int64], time_ms: NDArray[np.int64]) -> sums.Sums:
        """The sums of each group over events no later than a time."""
        end = np.searchsorted(self.keys, _key(group, time_ms), side="right")
        start = np.searchsorted(self.keys, _key(group, np.full_like(time_ms, -4)), side="left")
        return self.running[np.maximum(end, start)] - self.running[start]


__all__ = ["DELAY_MS", "EMPTY", "Timeline", "Values"]
