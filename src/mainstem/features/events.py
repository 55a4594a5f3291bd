"""What happened, as columns in log order: the one form in which events enter features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.base.heads import HEADS
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.source import Source

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Events:
    """n events in log order.

    Attributes:
        offset: Where each stands in the log, ascending, each once.
        columns: What each carries; a time below 0 means that only the order is known.
    """

    offset: Ints
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, rows: NDArray[Any] | slice) -> Events:
        """Some of them, in their order."""
        return Events(self.offset[rows], {name: column[rows] for name, column in self.columns.items()})

    @classmethod
    def from_feedback(cls, feedback: FeedbackBatch, first_offset: int) -> Events:
        """What became of shown items, with offsets from ``first_offset`` on."""
        names = ("user_id", "item_id", "surface", "scenario", "time_ms", "viewed", "watch_s", "duration_s")
        columns = {name: getattr(feedback, name) for name in names}
        columns |= {head: feedback.outcomes[:, at] for at, head in enumerate(HEADS)}
        return cls(np.arange(first_offset, first_offset + len(feedback)), columns)

    @classmethod
    def from_arrow(cls, table: pa.Table, source: Source, offset: str = "offset") -> Events:
        """The events of an Arrow table.

        Raises:
            FeatureError: A column is missing or is no number (``feature-009``), or offsets do not ascend (``feature-010``).
        """
        names = [offset, *source.columns]
        missing = [name for name in names if name not in table.column_names]
        if missing:
            raise FeatureError(
                f"the events of {source.name!r} have no column {', '.join(missing)}; found {', '.join(table.column_names)}",
                code="feature-009",
                hint="add the columns, or declare the source without them",
            )
        columns = {name: _numbers(table, name, kind) for name, kind in source.columns.items()}
        return cls.checked(_numbers(table, offset, "int64"), columns)

    @classmethod
    def checked(cls, offset: Ints, columns: Mapping[str, NDArray[Any]]) -> Events:
        """Events whose offsets ascend.

        Raises:
            FeatureError: They do not (``feature-010``).
        """
        if (np.diff(offset) <= 0).any():
            at = int(np.flatnonzero(np.diff(offset) <= 0)[0])
            raise FeatureError(
                f"offset {offset[at + 1]} comes after offset {offset[at]}: events must be in log order, each once",
                code="feature-010",
                hint="sort the events by their offset; an event that comes again has the offset it had",
            )
        return cls(offset, columns)


def _numbers(table: pa.Table, name: str, kind: str) -> NDArray[Any]:
    column = table.column(name).combine_chunks()
    if kind == "int64":
        if not pa.types.is_integer(column.type) and not pa.types.is_boolean(column.type):
            raise _no_number(name, str(column.type), "whole numbers")
        return np.asarray(column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False))
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise _no_number(name, str(column.type), "numbers")
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _no_number(name: str, found: str, wanted: str) -> FeatureError:
    return FeatureError(
        f"column {name!r} holds {found}, expected {wanted}",
        code="feature-009",
        hint="give texts numbers first; `mainstem data import` does",
    )
