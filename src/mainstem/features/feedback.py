"""What became of shown items, as one struct of arrays: the only form in which outcomes enter the features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import DataError
from mainstem.base.heads import HEADS, SURFACES

UNKNOWN_TIME = -1
"""The time of an event whose order is known but whose time is not (history tables)."""


@dataclass(frozen=True, slots=True)
class FeedbackBatch:
    """What became of n shown items, oldest first.

    Shapes:
        ``outcomes`` is ``[n, 7]`` in the order of ``base.heads.HEADS``: 0, 1, or -1 where the log does not know.

    Units:
        ``time_ms`` is when the item was served (-1: only the order is known). ``watch_s`` is NaN where unknown,
        ``duration_s`` is 0 where unknown.
    """

    user_id: NDArray[np.int64]
    item_id: NDArray[np.int64]
    surface: NDArray[np.int8]
    scenario: NDArray[np.int16]
    time_ms: NDArray[np.int64]
    outcomes: NDArray[np.int8]
    viewed: NDArray[np.int8]
    watch_s: NDArray[np.float32]
    duration_s: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.user_id)
        for field in fields(self):
            if len(getattr(self, field.name)) != n:
                raise DataError(
                    f"feedback column {field.name!r} has {len(getattr(self, field.name))} rows, user_id has {n}",
                    code="data-040",
                )
        if self.outcomes.shape != (n, len(HEADS)):
            raise DataError(
                f"feedback outcomes have shape {self.outcomes.shape}, expected ({n}, {len(HEADS)})", code="data-040"
            )

    def __len__(self) -> int:
        return len(self.user_id)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> FeedbackBatch:
        """The same columns at some rows."""
        return FeedbackBatch(*(getattr(self, field.name)[rows] for field in fields(self)))

    def then(self, later: FeedbackBatch) -> FeedbackBatch:
        """These events and then the later ones."""
        return FeedbackBatch(
            *(np.concatenate([getattr(self, field.name), getattr(later, field.name)]) for field in fields(self))
        )

    @classmethod
    def from_frame(cls, impressions: pl.DataFrame, surfaces: Sequence[str] = SURFACES) -> FeedbackBatch:
        """The feedback of logged impressions (``impressions.parquet``), in the frame's order.

        Args:
            impressions: Rows with at least user_id, item_id and time_ms; what is missing is unknown.
            surfaces: The names whose position is a surface's code; another name becomes -1.
        """
        n = impressions.height
        return cls(
            user_id=_ints(impressions, "user_id", np.int64),
            item_id=_ints(impressions, "item_id", np.int64),
            surface=_surface_codes(impressions, surfaces),
            scenario=_ints(impressions, "scenario", np.int16),
            time_ms=_ints(impressions, "time_ms", np.int64),
            outcomes=np.stack([_ints(impressions, head, np.int8) for head in HEADS], axis=1).reshape(n, len(HEADS)),
            viewed=_ints(impressions, "viewed", np.int8),
            watch_s=_seconds(impressions, "watch_ms", np.nan),
            duration_s=_seconds(impressions, "duration_ms", 0.0),
        )

    @classmethod
    def from_history(cls, history: pl.DataFrame) -> FeedbackBatch:
        """The feedback of a history table: per user oldest first, without times (they are upper bounds only)."""
        ordered = history.sort(["back", "user_id"], descending=[True, False], maintain_order=True)
        return cls.from_frame(ordered.drop("time_ms", strict=False))

    @classmethod
    def empty(cls) -> FeedbackBatch:
        """No events."""
        return cls.from_frame(pl.DataFrame(schema={"user_id": pl.Int64, "item_id": pl.Int64, "time_ms": pl.Int64}))


def _ints(frame: pl.DataFrame, name: str, dtype: type[np.signedinteger]) -> NDArray:
    if name not in frame.columns:
        return np.full(frame.height, -1, dtype)
    return frame[name].fill_null(-1).to_numpy().astype(dtype)


def _seconds(frame: pl.DataFrame, name: str, unknown: float) -> NDArray[np.float32]:
    if name not in frame.columns:
        return np.full(frame.height, unknown, np.float32)
    return (frame[name].cast(pl.Float64) / 1000.0).fill_null(unknown).to_numpy().astype(np.float32)


def _surface_codes(frame: pl.DataFrame, surfaces: Sequence[str]) -> NDArray[np.int8]:
    if "surface" not in frame.columns:
        return np.full(frame.height, -1, np.int8)
    codes = {name: code for code, name in enumerate(surfaces)}
    return (
        frame["surface"]
        .replace_strict(codes, default=-1, return_dtype=pl.Int8)
        .fill_null(-1)
        .to_numpy()
        .astype(np.int8)
    )
