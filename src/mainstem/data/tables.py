"""Which columns does each table of a log folder have: the typed form of ``docs/reference/tables.md``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from mainstem.base.errors import DataError, did_you_mean
from mainstem.base.heads import HEADS

_REQUIRED: Final = object()


@dataclass(frozen=True, slots=True)
class Column:
    """What one column holds, and what stands there when a source has no such column.

    Attributes:
        default: The value for a source without the column; ``None`` means null. A required column has none.
    """

    name: str
    dtype: pl.DataType
    meaning: str
    default: Any = _REQUIRED

    @property
    def required(self) -> bool:
        """Whether a table without this column is refused."""
        return self.default is _REQUIRED

    @property
    def nullable(self) -> bool:
        """Whether null is an answer in this column ("the log does not know")."""
        return self.default is None


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of one file of a log folder, in their order.

    Attributes:
        key: The columns that name a row.
        order: The columns the file is sorted by.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    order: tuple[str, ...]

    @property
    def file(self) -> str:
        """The file name inside the folder."""
        return f"{self.name}.parquet"

    @property
    def schema(self) -> pl.Schema:
        """The polars schema."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    def empty(self) -> pl.DataFrame:
        """The table without rows."""
        return pl.DataFrame(schema=self.schema)


_I64, _I32, _I16, _I8 = pl.Int64(), pl.Int32(), pl.Int16(), pl.Int8()
_TEXT = pl.String()

IMPRESSIONS: Final = Table(
    "impressions",
    (
        Column("request_id", _I64, "rows with the same request were ranked together"),
        Column("user_id", _I64, "who saw it"),
        Column("item_id", _I64, "what was shown"),
        Column("surface", _TEXT, "feed, groups or pages; a log may name others"),
        Column("scenario", _I16, "the log's own finer placement; -1 unknown", -1),
        Column("time_ms", _I64, "when it was served"),
        Column("day", _I32, "the log's own local day, yyyymmdd"),
        Column("position", _I16, "0 is the top; -1 unknown", -1),
        Column("viewed", _I8, "1 when it was on screen, 0 served only", 1),
        *(Column(head, _I8, f"1 when the user did {head!r}; null when the log does not know", None) for head in HEADS),
        Column("watch_ms", _I64, "time watched, or null", None),
        Column("duration_ms", _I64, "the item's length as logged; 0 or null unknown", None),
        Column("stack", _TEXT, "which stack ranked it, or null", None),
        Column("arm", _TEXT, "which experiment arm it was in, or null", None),
        Column("propensity", pl.Float32(), "probability of being shown here, or null", None),
    ),
    key=("request_id", "item_id"),
    order=("time_ms", "request_id", "position"),
)
"""One item shown in one request, with its outcomes."""

ITEMS: Final = Table(
    "items",
    (
        Column("item_id", _I64, "the item"),
        Column("canonical_id", _I64, "the original of a repost; itself otherwise"),
        Column("creator_id", _I64, "who made it; -1 unknown", -1),
        Column("entity_id", _I64, "the page, group or creator it was posted under; -1 unknown", -1),
        Column("created_ms", _I64, "upload time"),
        Column("duration_ms", _I64, "0 unknown", 0),
        Column("kind", _TEXT, "e.g. NORMAL, AD", "NORMAL"),
        Column("category", _I32, "first tag; -1 unknown", -1),
        Column("tags", pl.List(_I32), "all tags", None),
        Column("audio_id", _I64, "-1 unknown", -1),
        Column("integrity", _I8, "1 violating, 0 checked and fine, null when the check has not been answered", None),
    ),
    key=("item_id",),
    order=("item_id",),
)
"""One item."""

USERS: Final = Table(
    "users",
    (
        Column("user_id", _I64, "the user"),
        Column("utc_offset_min", _I16, "local time of the user", 0),
        Column("activity", _TEXT, "e.g. full_active", "UNKNOWN"),
        Column("following_count", _I64, "accounts the user follows", 0),
        Column("follower_count", _I64, "accounts that follow the user", 0),
        Column("registered_days", _I64, "days since the user registered; -1 unknown", -1),
        Column("traits", pl.List(_I16), "anonymous categorical traits, same length for every user; -1 unknown", None),
    ),
    key=("user_id",),
    order=("user_id",),
)
"""One user."""

HISTORY: Final = Table(
    "history",
    (
        Column("user_id", _I64, "who saw it"),
        Column("item_id", _I64, "what was shown"),
        Column("back", _I32, "0 is the user's latest before the log begins"),
        Column("time_ms", _I64, "an upper bound: the user's last known time before the log"),
        Column("long_view", _I8, "0 or 1", None),
        Column("like", _I8, "0 or 1", None),
    ),
    key=("user_id", "back"),
    order=("user_id", "back"),
)
"""One earlier impression whose order is known but whose time is not."""

TABLES: Final[dict[str, Table]] = {table.name: table for table in (IMPRESSIONS, ITEMS, USERS, HISTORY)}
"""Every table with a fixed schema, by name."""

NEEDED: Final[tuple[str, ...]] = ("impressions", "items", "users")
"""The tables that a log folder cannot be without."""


def conform(frame: pl.DataFrame, table: Table, where: str, *, refuse_extra: bool = True) -> pl.DataFrame:
    """Which columns and types does the contract want: the frame in that form, or a refusal that names the column.

    Args:
        where: The file or source, for the message.
        refuse_extra: Refuse columns the contract does not name (a writer's typo would lose data silently).
    """
    known = [column.name for column in table.columns]
    check_columns(frame.schema, table, where)
    extra = [name for name in frame.columns if name not in known]
    if extra and refuse_extra:
        raise DataError(
            f"found column {extra[0]!r} in {where}, expected only the columns of table {table.name!r}",
            code="data-003",
            hint=did_you_mean(extra[0], known),
        )
    return frame.select([_typed(frame, column, where) for column in table.columns])


def check_columns(schema: pl.Schema, table: Table, where: str) -> None:
    """Does a file have every column that table needs; raises ``data-003`` naming the first that is missing."""
    missing = [column.name for column in table.columns if column.required and column.name not in schema]
    if missing:
        raise DataError(
            f"found no column {missing[0]!r} in {where}, expected it in table {table.name!r}",
            code="data-003",
            hint=did_you_mean(missing[0], schema.names()) + " (docs/reference/tables.md lists every column)",
        )


def _typed(frame: pl.DataFrame, column: Column, where: str) -> pl.Series:
    if column.name not in frame.columns:
        return pl.Series(column.name, [column.default], dtype=column.dtype).new_from_index(0, frame.height)
    series = frame.get_column(column.name)
    try:
        series = series.cast(column.dtype)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"found {series.dtype} in column {column.name!r} of {where}, expected {column.dtype}"
            f" ({str(error).splitlines()[0]})",
            code="data-004",
            hint="mainstem data check PATH shows example rows",
        ) from error
    if series.null_count() and not column.nullable:
        raise DataError(
            f"found {series.null_count()} nulls in column {column.name!r} of {where}, expected none",
            code="data-004",
            hint="mainstem data check PATH shows example rows",
        )
    return series
