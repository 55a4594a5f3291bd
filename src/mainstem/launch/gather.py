"""One pass over a table of units, or of events, in whatever engine holds it: numpy, Polars, DuckDB, or any through Narwhals.

A table of units has one row a unit. Where ``unit`` names a column, the table is of events, and a unit's values are their
sums: the engine adds those up first. Every backend gives the same sums to 1e-12; a test holds them to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import LaunchError, did_you_mean
from mainstem.launch.sufficient import SHIFT_ROWS, Column, Floats, Key, Sums, Wanted, shifts_of

BLOCK_ROWS: Final = 65_536
"""Rows that the numpy reference sums at once: rounding grows with the block and not with the table."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a table are.

    Args:
        arm: The column with the arm.
        by: Further columns that are kept apart: surface, legacy stack, cohort, creator side.
        unit: The column with the unit, where rows are events; empty where a row is a unit. A unit that is in two arms is then
            two units: ``mainstem.launch.exposure`` finds such units first.
    """

    arm: str
    by: tuple[str, ...] = ()
    unit: str = ""

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The parts of a group's key."""
        return (self.arm, *self.by)


def gather(table: object, layout: Layout, wanted: Wanted) -> Sums:
    """The sums of a table, by the engine that suits it.

    Args:
        table: A Parquet file's path or a Polars frame (Polars, streaming), a DuckDB relation, a mapping of arrays (numpy), or
            whatever else Narwhals knows (pandas, PyArrow, Ibis, ...).

    Raises:
        LaunchError: A column is not there or the table is of no known kind (``launch-060``), or a value is missing, NaN or
            infinite (``launch-063``).
    """
    if isinstance(table, str | Path):
        return gather_polars(pl.scan_parquet(table), layout, wanted)
    if isinstance(table, pl.DataFrame | pl.LazyFrame):
        return gather_polars(table.lazy(), layout, wanted)
    if isinstance(table, Mapping):
        return gather_arrays([cast(Arrays, table)], layout, wanted)
    if type(table).__module__.split(".")[0] in ("duckdb", "_duckdb"):
        return gather_duckdb(table, layout, wanted)
    return gather_narwhals(table, layout, wanted)


def gather_arrays(chunks: Iterable[Arrays], layout: Layout, wanted: Wanted) -> Sums:
    """The reference: chunks of numpy arrays, block by block, added with the rounding errors kept.

    Shapes: each array of a chunk ``[n]``.
    """
    if layout.unit:
        chunks, layout = [_unit_arrays(chunks, layout, wanted)], replace(layout, unit="")
    total: Sums | None = None
    for chunk in chunks:
        _need(list(chunk), layout, wanted)
        columns = np.stack([_capped(np.asarray(chunk[one.name], np.float64), one.cap) for one in wanted.columns])
        if not wanted.shifts:
            few = columns[:, :SHIFT_ROWS]
            wanted = replace(wanted, shifts=shifts_of(few.mean(axis=1) if few.size else np.zeros(len(columns))))
        for at in range(0, columns.shape[1], BLOCK_ROWS):
            piece = slice(at, at + BLOCK_ROWS)
            part = _block([np.asarray(chunk[name])[piece] for name in layout.dimensions], columns[:, piece], wanted)
            part = Sums(wanted, layout.dimensions, *part)
            total = part if total is None else total + part
    return _finished(total or _none(layout, wanted), layout)


