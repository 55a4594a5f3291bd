"""The unified stack's features as of now, for its viewer and its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.base.request import Floats, Rows
from mainstem.features.catalog import Catalog
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.item_columns import ItemColumns
from mainstem.features.language.aggregate import Latest
from mainstem.features.language.feature import EMPTY, KNOWN, STATES, Context, Feature
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.fold import Fold
from mainstem.features.language.plan import Plan
from mainstem.features.live import Applied, LiveState
from mainstem.features.reader import SideReader
from mainstem.features.reading import Column, Reading
from mainstem.features.statics import Statics
from mainstem.features.steps import Arrays, Tables
from mainstem.features.unified import UNIFIED
from mainstem.features.unified_tables import unified_tables

NOBODY: Final = -1
"""The id of a viewer whose lookup failed: nothing is known of them."""

Side = NDArray[np.float32]


def readable(features: FeatureSet, name: str) -> Feature:
    """A feature that has a value of its own, by its name or that of one of its columns.

    Raises:
        FeatureError: There is none (``feature-017``).
    """
    feature = features.by_name.get(name) or features.owner_of.get(name)
    if feature is None:
        raise FeatureError(
            f"no feature is called {name[:80]!r}",
            code="feature-017",
            status=404,
            hint=did_you_mean(name[:80], features.by_name),
        )
    if isinstance(feature.of, Context | Latest | Fold):
        raise FeatureError(
            f"{name!r} has no value of its own: it is part of the request, or a list or state that other features read",
            code="feature-017",
            hint="name a feature that reads it; `mainstem features --all` lists them",
        )
    return feature


def told_values(
    column: Column, values: NDArray[np.float64], item_ids: NDArray[np.int64] | None
) -> list[dict[str, Any]]:
    """One row for the viewer, or one for each item: what a column says, in plain values."""
    out = []
    for at, value in enumerate(values.tolist()):
        empty = value != value
        row: dict[str, Any] = {"name": column.name} | ({} if item_ids is None else {"item_id": int(item_ids[at])})
        row["value"] = column.feature.when_empty if empty else value
        out.append(row | {"state": STATES[EMPTY if empty else KNOWN], "unit": column.feature.unit})
        if item_ids is None:
            break
    return out


class FeatureState:
    """All behavioural state of the unified stack. One writer; reads may run side by side.

    Args:
        catalog: Rows of items and users.
        statics: What was learned once, with the model.
        features: What is computed.
        tables: Further tables of facts that the features name.
        limit_bytes: Memory it never grows beyond; none when 0.
    """

    def __init__(
        self,
        catalog: Catalog,
        statics: Statics,
        features: FeatureSet = UNIFIED,
        tables: Tables | None = None,
        limit_bytes: int = 0,
    ) -> None:
        self.catalog, self.statics, self.features = catalog, statics, features
        self.live = LiveState(Plan(features), unified_tables(catalog, statics) | dict(tables or {}), limit_bytes)
        self.columns = (*features.columns_of("item"), *features.columns_of("cross"))
        """The candidates' columns, in order."""
        self._finished = ItemColumns(self.live, catalog)
        rest = tuple(name for name in self.columns if name not in self._finished.columns)
        self._rest = np.array([self.columns.index(name) for name in rest], np.int64)
        self._kept = np.array([self.columns.index(name) for name in self._finished.columns], np.int64)
        self._sides = SideReader(self.live, ("user",), (), columns=rest)

    @property
    def counted(self) -> Applied:
        """What became of all events so far."""
        return self.live.counted

    def apply(self, feedback: FeedbackBatch, now_ms: int | None = None) -> Applied:
        """Takes in outcomes, in the order given; each gets the next offset.

        Args:
            feedback: What became of shown items.
            now_ms: When given, events that lie far ahead of it, or before 1990, are refused and counted.
        """
        self._finished.touch(feedback)
        return self.live.apply("feedback", Events.from_feedback(feedback, self.live.applied + 1), now_ms)

    def viewer(self, user_id: int, surface: int, scenario: int, now_ms: int) -> tuple[Side, Arrays]:
        """The viewer's side of one request, and every name it was made of, their kept events among them."""
        return self._sides.user(self._request(user_id, surface, scenario, now_ms), {})

    def candidates(self, viewer: Arrays, rows: Rows) -> Side:
        """The candidates' side of the same request. Shapes: [n, columns].

        Args:
            viewer: What ``viewer`` answered.
            rows: Catalog rows; -1 for an unknown item.
        """
        if not len(rows):
            return np.empty((0, len(self.columns)), np.float32)
        ids = np.where(rows < 0, NOBODY, self.catalog.items.ids[rows])[None]
        out = np.empty((len(rows), len(self.columns)), np.float32)
        given = {**viewer, "item_id": ids}
        out[:, self._rest] = self._sides.candidates(given, {"items/item_id": rows[None]}, len(rows))
        out[:, self._kept] = self._finished.read(rows, int(viewer["surface"][0]), int(viewer["now_ms"][0]))
        return out

    @staticmethod
    def _request(user_id: int, surface: int, scenario: int, now_ms: int) -> Arrays:
        return {
            "user_id": np.array([user_id], np.int64),
            "now_ms": np.array([now_ms], np.int64),
            "surface": np.array([surface], np.int64),
            "scenario": np.array([scenario], np.int64),
        }

    def kept(self, viewer: Arrays) -> tuple[Rows, NDArray[np.bool_]]:
        """Catalog rows of the viewer's kept events, newest first, and which of them they enjoyed."""
        ids = viewer["kept.item_id"][0]
        there = ~np.isnan(ids)
        rows = self.catalog.item_rows(ids[there].astype(np.int64)).astype(np.int64)
        enjoyed = np.zeros(len(rows), np.bool_)
        for name in ("click", "like", "long_view"):
            enjoyed |= viewer[f"kept.{name}"][0, there] == 1
        return rows[rows >= 0], enjoyed[rows >= 0]

    def item_values(self, names: Sequence[str], now_ms: int) -> Floats:
        """Columns of every item in the catalog as of a time, on no surface in particular. Shapes: [n items, names]."""
        side = self._finished.read(np.arange(len(self.catalog.items)), -1, now_ms)
        return side[:, [self._finished.columns.index(name) for name in names]].astype(np.float64)

    def finish(self, now_ms: int) -> None:
        """Works out the items' columns for all items, so that the first requests need not."""
        self._finished.finish(now_ms)

    def told(
        self, names: Sequence[str], user_id: int, surface: int, scenario: int, now_ms: int, item_ids: NDArray[np.int64]
    ) -> list[dict[str, Any]]:
        """Values of features by name, with their unit and whether each is known, known to be empty, or failed.

        Raises:
            FeatureError: There is no such feature, or it has no value of its own (``feature-017``).
        """
        wanted = [column for name in names for column in readable(self.features, name).columns]
        given = {
            **self._request(user_id, surface, scenario, now_ms),
            "item_id": (item_ids if len(item_ids) else np.array([NOBODY]))[None],
        }
        reading = Reading(self.live.plan, self.live.tables, wanted)
        found = self.live.read(reading, given)
        out: list[dict[str, Any]] = []
        for column in reading.columns:
            values = found[column.vector][..., column.place] if column.vector else found[column.name]
            out += told_values(column, np.ravel(values), item_ids if values.ndim > 1 else None)
        return out + [{"name": one.name, "value": found[one.name][0], "state": STATES[KNOWN]} for one in reading.lists]

    def save(self, path: Path) -> None:
        """Writes the whole state to one file; it is complete or not there."""
        self.live.save(path)

    def load(self, path: Path) -> None:
        """Takes the state that ``save`` wrote.

        Raises:
            StoreError: It is of other features, or cannot be read (``store-040``).
        """
        self.live.load(path)
        self._finished.touch_all()
