"""What a catalog says of the file behind an item: how long, what kind, what shape, how long ago uploaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import Extracted, Json, State, need_columns
from mainstem.features.extract.fixed import SCALE, quantise

DURATION_EDGES_S: Final = (0.0, 3.0, 7.0, 15.0, 30.0, 60.0, 120.0, 300.0, 1200.0, 7200.0)
AGE_EDGES_DAYS: Final = (1.0, 3.0, 7.0, 30.0, 90.0, 365.0)
_DAY_MS: Final = 86_400_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaAttributes:
    """Duration, kind, shape and age class of an item's file, as far as the table tells; a row that tells nothing is empty.

    Only +, - and / are used, which every machine rounds alike; a logarithm is not one of them, so duration is its place among
    ``duration_edges_s`` (2.5 is halfway from the third edge to the fourth).

    Args:
        name: The folder of the results.
        version: Yours.
        duration_ms: A column; 0 or less is unknown, as logs write it.
        kind: A column of strings, in classes ``kinds`` and one for all others.
        kinds: The kinds that have a class of their own.
        size: The two columns of width and height, pixels.
        uploaded: A column of dates, datetimes, "YYYY-MM-DD" strings or milliseconds.
        as_of_ms: When age is measured: part of the definition, so that a vector never depends on the day a job ran.
        duration_edges_s: Ascending.
        age_edges_days: Ascending; a row is in the class of the last edge it has reached. Uploads after ``as_of_ms`` are unknown.
    """

    name: str
    version: str
    duration_ms: str | None = None
    kind: str | None = None
    kinds: tuple[str, ...] = ()
    size: tuple[str, str] | None = None
    uploaded: str | None = None
    as_of_ms: int | None = None
    duration_edges_s: tuple[float, ...] = DURATION_EDGES_S
    age_edges_days: tuple[float, ...] = AGE_EDGES_DAYS

    def __post_init__(self) -> None:
        """Refuses a declaration without a column, or an age without a time."""
        if not self.columns or (self.uploaded is not None and self.as_of_ms is None):
            raise ExtractionError(
                "media attributes need at least one column, and an upload column needs the time its age is measured at",
                code="feature-063",
                hint="MediaAttributes(..., duration_ms='duration_ms', uploaded='created_ms', as_of_ms=1650931200000)",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """Every declared column."""
        named = (self.duration_ms, self.kind, *(self.size or ()), self.uploaded)
        return tuple(name for name in named if name is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """What each value is, in order."""
        out: list[str] = []
        if self.duration_ms is not None:
            out += ["duration_place", "duration_known"]
        if self.size is not None:
            out += ["width_share", "width_share_known"]
        if self.kind is not None:
            out += [f"kind={kind}" for kind in self.kinds] + ["kind_other"]
        if self.uploaded is not None:
            out += ["age_new"] + [f"age_from_{edge:g}_days" for edge in self.age_edges_days]
        return tuple(out)

    @property
    def dim(self) -> int:
        """One value a name."""
        return len(self.names)

    @property
    def scale(self) -> float:
        """Fixed point."""
        return SCALE

    def definition(self) -> dict[str, Json]:
        """Every argument."""
        return {
            "duration_ms": self.duration_ms,
            "kind": self.kind,
            "kinds": list(self.kinds),
            "size": list(self.size or ()),
            "uploaded": self.uploaded,
            "as_of_ms": self.as_of_ms,
            "duration_edges_s": list(self.duration_edges_s),
            "age_edges_days": list(self.age_edges_days),
            "form": 1,
        }

    def extract(self, rows: pl.DataFrame) -> Extracted:
        """The attributes of these rows."""
        need_columns(rows, self.columns, self.name)
        blocks: list[NDArray[np.float64]] = []
        if self.duration_ms is not None:
            blocks.append(_place(_floats(rows[self.duration_ms]) / 1000.0, self.duration_edges_s))
        if self.size is not None:
            blocks.append(_width_share(_floats(rows[self.size[0]]), _floats(rows[self.size[1]])))
        if self.kind is not None:
            blocks.append(_classes(rows[self.kind], self.kinds))
        if self.uploaded is not None and self.as_of_ms is not None:
            age = (float(self.as_of_ms) - _milliseconds(rows[self.uploaded])) / _DAY_MS
            blocks.append(_age_class(age, self.age_edges_days))
        values = np.concatenate(blocks, axis=1)
        told = np.any(values != 0.0, axis=1)
        return Extracted(quantise(values), np.where(told, State.KNOWN, State.EMPTY).astype(np.int8), {})


def _floats(values: pl.Series) -> NDArray[np.float64]:
    """Numbers, NaN where there is none; a string that is no number raises, which fails its row."""
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _milliseconds(values: pl.Series) -> NDArray[np.float64]:
    if values.dtype == pl.String:
        values = values.str.to_date("%Y-%m-%d")
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        values = values.cast(pl.Datetime("ms")).cast(pl.Int64)
    return _floats(values)


def _place(values: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.float64]:
    """Where each value lies among ascending edges, and whether it is known; past the last edge is the last place."""
    known = values > 0.0  # false for NaN
    capped = np.where(known, np.clip(values, edges[0], edges[-1]), edges[0])
    at = np.clip(np.searchsorted(edges, capped, side="right") - 1, 0, len(edges) - 2)
    low, high = np.asarray(edges)[at], np.asarray(edges)[at + 1]
    return np.stack([np.where(known, at + (capped - low) / (high - low), 0.0), known.astype(np.float64)], axis=1)


def _width_share(width: NDArray[np.float64], height: NDArray[np.float64]) -> NDArray[np.float64]:
    """Width over width plus height: 0.36 is upright 9:16, 0.5 a square, 0.64 lies on its side."""
    known = (width > 0.0) & (height > 0.0)
    share = np.where(known, width, 1.0) / np.where(known, width + height, 1.0)
    return np.stack([np.where(known, share, 0.0), known.astype(np.float64)], axis=1)


def _classes(values: pl.Series, kinds: tuple[str, ...]) -> NDArray[np.float64]:
    text = values.cast(pl.String)
    columns: list[NDArray[Any]] = [(text == kind).fill_null(False).to_numpy() for kind in kinds]
    other = text.is_not_null().to_numpy() & ~np.any(np.stack([*columns, np.zeros(len(text), np.bool_)]), axis=0)
    return np.stack([*columns, other], axis=1).astype(np.float64)


def _age_class(age_days: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.float64]:
    known = age_days >= 0.0
    at = np.searchsorted(edges, np.where(known, age_days, 0.0), side="right")
    out = np.zeros((len(age_days), len(edges) + 1))
    out[np.flatnonzero(known), at[known]] = 1.0
    return out
