"""What does anybody's own table say: the mapping of ``mainstem.toml`` from its columns to the log's.

The mapping is ``mainstem.base.settings.Data``: ``columns`` (our column = theirs, or arithmetic of theirs), ``surfaces``
(surface = scenario values), ``time`` (unit, zone) and ``heads`` (head = a column or a comparison). A column of theirs
that already has our name needs no line.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from mainstem.base.errors import DataError, did_you_mean
from mainstem.base.heads import HEADS
from mainstem.base.settings import Data
from mainstem.data.expressions import column_expression
from mainstem.data.ids import Numbering, number_ids
from mainstem.data.loaders.side_tables import items_table, users_table
from mainstem.data.local_time import check_time, local_days, to_ms, utc_offset_min
from mainstem.data.manifest import Manifest
from mainstem.data.sources import (
    EARLIEST_MS,
    LATEST_MS,
    Loaded,
    Progress,
    count_reasons,
    number_requests,
    read_frame,
    silent,
    split_drops,
)
from mainstem.data.tables import IMPRESSIONS, ITEMS, USERS

_NEEDED: Final = ("user_id", "item_id", "time_ms")
_ID_TABLES: Final = {"user_id": "ids_user", "item_id": "ids_item"}


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of somebody's log, with what is known of it and the tables beside it."""

    rows: pl.DataFrame
    name: str
    items: pl.DataFrame | None = None
    users: pl.DataFrame | None = None
    loader: str = "table"
    licence: str = "not stated"
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def load(source: object, mapping: Data, *, progress: Progress = silent) -> Loaded:
    """The log tables of a file or of a frame in memory, by the mapping.

    Args:
        source: A path, or anything with the Arrow PyCapsule interface.
    """
    progress(0.0, "reading the table")
    beside = Path(source).parent if isinstance(source, str | Path) else Path()
    name = Path(source).name if isinstance(source, str | Path) else type(source).__name__
    items, users = (read_frame(beside / side) if side else None for side in (mapping.items, mapping.users))
    files = [name, *(Path(side).name for side in (mapping.items, mapping.users) if side)]
    return load_source(Source(read_frame(source), name, items, users, files=files), mapping, progress=progress)


def load_source(source: Source, mapping: Data, *, progress: Progress = silent) -> Loaded:
    """The log tables of rows in hand, by the mapping."""
    _check_mapping(mapping, source)
    progress(0.2, "mapping columns")
    kept, dropped, numbering = _rows(source, mapping)
    if kept.is_empty():
        raise DataError(
            f"found no row of {source.rows.height} in {source.name} that names an impression: {count_reasons(dropped)}",
            code="data-015",
            hint='bad_time on every row is a wrong unit: [data.time] unit = "s"',
        )
    progress(0.7, "items and users")
    zone = mapping.time.get("zone", "UTC")
    tables = {
        "impressions": kept.select([name for name in IMPRESSIONS.schema if name in kept.columns]),
        "items": items_table(source.items, mapping, kept, numbering["item_id"]),
        "users": users_table(source.users, mapping, kept, numbering["user_id"]),
        "dropped": dropped,
    } | {_ID_TABLES[column]: numbers.table for column, numbers in numbering.items()}
    progress(1.0, "mapped")
    manifest = Manifest(
        name=source.name,
        loader=source.loader,
        licence=source.licence,
        source_files=source.files,
        rows_in=source.rows.height,
        dropped=count_reasons(dropped),
        utc_offset_min=utc_offset_min(kept.get_column("time_ms"), zone),
        notes=source.notes,
        facts={"zone": zone, "time_unit": mapping.time.get("unit", "ms")},
    )
    return Loaded(tables, manifest)


def _check_mapping(mapping: Data, source: Source) -> None:
    ours = {*IMPRESSIONS.schema, *ITEMS.schema, *USERS.schema}
    _refuse_unknown(mapping.columns, ours, "data.columns")
    _refuse_unknown(mapping.heads, HEADS, "data.heads")
    check_time(mapping.time)
    for name in _NEEDED:
        if name not in mapping.columns and name not in source.rows.columns:
            raise DataError(
                f"found no column for {name!r} in {source.name}, expected a line in [data.columns]",
                code="data-011",
                hint=f'{name} = "their column"; {did_you_mean(name, source.rows.columns)}',
            )


