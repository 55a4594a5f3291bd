"""The features as of now: arrays that every feedback batch moves forward, read once a request."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import StoreError
from mainstem.features import define, sums
from mainstem.features.catalog import Catalog
from mainstem.features.cross import Likeness
from mainstem.features.cross_one import OneUser
from mainstem.features.feedback import UNKNOWN_TIME, FeedbackBatch
from mainstem.features.finished import Finished
from mainstem.features.recent import Moments, Recent, Totals
from mainstem.features.recent_one import user_side_of_one
from mainstem.features.statics import STRENGTH, Statics, scenario_slot

FUTURE_MS = 5 * 60_000
"""How far ahead of now an event may lie before it is refused."""

_FEW = ("surface", "creator", "category")
_SUMS = ("item", "surface", "creator", "category", "window", "user")


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the records of one batch.

    Attributes:
        late: Applied although an event of the same user with a later time had been applied before. A late event counts in
            every sum and stands at the top of its user's list, in order of arrival.
        future: Refused, because their time lies more than five minutes ahead of now.
        unknown_users: Counted for the item only.
        unknown_items: Counted for the user and for "an unknown item".
        not_finite: Watch times or lengths that were not finite numbers and were taken as unknown.
    """

    applied: int = 0
    late: int = 0
    future: int = 0
    unknown_users: int = 0
    unknown_items: int = 0
    not_finite: int = 0

    def __add__(self, other: Applied) -> Applied:
        return Applied(*(getattr(self, name) + getattr(other, name) for name in Applied.__slots__))


