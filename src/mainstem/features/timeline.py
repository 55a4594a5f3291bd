"""The unified features of logged impressions as they were at that moment: nothing later, nothing not yet known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.features.backfill import Backfill, Requests
from mainstem.features.catalog import Catalog
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.feature import Role
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.plan import Plan
from mainstem.features.reading import Reading
from mainstem.features.statics import Statics
from mainstem.features.steps import Tables
from mainstem.features.unified import UNIFIED
from mainstem.features.unified_tables import unified_tables

DELAY_MS: Final = 60_000
"""How long an outcome takes to be known, when nothing else is measured."""

Ints = NDArray[np.int64]
Side = NDArray[np.float32]
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Values:
    """The features of n impressions.

    Shapes:
        ``user`` is ``[n, u]``, ``item`` is ``[n, i]``, ``cross`` is ``[n, x]``, all float32.
    """

    user: Side
    item: Side
    cross: Side
    user_row: NDArray[np.int32]
    item_row: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Columns:
    """Some columns of n impressions.

    Attributes:
        found: By name, ``[n]``; NaN is empty. A list feature is an array of lists.
        as_of: The log offset before which each saw events.
        empties: What is read instead of an empty value.
    """

    found: dict[str, NDArray]
    as_of: Ints
    empties: dict[str, float]


class Timeline:
    """All events of a log in order. Made once, asked for any of its rows.

    Args:
        catalog: Rows of items and users.
        statics: What was learned once, with the model.
        feedback: Untimed events first (oldest first), then timed ones by time.
        earlier: How many of the untimed events come before everything that is asked about; later untimed events see the item
            state of these only, because nothing says which of the others came first.
        delay_ms: How long an outcome takes to be known.
        features: What is computed.
        tables: Further tables of facts that the features name.
    """

    def __init__(
        self,
        catalog: Catalog,
        statics: Statics,
        feedback: FeedbackBatch,
        earlier: int = 0,
        delay_ms: int = DELAY_MS,
        features: FeatureSet = UNIFIED,
        tables: Tables | None = None,
    ) -> None:
        self.catalog, self.statics, self.feedback, self.features = catalog, statics, feedback, features
        self._earlier, self._delay_ms = earlier, delay_ms
        self._plan, self.tables = Plan(features), unified_tables(catalog, statics) | dict(tables or {})
        self._timed_from = int((feedback.time_ms < 0).sum())
        self._clock = np.maximum.accumulate(feedback.time_ms[self._timed_from :]) if len(feedback) else feedback.time_ms

    @cached_property
    def _backfill(self) -> Backfill:
        return Backfill(self._plan, self.tables, {"feedback": Events.from_feedback(self.feedback, 0)})

    def seen_until(self, time_ms: Ints) -> Ints:
        """The log offset before which events had arrived by some times."""
        return self._timed_from + np.searchsorted(self._clock, time_ms, side="right")

    def columns(self, names: Sequence[str], asked: Ints, progress: Callable[[float], None] | None = None) -> Columns:
        """Any columns of some rows, each as of its own moment, and the log offset that each saw; empty values are NaN."""
        reading = Reading(self._plan, self.tables, names)
        as_of = self._as_of(asked)
        found = self._backfill.values(reading, Requests(request_context(self.feedback, asked), as_of), progress)
        empties = {column.name: column.feature.when_empty for column in reading.columns}
        return Columns(found, as_of, empties)

    def _as_of(self, asked: Ints) -> Ints:
        """The log offset that each row's server had seen: what had arrived, or for untimed rows what stands before them."""
        time_ms = self.feedback.time_ms[asked]
        arrived = np.minimum(self.seen_until(time_ms - self._delay_ms), asked)
        return np.where(time_ms >= 0, arrived, asked)

    def seen(self, asked: Ints, known_until_ms: int | None = None) -> tuple[Ints, Ints]:
        """The log offset before which each row's user and cross features, and its item features, see events."""
        timed = self.feedback.time_ms[asked] >= 0
        of_user = self._as_of(asked)
        of_items = np.where(timed, of_user, np.where(asked < self._earlier, 0, self._earlier))
        if known_until_ms is not None:
            frozen = self.seen_until(np.array([known_until_ms]))[0]
            of_user, of_items = np.minimum(of_user, frozen), np.minimum(of_items, frozen)
        return of_user, of_items

    def values(
        self, asked: Ints, known_until_ms: int | None = None, progress: Callable[[float], None] | None = None
    ) -> Values:
        """The features of some rows of the timeline, each as of its own moment.

        Args:
            asked: Rows of the timeline.
            known_until_ms: Events after this time are not read, of users and of items: a frozen state.
            progress: Told the share that is done.
        """
        of_user, of_items = self.seen(asked, known_until_ms)
        user, cross = self._sides(("user", "cross"), asked, of_user, progress)
        (item,) = self._sides(("item",), asked, of_items, None)
        return Values(
            user=user,
            item=item,
            cross=cross,
            user_row=self.catalog.user_rows(self.feedback.user_id[asked]),
            item_row=self.catalog.item_rows(self.feedback.item_id[asked]),
        )

    def _sides(
        self, roles: tuple[Role, ...], asked: Ints, as_of: Ints, progress: Callable[[float], None] | None
    ) -> list[Side]:
        names = [self.features.columns_of(role) for role in roles]
        reading = Reading(self._plan, self.tables, [name for side in names for name in side])
        found = self._backfill.values(
            reading, Requests(request_context(self.feedback, asked), as_of), progress, np.float32
        )
        empties = dict(zip((column.name for column in reading.columns), reading.empties.tolist(), strict=True))
        return [_side(side, found, empties, len(asked)) for side in names]


def request_context(feedback: FeedbackBatch, rows: Ints) -> dict[str, NDArray]:
    """What the requests behind logged impressions carried, each with its one candidate."""
    return {
        "user_id": feedback.user_id[rows],
        "now_ms": feedback.time_ms[rows],
        "surface": feedback.surface[rows].astype(np.int64),
        "scenario": feedback.scenario[rows].astype(np.int64),
        "item_id": feedback.item_id[rows][:, None],
    }


def _side(names: tuple[str, ...], found: dict[str, NDArray], empties: dict[str, float], n: int) -> Side:
    out = np.empty((n, len(names)), np.float32)
    for column, name in enumerate(names):
        values = found.pop(name)
        out[:, column] = np.where(np.isnan(values), np.float32(empties[name]), values)
    return out