def _refuse_unknown(found: Collection[str], known: Collection[str], where: str) -> None:
    for name in found:
        if name not in known:
            raise DataError(
                f"found {name!r} in [{where}] of mainstem.toml, expected one of our columns",
                code="data-010",
                hint=did_you_mean(name, known),
            )


def _rows(source: Source, mapping: Data) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Numbering]]:
    """The mapped rows that name an impression, the source rows that do not, and how ids became numbers."""
    raw = source.rows
    ours = {
        name: column_expression(mapping.columns.get(name, name), raw.columns, f"data.columns.{name}")
        for name in IMPRESSIONS.schema
        if name in mapping.columns or name in raw.columns
    }
    mapped = _evaluate(raw, ours, source.name)
    times = to_ms(mapped.get_column("time_ms"), mapping.time)
    numbering = {name: _number(mapped, name, times, source) for name in _ID_TABLES}
    mapped = mapped.with_columns(
        times.alias("time_ms"), *(numbers.apply(mapped.get_column(name)) for name, numbers in numbering.items())
    )
    mapped = mapped.with_columns(*_heads(mapped, raw, mapping), _surface(mapped, mapping), _scenario(mapped))
    if "day" not in mapped.columns:
        mapped = mapped.with_columns(day=local_days(mapped.get_column("time_ms"), mapping.time.get("zone", "UTC")))
    kept, bad = split_drops(mapped.with_row_index("source_row").with_columns(copy=_copies(mapped, raw)), _rules())
    kept = _requests(kept)
    repeated = ~kept.select(pl.struct("request_id", "item_id").is_first_distinct()).to_series()
    again = kept.filter(repeated).select("source_row", reason=pl.lit("repeated_impression"))
    reasons = pl.concat([bad.select("source_row", "reason"), again])
    dropped = raw.with_row_index("source_row").join(reasons, on="source_row", how="inner", maintain_order="left")
    return kept.filter(~repeated), dropped, numbering


def _copies(mapped: pl.DataFrame, raw: pl.DataFrame) -> pl.Series:
    """Which source rows equal an earlier one in every column; whole rows are compared only where the keys are shared."""
    shared = mapped.select(pl.struct("user_id", "item_id", "time_ms").is_duplicated()).to_series()
    places = shared.arg_true()
    later = ~raw.filter(shared).select(pl.struct(pl.all()).is_first_distinct()).to_series()
    return pl.zeros(mapped.height, dtype=pl.Boolean, eager=True).scatter(places.filter(later), True)


def _rules() -> list[tuple[str, pl.Expr]]:
    time = pl.col("time_ms")
    return [
        ("bad_id", pl.col("user_id").is_null() | pl.col("item_id").is_null()),
        ("bad_time", time.is_null() | (time < EARLIEST_MS) | (time > LATEST_MS)),
        ("exact_duplicate", pl.col("copy")),
    ]


def _evaluate(raw: pl.DataFrame, ours: dict[str, pl.Expr], where: str) -> pl.DataFrame:
    """Our columns; numbers that are NaN or infinite become null, so that a later rule can name them."""
    try:
        frame = raw.select(**ours)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"found columns in {where} that [data.columns] cannot compute: {str(error).splitlines()[0]}",
            code="data-012",
            hint="arithmetic needs numbers on both sides",
        ) from error
    finite = [pl.when(pl.col(n).is_finite()).then(pl.col(n)) for n, t in frame.schema.items() if t.is_float()]
    whole = {
        name: IMPRESSIONS.schema[name] for name in frame.columns if name not in ("request_id", *_NEEDED, "scenario")
    }
    frame = frame.with_columns(finite)
    return frame.with_columns(
        pl.col(name).cast(dtype, strict=False) for name, dtype in whole.items() if name not in HEADS
    )