def gather_polars(table: pl.LazyFrame, layout: Layout, wanted: Wanted) -> Sums:
    """The sums of a lazy Polars table by its streaming engine, in one pass."""
    _need(table.collect_schema().names(), layout, wanted)
    if layout.unit:
        if table.select(pl.col(layout.unit).is_null().any()).collect(engine="streaming").item():
            raise _no_number(layout.unit, "a row of no unit")
        names = list(dict.fromkeys(one.name for one in wanted.columns))
        # A unit with a missing event has no sum; Polars would take the rest for it.
        whole = (pl.when(pl.col(name).null_count() == 0).then(pl.col(name).cast(pl.Float64).sum()) for name in names)
        table = table.group_by(layout.unit, *layout.dimensions).agg(
            one.alias(name) for name, one in zip(names, whole, strict=True)
        )
    if not wanted.shifts:
        wanted = replace(wanted, shifts=_polars_shifts(table, wanted))
    shifted = [_polars_column(one) - shift for one, shift in zip(wanted.columns, wanted.shifts, strict=True)]
    found = (
        table.group_by(layout.dimensions)
        .agg(
            pl.len().alias("n"),
            *(one.sum().alias(f"s{i}") for i, one in enumerate(shifted)),
            *((shifted[i] * shifted[j]).sum().alias(f"p{i}_{j}") for i, j in wanted.pairs),
            *(pl.col(one.name).count().alias(f"k{i}") for i, one in enumerate(wanted.columns)),
            *((pl.col(one.name) * 0.0).sum().alias(f"z{i}") for i, one in enumerate(wanted.columns) if one.cap),
        )
        .collect(engine="streaming")
    )
    return _from_rows(found.to_dict(as_series=False), layout, wanted)


def gather_duckdb(relation: Any, layout: Layout, wanted: Wanted) -> Sums:
    """The sums of a DuckDB relation in one query, with its compensated sum."""
    _need(list(relation.columns), layout, wanted)
    if layout.unit:
        if relation.aggregate(f"count(*) - count({_quoted(layout.unit)})").fetchall()[0][0]:
            raise _no_number(layout.unit, "a row of no unit")
        keys = ", ".join(_quoted(name) for name in (layout.unit, *layout.dimensions))
        names = [_quoted(one) for one in dict.fromkeys(one.name for one in wanted.columns)]
        sums = (f"CASE WHEN count({one}) = count(*) THEN fsum({one}::DOUBLE) END AS {one}" for one in names)
        relation = relation.aggregate(f"{keys}, {', '.join(sums)}", keys)
    columns = [_duckdb_column(one) for one in wanted.columns]
    if not wanted.shifts:
        few = relation.limit(SHIFT_ROWS).aggregate(", ".join(f"avg({one})" for one in columns)).fetchall()[0]
        wanted = replace(wanted, shifts=shifts_of(np.array([one or 0.0 for one in few], np.float64)))
    shifted = [f"({one} - {shift!r}::DOUBLE)" for one, shift in zip(columns, wanted.shifts, strict=True)]
    keys = ", ".join(_quoted(name) for name in layout.dimensions)
    asked = [
        "count(*) AS n",
        *(f"fsum({one}) AS s{i}" for i, one in enumerate(shifted)),
        *(f"fsum({shifted[i]} * {shifted[j]}) AS p{i}_{j}" for i, j in wanted.pairs),
        *(f"count({_quoted(one.name)}) AS k{i}" for i, one in enumerate(wanted.columns)),
        *(f"sum({_quoted(one.name)} * 0.0::DOUBLE) AS z{i}" for i, one in enumerate(wanted.columns) if one.cap),
    ]
    found = relation.aggregate(f"{keys}, {', '.join(asked)}", keys)
    names, rows = list(found.columns), found.fetchall()
    return _from_rows({name: [row[i] for row in rows] for i, name in enumerate(names)}, layout, wanted)


