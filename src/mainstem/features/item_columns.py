"""The item's own columns of every item in the catalog, kept finished by item, creator, category, and item on a surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Rows
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.finished import Decided, FinishedTable, decided
from mainstem.features.live import LiveState
from mainstem.features.steps import as_key
from mainstem.features.unified import SURFACE_SLOTS

Ints = NDArray[np.int64]
Side = NDArray[np.float32]

_PLACE: Final = ("item_id", "surface")
_KEYS: Final = (("item_id",), ("creator_id",), ("category_id",), _PLACE)


@dataclass(frozen=True, slots=True)
class _Kept:
    """One table, which of its rows each item of the catalog has, and where its columns stand."""

    table: FinishedTable
    row_of: Ints
    on_surface: bool
    at: slice


class ItemColumns:
    """Columns that follow from the candidate, the surface and the clock alone.

    Args:
        state: Where they are read.
        catalog: Whose items; the last row stands for an unknown one.
    """

    def __init__(self, state: LiveState, catalog: Catalog) -> None:
        self._catalog = catalog
        self._tables: list[_Kept] = []
        columns: list[str] = []
        for what in decided(state, state.plan.features.columns_of("item"), _KEYS):
            table, row_of = _table(state, what, catalog)
            self._tables.append(
                _Kept(table, row_of, what.key == _PLACE, slice(len(columns), len(columns) + len(what.columns)))
            )
            columns += what.columns
        self.columns = tuple(columns)

    def read(self, rows: Rows, surface: int, now_ms: int) -> Side:
        """The columns of some items on a surface as of now. Shapes: [n] to [n, columns]."""
        out = np.empty((len(rows), len(self.columns)), np.float32)
        for kept in self._tables:
            at = kept.row_of[rows]
            out[:, kept.at] = kept.table.read(
                at * (SURFACE_SLOTS + 1) + _slot(surface) if kept.on_surface else at, now_ms
            )
        return out

    def touch(self, feedback: FeedbackBatch) -> None:
        """Says that these events moved the tables of their items."""
        rows = self._catalog.item_rows(feedback.item_id).astype(np.int64)
        slots = _slots(feedback.surface.astype(np.int64))
        for kept in self._tables:
            at = kept.row_of[rows]
            kept.table.touch(at * (SURFACE_SLOTS + 1) + slots if kept.on_surface else at)

    def finish(self, now_ms: int) -> None:
        """Works out what events have moved, so that the next requests need not."""
        for kept in self._tables:
            kept.table.finish(now_ms)

    def touch_all(self) -> None:
        """Says that everything may have moved."""
        for kept in self._tables:
            kept.table.touch_all()


def _table(state: LiveState, what: Decided, catalog: Catalog) -> tuple[FinishedTable, Ints]:
    """The finished table of a key, and each item's row in it."""
    items = np.append(catalog.items.ids, -1)
    if what.key == _PLACE:
        surfaces = np.append(np.arange(SURFACE_SLOTS), -1)
        keys = np.stack([np.repeat(items, len(surfaces)), np.tile(surfaces, len(items))], axis=1)
        return FinishedTable(state, what, keys), np.arange(len(items))
    if what.key == ("item_id",):
        return FinishedTable(state, what, items[:, None]), np.arange(len(items))
    numbers, row_of = np.unique(as_key(state.tables["items"].columns[what.key[0]]), return_inverse=True)
    return FinishedTable(state, what, numbers[:, None]), row_of.astype(np.int64)


def _slot(surface: int) -> int:
    return surface if 0 <= surface < SURFACE_SLOTS else SURFACE_SLOTS


def _slots(surfaces: Ints) -> Ints:
    return np.where((surfaces >= 0) & (surfaces < SURFACE_SLOTS), surfaces, SURFACE_SLOTS)
