"""What is known of an entity apart from events: columns by id, with the times from which each row holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError

Ints = NDArray[np.int64]
UNKNOWN_ROW: Final = -1
VECTOR_ONE: Final = 2**20
"""What stands for 1 in a vector: whole numbers, so that every order of adding gives the same likeness."""


@dataclass(frozen=True, slots=True)
class AttributeTable:
    """Facts of entities by id.

    Attributes:
        ids: The id of each row.
        columns: Arrays of rows + 1 entries; the last, row -1, is what is read of an entity that is not there.
        valid_from_ms: When each row's facts began to hold; facts that always held when None. A row holds until the next one
            of the same id begins.
        order: The rows by id, then by time.
    """

    ids: Ints
    columns: Mapping[str, NDArray[Any]]
    valid_from_ms: Ints | None = None
    order: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    _sorted_ids: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(
        cls, ids: Ints, columns: Mapping[str, NDArray[Any]], valid_from_ms: Ints | None = None, name: str = "table"
    ) -> AttributeTable:
        """A table.

        Args:
            ids: One id a row, in any order; without ``valid_from_ms`` each once.
            columns: Arrays of rows + 1 entries, the last for unknown entities.
            valid_from_ms: From when each row holds.
            name: Named in errors.

        Raises:
            FeatureError: A column has another length, or an id (and time) stands twice (``feature-008``).
        """
        ids = np.ascontiguousarray(ids, np.int64)
        for column, values in columns.items():
            if len(values) != len(ids) + 1:
                raise FeatureError(
                    f"column {column!r} of {name} has {len(values)} entries for {len(ids)} rows and an unknown one",
                    code="feature-008",
                    hint="give every column one more entry, for entities that are not in the table",
                )
        times = np.zeros(len(ids), np.int64) if valid_from_ms is None else valid_from_ms
        order = np.lexsort((times, ids))
        again = (np.diff(ids[order]) == 0) & (np.diff(times[order]) == 0)
        if again.any():
            twice = int(ids[order][:-1][again][0])
            raise FeatureError(
                f"{name} holds id {twice} twice" + (" from the same time on" if valid_from_ms is not None else ""),
                code="feature-008",
                hint="keep one row an id, or say from when each holds",
            )
        return cls(ids, columns, valid_from_ms, order, ids[order])

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, key: str, valid_from: str = "", name: str = "table") -> AttributeTable:
        """A table out of a frame's columns of numbers and of vectors; nulls, and all of an unknown entity, are empty (NaN).

        Raises:
            FeatureError: The key is missing or holds something else than whole numbers, vectors of a column differ in length, or
                an id (and time) stands twice (``feature-008``).
        """
        for column in filter(None, (key, valid_from)):
            if column not in frame.columns or not frame[column].dtype.is_integer() or frame[column].null_count():
                raise FeatureError(
                    f"{name} has no column {column!r} of whole numbers without gaps; found {', '.join(frame.columns)}",
                    code="feature-008",
                    hint="name the id's column in `key`, and in `valid_from` the time in ms from which a row holds",
                )
        columns: dict[str, NDArray[Any]] = {}
        for column in frame.columns:
            kind = frame[column].dtype
            if column in (key, valid_from):
                continue
            if kind.is_numeric() or kind == pl.Boolean:
                columns[column] = np.append(frame[column].cast(pl.Float64).fill_null(np.nan).to_numpy(), np.nan)
            elif isinstance(kind, pl.List | pl.Array):
                columns[column] = _vectors(frame[column], f"{name}.{column}")
        times = frame[valid_from].cast(pl.Int64).to_numpy() if valid_from else None
        return cls.of(frame[key].cast(pl.Int64).to_numpy(), columns, times, name)

    def rows(self, ids: Ints, at_ms: Ints | None = None) -> Ints:
        """The row of each id, -1 where there is none (or none yet).

        Args:
            ids: Of any shape.
            at_ms: When each is asked about; the newest row when None or below 0. Must broadcast with ``ids``.
        """
        flat = ids.reshape(-1)
        if not len(self.ids):
            return np.full(ids.shape, UNKNOWN_ROW, np.int64)
        end = np.searchsorted(self._sorted_ids, flat, side="right")
        if self.valid_from_ms is not None and at_ms is not None:
            end = self._until(flat, np.broadcast_to(at_ms, ids.shape).reshape(-1), end)
        place = np.maximum(end - 1, 0)
        found = (end > 0) & (self._sorted_ids[place] == flat)
        return np.where(found, self.order[place], UNKNOWN_ROW).reshape(ids.shape)

    def _until(self, ids: Ints, at_ms: Ints, end: Ints) -> Ints:
        """The place behind the last row of each id that began no later than its time."""
        assert self.valid_from_ms is not None
        begins = self.valid_from_ms[self.order]
        moments, rank = np.unique(begins, return_inverse=True)
        _, block = np.unique(self._sorted_ids, return_inverse=True)
        here = np.searchsorted(np.unique(self._sorted_ids), ids)
        width = len(moments) + 1
        asked = np.where(at_ms < 0, len(moments), np.searchsorted(moments, at_ms, side="right"))
        found = np.searchsorted(block * width + rank, here * width + asked, side="left")
        return np.minimum(found, end)


def _vectors(column: pl.Series, what: str) -> NDArray[np.float64]:
    """Vectors in steps of 2**-20, so that every order of adding gives the same likeness; unknown ones are NaN.

    Shapes: ``[rows + 1, width]``.
    """
    lists = column.cast(pl.List(pl.Float64))
    widths = lists.list.len().drop_nulls().unique().to_list()
    if len(widths) != 1 or not widths[0]:
        raise FeatureError(
            f"{what} holds vectors of lengths {sorted(widths)[:5]}, expected one length",
            code="feature-008",
            hint="pad or cut the vectors, or leave those rows null",
        )
    out = np.full((len(column) + 1, int(widths[0])), np.nan)
    known = np.flatnonzero(lists.is_not_null().to_numpy())
    out[known] = np.rint(lists.drop_nulls().explode().to_numpy().reshape(len(known), -1) * VECTOR_ONE)
    return out


def dense(columns: Mapping[str, NDArray[Any]]) -> AttributeTable:
    """A table whose ids are 0, 1, 2, ...: facts of slots."""
    size = len(next(iter(columns.values()))) - 1
    return AttributeTable.of(np.arange(size, dtype=np.int64), columns, name="a table of slots")