def gather_narwhals(table: object, layout: Layout, wanted: Wanted) -> Sums:
    """The sums of any frame that Narwhals knows: pandas, PyArrow, Ibis, Dask, PySpark and others.

    Products are columns first and sums afterwards, which every one of them can do.
    """
    try:
        frame: Any = nw.from_native(cast(Any, table))
    except TypeError as error:
        raise LaunchError(
            f"found a table of type {type(table).__name__}: {error}",
            code="launch-060",
            hint="give a Parquet file, a Polars, pandas or PyArrow table, a DuckDB relation, or arrays by name",
        ) from None
    _need(frame.collect_schema().names(), layout, wanted)
    if layout.unit:
        frame = _narwhals_units(frame, layout, list(dict.fromkeys(one.name for one in wanted.columns)))
    if not wanted.shifts:
        few = frame.head(SHIFT_ROWS).select(
            _narwhals_column(one).mean().alias(f"c{i}") for i, one in enumerate(wanted.columns)
        )
        row = (few.collect() if isinstance(few, nw.LazyFrame) else few).rows()[0]
        wanted = replace(wanted, shifts=shifts_of(np.array([one or 0.0 for one in row], np.float64)))
    shifted = [_narwhals_column(one) - shift for one, shift in zip(wanted.columns, wanted.shifts, strict=True)]
    wide = frame.select(
        *layout.dimensions,
        *(one.alias(f"s{i}") for i, one in enumerate(shifted)),
        *((shifted[i] * shifted[j]).alias(f"p{i}_{j}") for i, j in wanted.pairs),
        *((nw.col(one.name) * 0.0).alias(f"z{i}") for i, one in enumerate(wanted.columns) if one.cap),
    )
    sums = [name for name in wide.collect_schema().names() if name not in layout.dimensions]
    found = wide.group_by(*layout.dimensions).agg(
        nw.len().alias("n"),
        *(nw.col(name).sum() for name in sums),
        *(nw.col(f"s{i}").count().alias(f"k{i}") for i in range(len(wanted.columns))),
    )
    told = found.collect() if isinstance(found, nw.LazyFrame) else found
    return _from_rows(told.to_dict(as_series=False), layout, wanted)


def _block(dimensions: list[NDArray[Any]], columns: Floats, wanted: Wanted) -> tuple[Any, ...]:
    """Keys, counts and sums of one block of rows."""
    keys, codes = _codes(dimensions)
    shifted = columns - np.array(wanted.shifts)[:, None]
    count = np.bincount(codes, minlength=len(keys))
    first = np.zeros((2, len(keys), len(columns)))
    second = np.zeros((2, len(keys), len(wanted.pairs)))
    for at in range(len(keys)):
        mine = shifted[:, codes == at]
        first[0, at] = mine.sum(axis=1)
        second[0, at] = [(mine[i] * mine[j]).sum() for i, j in wanted.pairs]
    return keys, count, first, second


def _codes(dimensions: list[NDArray[Any]]) -> tuple[tuple[Key, ...], NDArray[np.intp]]:
    """The keys of a block, and each row's place among them."""
    values, codes = [], np.zeros(len(dimensions[0]), np.intp)
    for one in dimensions:
        if any(value is None or value != value for value in (one if one.dtype.kind in "Of" else ())):
            raise _no_number("of the unit, the arm or a dimension", "a row that is in no group")
        found, inner = np.unique(one, return_inverse=True)
        values.append(found.tolist())
        codes = codes * len(found) + inner
    used, codes = np.unique(codes, return_inverse=True)
    places = np.unravel_index(used, [len(one) for one in values])
    keys = tuple(tuple(one[place] for one, place in zip(values, row, strict=True)) for row in zip(*places, strict=True))
    return keys, codes


def _unit_arrays(chunks: Iterable[Arrays], layout: Layout, wanted: Wanted) -> Arrays:
    """Events added up to units."""
    names = list(dict.fromkeys(one.name for one in wanted.columns))
    held = [{name: np.asarray(chunk[name]) for name in (layout.unit, *layout.dimensions, *names)} for chunk in chunks]
    whole = {name: np.concatenate([chunk[name] for chunk in held]) for name in held[0]} if held else {}
    if not whole:
        return {name: np.zeros(0) for name in (*layout.dimensions, *names)}
    keys, codes = _codes([whole[name] for name in (layout.unit, *layout.dimensions)])
    summed = {name: np.bincount(codes, whole[name].astype(np.float64), len(keys)) for name in names}
    return {name: np.array([key[i + 1] for key in keys]) for i, name in enumerate(layout.dimensions)} | summed


def _from_rows(found: dict[str, list[Any]], layout: Layout, wanted: Wanted) -> Sums:
    """An engine's answer, one row a group, as sums."""
    keys = tuple(zip(*(found[name] for name in layout.dimensions), strict=True))
    groups = len(keys)
    first = np.zeros((2, groups, len(wanted.columns)))
    second = np.zeros((2, groups, len(wanted.pairs)))
    for i in range(len(wanted.columns)):
        first[0, :, i] = [np.nan if one is None else one for one in found[f"s{i}"]]
        short = np.array(found["n"], np.int64) - np.array(found[f"k{i}"], np.int64)
        wrong = short.any() or not np.isfinite(np.array(found.get(f"z{i}", [0.0]), np.float64)).all()
        first[0, :, i] = np.nan if wrong else first[0, :, i]
    for at, (i, j) in enumerate(wanted.pairs):
        second[0, :, at] = [np.nan if one is None else one for one in found[f"p{i}_{j}"]]
    sums = Sums(wanted, layout.dimensions, keys, np.array(found["n"], np.int64), first, second)
    return _finished(sums, layout)