class FeatureState:
    """All behavioural state of the unified stack. One writer; reads are plain gathers.

    Memory is bounded: about 1.5 kB a user (the last 50 events and lifetime sums) and 0.9 kB an item.
    """

    def __init__(self, catalog: Catalog, statics: Statics) -> None:
        self.catalog = catalog
        self.statics = statics
        self.counted = Applied()
        vectors, self._lift = statics.on(catalog)
        self.likeness = Likeness.of(catalog, vectors)
        self._cross = OneUser(self.likeness)
        items, users = len(catalog.items) + 1, len(catalog.users) + 1
        self._recent = Recent.blank((users, define.KEPT))
        self._head = np.zeros(users, np.int64)
        self._last_ms = np.full(users, UNKNOWN_TIME, np.int64)
        self._bucket = -1
        self._last_read: tuple[int, Recent] | None = None
        self._sums: dict[str, NDArray[np.float64]] = {
            "item": np.zeros((items, sums.WIDTH)),
            "surface": np.zeros((items * define.SURFACE_SLOTS, len(sums.FEW))),
            "creator": np.zeros((int(catalog.items.creator.max()) + 1, len(sums.FEW))),
            "category": np.zeros((int(catalog.items.category.max()) + 1, len(sums.FEW))),
            "window": np.zeros((items * sums.BUCKETS, len(sums.WINDOW))),
            "user": np.zeros((users, sums.WIDTH)),
        }
        self._now_bucket = -1
        self._ready = {
            "item": Finished(items, sums.LASTING.stop, self._finish_items),
            **{name: Finished(len(self._sums[name]), 3, partial(self._finish, name)) for name in _FEW},
        }

    def apply(self, feedback: FeedbackBatch, now_ms: int | None = None) -> Applied:
        """Takes in outcomes, in the order given.

        Args:
            feedback: What became of shown items.
            now_ms: When given, events that lie further ahead are refused and counted.
        """
        future = np.zeros(len(feedback), np.bool_) if now_ms is None else feedback.time_ms > now_ms + FUTURE_MS
        if future.any():
            feedback = feedback.take(~future)
        bad = ~np.isfinite(feedback.duration_s) | np.isinf(feedback.watch_s)
        items, users = self.catalog.item_rows(feedback.item_id), self.catalog.user_rows(feedback.user_id)
        events = Recent.of(feedback, items, self.statics.rates, self._lift)
        adds = sums.contributions(feedback, events, self.statics.rates)
        late = self._late(users, feedback.time_ms)
        before = self._add_users(events, users, adds)
        self._add_items(feedback, items, sums.for_items(adds, before))
        done = Applied(
            applied=len(feedback),
            late=late,
            future=int(future.sum()),
            unknown_users=int((users < 0).sum()),
            unknown_items=int((items < 0).sum()),
            not_finite=int(bad.sum()),
        )
        self.counted = self.counted + done
        return done

    def user_side(self, user_row: int, scenario: int, surface: int, now_ms: int) -> NDArray[np.float32]:
        """The user features of one request. Shapes: [len(define.USER)]."""
        moments = Moments(
            user_row=np.array([user_row], np.int32),
            slot=scenario_slot(np.array([scenario], np.int16)),
            surface=np.array([surface], np.int8),
            now_ms=np.array([now_ms], np.int64),
        )
        total = self._sums["user"][[user_row]] if user_row >= 0 else np.zeros((1, sums.WIDTH))
        totals = Totals(total[:, sums.COUNT], total[:, sums.GOOD], total[:, sums.EXPECTED])
        recent = self.recent(user_row)
        return user_side_of_one(recent, moments, totals, self.catalog, self.statics.rates, STRENGTH)

    def item_side(self, rows: NDArray[np.int32], surface: int, now_ms: int) -> NDArray[np.float32]:
        """The item features of candidates. Shapes: [n, len(define.ITEM)]."""
        items, ready = self.catalog.items, self._ready
        held = np.where(rows < 0, len(items), rows)
        slot = surface + 1 if 0 <= surface < define.SURFACE_SLOTS - 1 else 0
        self._as_of(now_ms)
        out = np.empty((len(rows), len(define.ITEM)), np.float32)
        out[:, sums.LASTING] = ready["item"].read(held)
        out[:, sums.ON_SURFACE] = ready["surface"].read(held * define.SURFACE_SLOTS + slot)
        out[:, sums.CREATOR] = ready["creator"].read(items.creator[rows])
        out[:, sums.CATEGORY] = ready["category"].read(items.category[rows])[:, 1:]
        out[:, sums.AGE] = sums.age(items.created_ms[rows], np.array([now_ms], np.int64))
        return out

    def lasting(self, now_ms: int) -> NDArray[np.float32]:
        """The item features of the whole catalog that no surface changes, read only. Shapes: [items, 13]."""
        self._as_of(now_ms)
        return self._ready["item"].whole()[:-1]

    def cross(self, user_row: int, rows: NDArray[np.int32], now_ms: int) -> NDArray[np.float32]:
        """The cross features of candidates. Shapes: [n, len(define.CROSS)]."""
        del now_ms  # no cross feature depends on the time itself yet; the signature leaves room for one
        return self._cross.features(self.recent(user_row), rows)

    def recent(self, user_row: int) -> Recent:
        """A user's kept events, latest first, read only: one request asks several times. Shapes: [1, 50]."""
        if self._last_read is None or self._last_read[0] != user_row:
            self._last_read = (user_row, self._events_of(user_row))
        return self._last_read[1]

    def _events_of(self, user_row: int) -> Recent:
        if user_row < 0:
            return Recent.blank((1, define.KEPT))
        places = (self._head[user_row] - 1 - np.arange(define.KEPT)) % define.KEPT
        return self._recent.at((np.array([[user_row]]), places[None, :]))  # type: ignore[arg-type]

    def _late(self, users: NDArray[np.int32], time_ms: NDArray[np.int64]) -> int:
        """How many events come after a later one of their user."""
        timed = (users >= 0) & (time_ms >= 0)
        if not timed.any():
            return 0
        user, at = users[timed], time_ms[timed]
        order = np.argsort(user, kind="stable")
        user, at = user[order], at[order]
        shift = user.astype(np.int64) << 42
        before = np.maximum.accumulate(shift + np.maximum(at, 0)) - shift
        late = int(((before > at) | (self._last_ms[user] > at)).sum())
        np.maximum.at(self._last_ms, user, at)
        return late

    def _add_items(self, feedback: FeedbackBatch, rows: NDArray[np.int32], adds: sums.Sums) -> None:
        catalog, held = self.catalog, np.where(rows < 0, len(self.catalog.items), rows).astype(np.int64)
        few = adds[:, sums.FEW]
        keys = {
            "item": held,
            "surface": held * define.SURFACE_SLOTS + sums.surface_key(feedback.surface),
            "creator": catalog.items.creator[rows],
            "category": catalog.items.category[rows],
        }
        for name, touched in keys.items():
            _add(self._sums[name], touched, adds if name == "item" else few)
            self._ready[name].touch(touched)
        bucket = feedback.time_ms // sums.BUCKET_MS
        if len(bucket) and (newest := int(bucket.max())) > self._bucket:
            self._open_bucket(newest)
        within = (feedback.time_ms >= 0) & (bucket > self._bucket - sums.BUCKETS)
        _add(
            self._sums["window"],
            held[within] * sums.BUCKETS + bucket[within] % sums.BUCKETS,
            adds[within][:, sums.WINDOW],
        )

    def _open_bucket(self, newest: int) -> None:
        """Empties the places of buckets that have left the three days."""
        table = self._sums["window"].reshape(-1, sums.BUCKETS, len(sums.WINDOW))
        fresh = np.arange(max(self._bucket + 1, newest - sums.BUCKETS + 1), newest + 1) % sums.BUCKETS
        table[:, fresh] = 0.0
        self._bucket = newest
        self._ready["item"].touch()

    def _as_of(self, now_ms: int) -> None:
        """Windows belong to a six-hour bucket of now; with another one every item is to be finished again."""
        if (now := now_ms // sums.BUCKET_MS) != self._now_bucket:
            self._now_bucket = now
            self._ready["item"].touch()

    def _finish(self, name: str, keys: NDArray) -> NDArray[np.float32]:
        return sums.counted(self._sums[name][keys])

    def _finish_items(self, held: NDArray) -> NDArray[np.float32]:
        return sums.lasting(self._sums["item"][held], *self._windows(held))

    def _windows(self, held: NDArray) -> tuple[sums.Sums, sums.Sums]:
        """The sums of the buckets that make up the last 24 and 72 hours."""
        now = self._now_bucket
        places = np.arange(sums.BUCKETS)
        holds = self._bucket - (self._bucket - places) % sums.BUCKETS
        table = self._sums["window"].reshape(-1, sums.BUCKETS, len(sums.WINDOW))[held]
        day = ((holds > now - 4) & (holds <= now)).astype(np.float64)
        three_days = ((holds > now - sums.BUCKETS) & (holds <= now)).astype(np.float64)
        both = np.einsum("nbc,kb->knc", table, np.stack([day, three_days]))
        return both[0], both[1]

    def _add_users(self, events: Recent, users: NDArray[np.int32], adds: sums.Sums) -> sums.Sums:
        """Moves the users' lists and sums forward; answers each event's user sums before it."""
        self._last_read = None
        order = np.argsort(users, kind="stable")
        order = order[np.searchsorted(users[order], 0) :]
        user = users[order].astype(np.int64)
        starts = np.flatnonzero(np.append(True, user[1:] != user[:-1])) if len(user) else np.empty(0, np.int64)
        sizes = np.diff(np.append(starts, len(user)))
        running = np.concatenate([np.zeros((1, sums.WIDTH)), np.cumsum(adds[order], axis=0)])
        before = np.zeros((len(users), sums.WIDTH))
        before[order] = self._sums["user"][user] + running[:-1] - np.repeat(running[starts], sizes, axis=0)
        self._sums["user"][user[starts]] += running[starts + sizes] - running[starts]
        rank = np.arange(len(user)) - np.repeat(starts, sizes)
        place = (self._head[user] + rank) % define.KEPT
        kept = rank >= np.repeat(sizes, sizes) - define.KEPT
        for name in Recent.__slots__:
            getattr(self._recent, name)[user[kept], place[kept]] = getattr(events, name)[order[kept]]
        self._head[user[starts]] += sizes
        return before

    def save(self, path: Path) -> None:
        """Writes the whole state to one ``.npz`` file; the file is complete or not there."""
        arrays = {f"sums_{name}": self._sums[name] for name in _SUMS}
        arrays |= {f"recent_{name}": getattr(self._recent, name) for name in Recent.__slots__}
        arrays |= {"head": self._head, "last_ms": self._last_ms, "bucket": np.array(self._bucket)}
        arrays |= {"item_ids": self.catalog.items.ids, "user_ids": self.catalog.users.ids}
        arrays |= {"counted": np.array([getattr(self.counted, name) for name in Applied.__slots__])}
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        with scratch.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)

    @classmethod
    def load(cls, path: Path, catalog: Catalog, statics: Statics) -> FeatureState:
        """The state that ``save`` wrote.

        Raises:
            StoreError: The state belongs to another catalog (``store-040``).
        """
        with np.load(path, allow_pickle=False) as arrays:
            same = np.array_equal(arrays["item_ids"], catalog.items.ids)
            if not same or not np.array_equal(arrays["user_ids"], catalog.users.ids):
                raise StoreError(
                    f"the saved state in {path.name} has {len(arrays['item_ids'])} items and {len(arrays['user_ids'])} "
                    f"users, which are not the {len(catalog.items)} and {len(catalog.users)} of this catalog",
                    code="store-040",
                    hint="replay the log into a fresh state",
                )
            state = cls(catalog, statics)
            state._sums = {name: arrays[f"sums_{name}"] for name in _SUMS}
            state._recent = Recent(*(arrays[f"recent_{name}"] for name in Recent.__slots__))
            state._head, state._last_ms, state._bucket = arrays["head"], arrays["last_ms"], int(arrays["bucket"])
            state.counted = Applied(*(int(value) for value in arrays["counted"]))
        return state


def _add(table: NDArray[np.float64], rows: NDArray, adds: NDArray[np.float64]) -> None:
    """Adds each row of ``adds`` to its row of the table, in order."""
    if len(rows) <= 64:
        np.add.at(table, rows, adds)
        return
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    starts = np.flatnonzero(np.append(True, sorted_rows[1:] != sorted_rows[:-1]))
    table[sorted_rows[starts]] += np.add.reduceat(adds[order], starts, axis=0)
