"""What does a source file hold: CSV, TSV, Parquet, Arrow IPC or a frame in memory, as one polars frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mainstem.base.errors import DataError
from mainstem.data.manifest import Manifest

Progress = Callable[[float, str], None]
"""Told how much of all is done (0-1) and what is being done."""

EARLIEST_MS = 315_532_800_000
"""1980-01-01: a time before it is a time in the wrong unit."""

LATEST_MS = 4_102_444_800_000
"""2100-01-01: a time after it is a time in the wrong unit."""

_SUFFIXES = (".csv", ".tsv", ".parquet", ".arrow", ".ipc", ".feather")


def silent(_share: float, _doing: str) -> None:
    """A progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loader made of a source, ready for ``write_log``."""

    tables: Mapping[str, pl.DataFrame]
    manifest: Manifest


def read_frame(
    source: object,
    *,
    separator: str | None = None,
    columns: Mapping[str, pl.DataType] | None = None,
    header: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
) -> pl.DataFrame:
    """The rows of a file, or of a frame in memory that speaks Arrow (DuckDB relation, pyarrow, pandas, polars).

    Args:
        columns: Types that a CSV file's columns must have; others are inferred from the whole file.
        header: Names for a CSV file that has no line of names.
        only: The columns of a CSV file that are wanted; all when not given.

    Raises:
        DataError: ``data-001`` no such file, ``data-002`` cannot be read, ``data-009`` a kind of file nobody reads.
    """
    if isinstance(source, pl.DataFrame):
        return source
    if isinstance(source, pl.LazyFrame):
        return source.collect()
    if not isinstance(source, str | Path):
        return _from_memory(source)
    path = Path(source)
    if not path.is_file():
        raise DataError(f"found no file at {path}, expected a table", code="data-001")
    try:
        return _from_file(path, separator, columns or {}, header, only)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"found a file that cannot be read at {path}: {str(error).splitlines()[0]}",
            code="data-002",
            hint="copy the file again; mainstem data check PATH shows example rows",
        ) from error


def _from_file(
    path: Path,
    separator: str | None,
    columns: Mapping[str, pl.DataType],
    header: Sequence[str] | None,
    only: Sequence[str] | None,
) -> pl.DataFrame:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return pl.read_parquet(path)
    if suffix in (".arrow", ".ipc", ".feather"):
        return pl.read_ipc(path)
    if suffix in (".csv", ".tsv", ".txt", ".dat"):
        mark = separator or ("," if suffix == ".csv" else "\t")
        return pl.read_csv(
            path,
            separator=mark,
            schema_overrides=dict(columns),
            infer_schema_length=None,
            has_header=header is None,
            new_columns=list(header) if header else None,
            columns=list(only) if only else None,
        )
    raise DataError(
        f"found a file of kind {suffix!r} at {path}, expected one of {', '.join(_SUFFIXES)}", code="data-009"
    )


def _from_memory(source: object) -> pl.DataFrame:
    if not hasattr(source, "__arrow_c_stream__") and not hasattr(source, "__arrow_c_array__"):
        raise DataError(
            f"found a {type(source).__name__}, expected a path or a frame with the Arrow PyCapsule interface",
            code="data-009",
            hint="DuckDB relations, pyarrow, pandas 2.2+ and polars frames have it",
        )
    arrow: Any = source
    return pl.DataFrame(arrow)


def split_drops(frame: pl.DataFrame, rules: Sequence[tuple[str, pl.Expr]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Which rows are kept and which are refused, by the first rule that holds; null counts as "does not hold".

    Args:
        rules: (reason, expression that is true for a row to refuse).

    Returns:
        The rows kept, and the rows dropped with a column ``reason``.
    """
    reason = pl.coalesce([pl.when(rule).then(pl.lit(name)) for name, rule in rules])
    marked = frame.with_columns(reason=reason)
    return marked.filter(pl.col("reason").is_null()).drop("reason"), marked.filter(pl.col("reason").is_not_null())


def repeats(frame: pl.DataFrame, key: Sequence[str]) -> pl.Series:
    """Which rows repeat an earlier row's key: true from the second on. Only rows that share a key are compared."""
    return frame.select(~pl.struct(key).is_first_distinct()).to_series()


def count_reasons(*dropped: pl.DataFrame) -> dict[str, int]:
    """How many rows were dropped, by reason."""
    counts: dict[str, int] = {}
    for frame in dropped:
        for reason, count in frame.group_by("reason").len().sort("reason").iter_rows():
            counts[reason] = counts.get(reason, 0) + count
    return counts


def local_day(time_ms: pl.Expr, offset_min: pl.Expr | int) -> pl.Expr:
    """The local day yyyymmdd of a time, at an offset from UTC in minutes."""
    local = (time_ms + offset_min * 60_000).cast(pl.Datetime("ms"))
    return (local.dt.year() * 10_000 + local.dt.month().cast(pl.Int32) * 100 + local.dt.day()).cast(pl.Int32)


def number_requests(frame: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Which rows were served together: ``request_id`` (dense, in time order) and ``position`` (file order inside it).

    Args:
        by: The columns that name a request; the first is the time.
    """
    ordered = frame.sort(by, maintain_order=True)
    # Rows of a request lie together now: a new one begins where any column changes. Cheaper than grouping.
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in by) | (
        pl.int_range(pl.len()) == 0
    )
    row = pl.int_range(pl.len(), dtype=pl.Int64)
    return ordered.with_columns(
        request_id=begins.cast(pl.Int64).cum_sum() - 1,
        position=(row - pl.when(begins).then(row).forward_fill()).clip(upper_bound=32_767).cast(pl.Int16),
    )
