"""The content-first stack's features as of the last request's time: outcomes wait at the gate until their moment has come."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.base.request import Floats, Request, Rows
from mainstem.features.catalog import Catalog
from mainstem.features.content_first import CONTENT_FIRST
from mainstem.features.content_first_acts import KEPT_ACTIONS
from mainstem.features.content_first_items import ContentItems
from mainstem.features.content_first_tables import content_tables
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.plan import Plan
from mainstem.features.live import LiveState

_STEP: Final = 1 << 16
"""Events taken in at once while the log is read."""
_DAY_VIEWS: Final = "item_hours_24h"


def content_events(
    feedback: FeedbackBatch, first_offset: int, past: bool = False, studied: bool = False, acts: Any = 1
) -> Events:
    """Outcomes as events, with offsets from ``first_offset`` on.

    Args:
        feedback: In the order in which they are seen.
        first_offset: Where they stand in the log.
        past: They come from before the log, without times.
        studied: Profiles are made of them.
        acts: Whether each joins its viewer's last views.
    """
    n = len(feedback)
    columns: dict[str, NDArray[Any]] = {
        "user_id": feedback.user_id,
        "item_id": feedback.item_id,
        "time_ms": np.full(n, -1) if past else feedback.time_ms,
        "viewed": feedback.viewed,
        "watch_s": feedback.watch_s,
        "past": np.full(n, int(past)),
        "studied": np.full(n, int(studied)),
        "acts": np.broadcast_to(np.asarray(acts, np.int64), (n,)),
    }
    columns |= {head: feedback.outcomes[:, at] for at, head in enumerate(HEADS)}
    return Events(np.arange(first_offset, first_offset + n), columns)


class ContentState:
    """The live state behind a gate: an outcome waits until a request comes whose time has reached it.

    Args:
        items: What is known of items.
        users: What is known of users.
        history: Outcomes without times, oldest first.
        logged: Outcomes by time, from which profiles are made too.
        catalog: Rows of items.
    """

    def __init__(
        self, items: ContentItems, users: pl.DataFrame, history: FeedbackBatch, logged: FeedbackBatch, catalog: Catalog
    ) -> None:
        self.items, self.catalog = items, catalog
        self.live = LiveState(Plan(CONTENT_FIRST), content_tables(items, users))
        self._originals = np.ascontiguousarray(items.ids[items.offered][:, None])
        self._waiting = FeedbackBatch.empty()
        self._see(history, past=True, studied=True, acts=_last_of_each(history.user_id, KEPT_ACTIONS))
        self._see(logged, studied=True)

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
            self._see(self._waiting.take(slice(0, due)))
            self._waiting = self._waiting.take(slice(due, None))

    def day_views(self, now_ms: int) -> Floats:
        """Views of each catalog row in 24 UTC hours; those of a repost are its original's. Shapes: [n + 1]."""
        out = np.zeros(len(self.items.ids) + 1)
        out[self.items.offered] = self.live.read_one(_DAY_VIEWS, self._originals, now_ms)
        return out

    def _see(self, feedback: FeedbackBatch, acts: Any = 1, **flags: bool) -> None:
        joins = np.broadcast_to(np.asarray(acts, np.int64), (len(feedback),))
        for start in range(0, len(feedback), _STEP):
            part = slice(start, start + _STEP)
            events = content_events(feedback.take(part), self.live.applied + 1, acts=joins[part], **flags)
            self.live.apply("feedback", events)

    # -- snapshots
    def save(self, path: Path) -> None:
        """Writes the state and what waits to one file; it is complete or not there."""
        self.live.save(path, {f.name: getattr(self._waiting, f.name) for f in fields(FeedbackBatch)})

    def load(self, path: Path) -> None:
        """Takes the state from a file that ``save`` wrote.

        Raises:
            StoreError: It is of other features, or cannot be read (``store-040``).
        """
        held = self.live.load(path)
        self._waiting = FeedbackBatch(*(held[f.name] for f in fields(FeedbackBatch)))


def _last_of_each(user: Rows, most: int) -> NDArray[np.bool_]:
    """Which events are among their user's last ones."""
    by_user = np.argsort(user, kind="stable")
    grouped = user[by_user]
    out = np.zeros(len(user), np.bool_)
    out[by_user] = np.searchsorted(grouped, grouped, side="right") - np.arange(len(user)) <= most
    return out