def _finished(sums: Sums, layout: Layout) -> Sums:
    """The sums with their groups in order, refused where a value was no number."""
    for key in sums.keys:
        for name, part in zip(layout.dimensions, key, strict=True):
            if part is None or part != part:
                raise _no_number(name, "a row that is in no group")
    for at, column in enumerate(sums.wanted.columns):
        if not np.isfinite(sums.first[:, :, at]).all():
            raise _no_number(column.name, "a missing, NaN or infinite value")
    if not np.isfinite(sums.second).all():
        raise _no_number(", ".join(one.name for one in sums.wanted.columns), "products too large for a number")
    return sums.pooled(layout.dimensions)


def _no_number(name: str, what: str) -> LaunchError:
    return LaunchError(
        f"found {what} in column {name!r}, expected a finite number in every row",
        code="launch-063",
        hint="decide before the launch what a missing value means, and fill it; nothing is dropped silently",
    )


def _none(layout: Layout, wanted: Wanted) -> Sums:
    shifts = wanted.shifts or (0.0,) * len(wanted.columns)
    empty = (np.zeros(0, np.int64), np.zeros((2, 0, len(wanted.columns))), np.zeros((2, 0, len(wanted.pairs))))
    return Sums(replace(wanted, shifts=shifts), layout.dimensions, (), *empty)


def _need(names: Sequence[str], layout: Layout, wanted: Wanted) -> None:
    for name in (*layout.dimensions, *([layout.unit] if layout.unit else []), *(one.name for one in wanted.columns)):
        if name not in names:
            raise LaunchError(
                f"found no column {name!r} in the table", code="launch-060", hint=did_you_mean(name, names)
            )


def _capped(values: Floats, cap: float) -> Floats:
    return np.where(np.isposinf(values), np.nan, np.minimum(values, cap)) if cap else values


def _polars_column(column: Column) -> pl.Expr:
    value = pl.col(column.name).cast(pl.Float64)
    return pl.when(value > column.cap).then(column.cap).otherwise(value) if column.cap else value


def _polars_shifts(table: pl.LazyFrame, wanted: Wanted) -> tuple[float, ...]:
    few = table.head(SHIFT_ROWS).select(
        _polars_column(one).mean().alias(f"c{i}") for i, one in enumerate(wanted.columns)
    )
    row = few.collect(engine="streaming").row(0)
    return shifts_of(np.array([one or 0.0 for one in row], np.float64))


def _duckdb_column(column: Column) -> str:
    value = f"{_quoted(column.name)}::DOUBLE"
    return f"least({value}, {column.cap!r}::DOUBLE)" if column.cap else value


def _narwhals_units(frame: Any, layout: Layout, names: list[str]) -> Any:
    """Events added up to units; a unit with a missing event has no sum."""
    missing = frame.select(nw.col(layout.unit).is_null().any().alias("missing"))
    if (missing.collect() if isinstance(missing, nw.LazyFrame) else missing).item():
        raise _no_number(layout.unit, "a row of no unit")
    summed = frame.group_by(layout.unit, *layout.dimensions).agg(
        nw.len().alias("_rows"), nw.col(*names).sum(), *(nw.col(name).count().alias(f"_count_{name}") for name in names)
    )
    return summed.with_columns(
        nw.when(nw.col(f"_count_{name}") == nw.col("_rows")).then(nw.col(name).cast(nw.Float64)).alias(name)
        for name in names
    )


def _narwhals_column(column: Column) -> Any:
    value = nw.col(column.name).cast(nw.Float64)
    return nw.when(value > column.cap).then(nw.lit(column.cap)).otherwise(value) if column.cap else value


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