def _number(mapped: pl.DataFrame, name: str, times: pl.Series, source: Source) -> Numbering:
    """Text ids are numbered in the order of time, then those that only the side table knows."""
    met = mapped.get_column(name).gather(times.arg_sort(nulls_last=True))
    side = source.items if name == "item_id" else source.users
    if side is None or name not in side.columns:
        return number_ids(met)
    beside = side.get_column(name)
    return number_ids(met, beside.cast(pl.String) if met.dtype == pl.String else beside)


def _heads(mapped: pl.DataFrame, raw: pl.DataFrame, mapping: Data) -> list[pl.Series]:
    """Each head as 0, 1 or null. A comparison may use our columns and theirs; ours come first."""
    both = mapped.with_columns(raw.select([name for name in raw.columns if name not in mapped.columns]))
    series = []
    for head in HEADS:
        if head not in mapping.heads and head not in both.columns:
            continue
        text = mapping.heads.get(head, head)
        value = _evaluate_head(both, column_expression(text, both.columns, f"data.heads.{head}"), head, text)
        series.append(value.alias(head))
    return series


def _evaluate_head(frame: pl.DataFrame, expression: pl.Expr, head: str, text: str) -> pl.Series:
    try:
        value = frame.with_columns(expression.cast(pl.Float64).alias(head)).get_column(head)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"found data.heads.{head} = {text!r}, which cannot be computed: {str(error).splitlines()[0]}",
            code="data-012",
            hint="compare numbers with numbers and text with text",
        ) from error
    value = value.set(~value.is_finite().fill_null(False), None)
    return (value > 0).cast(pl.Int8)


def _surface(mapped: pl.DataFrame, mapping: Data) -> pl.Expr:
    rest = [name for name, values in mapping.surfaces.items() if not values]
    if not mapping.surfaces:
        return pl.col("surface").fill_null("feed") if "surface" in mapped.columns else pl.lit("feed").alias("surface")
    if len(rest) > 1 or "scenario" not in mapped.columns:
        found = f"{len(rest)} surfaces without values" if len(rest) > 1 else "no column for 'scenario'"
        raise DataError(
            f"found {found} with [data.surfaces], expected a scenario column and at most one surface for the rest",
            code="data-013",
            hint='[data.columns] scenario = "their column"',
        )
    surface: pl.Expr = pl.lit(rest[0] if rest else "feed")
    for name, values in mapping.surfaces.items():
        texts = [str(value) for value in values]
        surface = pl.when(pl.col("scenario").cast(pl.String).is_in(texts)).then(pl.lit(name)).otherwise(surface)
    return surface.alias("surface")


def _scenario(mapped: pl.DataFrame) -> pl.Expr:
    """Text scenarios are numbered by name; numbers stay."""
    if "scenario" not in mapped.columns:
        return pl.lit(-1, dtype=pl.Int16).alias("scenario")
    if mapped.schema["scenario"] == pl.String:
        return (pl.col("scenario").rank("dense").cast(pl.Int16) - 1).fill_null(-1)
    return pl.col("scenario").cast(pl.Int16, strict=False).fill_null(-1)


def _requests(kept: pl.DataFrame) -> pl.DataFrame:
    """Requests as the source names them, else one for each user, time and placement; positions as given, else by row."""
    ordered = kept.sort("time_ms", "source_row")
    given = "position" in kept.columns
    if "request_id" in kept.columns and kept.get_column("request_id").null_count() == 0:
        theirs = ordered.get_column("request_id")
        if not theirs.dtype.is_integer():
            theirs = theirs.cast(pl.String)
        numbered = ordered.with_columns(number_ids(theirs).apply(theirs).alias("request_id"))
        place = pl.int_range(pl.len()).over("request_id").clip(upper_bound=32_767).cast(pl.Int16)
        return numbered if given else numbered.with_columns(position=place)
    by = ("time_ms", "user_id", "surface", "scenario")
    if not given:
        return number_requests(ordered, by)
    named = number_requests(ordered.rename({"position": "given"}), by)
    return named.with_columns(pl.col("given").fill_null(-1).alias("position"))
