"""Requests that a server answered, and every feature of them once more from the log's columns, as of the place each had seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.data.log import Log
from mainstem.data.records import Impression
from mainstem.features.backfill import Backfill, Requests
from mainstem.features.catalog import Catalog
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.plan import Plan
from mainstem.features.reading import Reading
from mainstem.features.statics import Statics
from mainstem.features.unified_state import NOBODY
from mainstem.features.unified_tables import unified_tables
from mainstem.workspace.definitions import attribute_tables, feature_set
from mainstem.workspace.layout import Workspace

Ints = NDArray[np.int64]
Side = NDArray[np.float32]
_ROWS: Final = 32_768
"""Shown rows that are computed together: with 250 columns 65 MB."""


@dataclass(frozen=True, slots=True)
class Sides:
    """What the ranker reads of n requests and of the rows they showed.

    Shapes: ``user[n, u]``, ``candidates[r, i + x]``; ``request[r]`` is the place of each row's request.
    """

    user: Side
    candidates: Side
    request: Ints


@dataclass(frozen=True, slots=True)
class Parted:
    """The first cell that is not the same."""

    as_of: int
    request_id: int
    item_id: int
    column: str
    served: float
    recomputed: float


@dataclass(slots=True)
class Agreement:
    """How many cells were logged, and how many are equal in every bit.

    Attributes:
        by_column: Cells that part, by column.
        first: The one with the smallest offset.
    """

    requests: int = 0
    rows: int = 0
    cells: int = 0
    matched: int = 0
    by_column: dict[str, int] = field(default_factory=dict)
    first: Parted | None = None


class Again:
    """The log's history and impressions, then what came while it served, in the order in which the server applied them.

    Args:
        workspace: Whose definitions are compiled.
        log: The imported log.
        later: Live outcomes in the live log's order.
        statics: The constants that were learned with the model.
    """

    def __init__(self, workspace: Workspace, log: Log, later: FeedbackBatch, statics: Statics) -> None:
        self.surfaces = tuple(workspace.settings.served())
        self.features = feature_set(workspace)
        self.catalog = Catalog.from_tables(log.items, log.users)
        tables = unified_tables(self.catalog, statics) | attribute_tables(workspace)
        # The server read the impressions as they lie in the log, whatever their times.
        known = FeedbackBatch.from_history(log.history).then(FeedbackBatch.from_frame(log.impressions, self.surfaces))
        self.first_live = len(known)
        whole = known.then(later)
        self.events = len(whole)
        plan = Plan(self.features)
        self.user_columns = self.features.columns_of("user")
        self.candidate_columns = (*self.features.columns_of("item"), *self.features.columns_of("cross"))
        self._user = Reading(plan, tables, self.user_columns)
        self._candidates = Reading(plan, tables, self.candidate_columns)
        self._backfill = Backfill(plan, tables, {"feedback": Events.from_feedback(whole, 0)}, threads=2)

    def sides(self, served: Sequence[Impression]) -> Sides:
        """The ranker's columns of these requests and of what they showed, computed from columns alone."""
        ids = [one.ids() for one in served]
        sizes = np.array([len(one) for one in ids], np.int64)
        request = np.repeat(np.arange(len(served)), sizes)
        items = np.concatenate([*ids, np.empty(0, np.int64)])
        # The server looks an item it has never heard of up as nobody's.
        items = np.where(self.catalog.item_rows(items) < 0, NOBODY, items)
        failed = np.array([lookup_failed(one) for one in served], np.bool_)
        each = {
            "user_id": np.array([NOBODY if lookup_failed(one) else one.user_id for one in served], np.int64),
            "now_ms": np.array([one.time_ms for one in served], np.int64),
            "surface": np.array([self._code(one.surface) for one in served], np.int64),
            "scenario": np.array([one.scenario for one in served], np.int64),
        }
        as_of = np.array([one.as_of for one in served], np.int64)
        user = self._side(self._user, each | {"item_id": np.full((len(served), 1), NOBODY)}, as_of)
        user[failed] = np.array(self.features.defaults_of("user"), np.float32)
        shown = {name: array[request] for name, array in each.items()} | {"item_id": items[:, None]}
        return Sides(user, self._side(self._candidates, shown, as_of[request]), request)

    def _code(self, surface: str) -> int:
        return self.surfaces.index(surface) if surface in self.surfaces else -1

    def _side(self, reading: Reading, given: dict[str, NDArray[Any]], as_of: Ints) -> Side:
        out = np.empty((len(as_of), len(reading.columns)), np.float32)
        for start in range(0, len(as_of), _ROWS):
            part = slice(start, start + _ROWS)
            found = self._backfill.values(
                reading, Requests({name: array[part] for name, array in given.items()}, as_of[part])
            )
            for at, column in enumerate(reading.columns):
                values = found[column.name]
                out[part, at] = np.where(np.isnan(values), column.feature.when_empty, values)
        return out


def lookup_failed(one: Impression) -> bool:
    """Whether the server says that it ranked without knowing the viewer."""
    return any(reason.startswith("features:") for reason in one.degraded)


def agreement(again: Again, served: Sequence[Impression], found: Agreement | None = None) -> Agreement:
    """What was logged against what is computed again, bit by bit.

    Args:
        again: The log.
        served: Impressions of this feature set that tell their place in the log.
        found: Goes on counting from here.
    """
    out = Agreement() if found is None else found
    if not served:
        return out
    sides = again.sides(served)
    starts = np.searchsorted(sides.request, np.arange(len(served) + 1))
    width = len(again.candidate_columns)
    for at, one in enumerate(served):
        out.requests += 1
        viewer = one.viewer()
        if len(viewer) == len(again.user_columns):
            _cells(out, one, -1, again.user_columns, viewer[None], sides.user[at][None])
        if one.features:
            rows = one.array("features")[:, -width:]
            out.rows += len(rows)
            _cells(out, one, 0, again.candidate_columns, rows, sides.candidates[starts[at] : starts[at + 1]])
    return out


def _cells(
    out: Agreement, one: Impression, item: int, names: Sequence[str], served: NDArray[Any], again: NDArray[Any]
) -> None:
    differ = served.astype(np.float32).view(np.uint32) != again.astype(np.float32).view(np.uint32)
    out.cells += differ.size
    out.matched += int(differ.size - differ.sum())
    for column in np.flatnonzero(differ.any(axis=0)).tolist():
        out.by_column[names[column]] = out.by_column.get(names[column], 0) + int(differ[:, column].sum())
    if differ.any() and (out.first is None or one.as_of < out.first.as_of):
        row, column = (int(place[0]) for place in np.nonzero(differ))
        item_id = -1 if item < 0 else int(one.ids()[row])
        values = float(served[row, column]), float(again[row, column])
        out.first = Parted(one.as_of, one.request_id, item_id, names[column], *values)
