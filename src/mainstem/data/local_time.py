"""When was that, and which local day: a source's times as milliseconds since 1970 UTC."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from mainstem.base.errors import DataError, did_you_mean

_PER_SECOND: Final[dict[str, float]] = {"s": 1_000.0, "ms": 1.0, "us": 0.001, "ns": 0.000_001}
UNITS: Final = (*_PER_SECOND, "iso")


def check_time(time: Mapping[str, str]) -> None:
    """Are ``[data.time]`` unit and zone known; ``data-010`` names the key, ``data-014`` the value."""
    for key in time:
        if key not in ("unit", "zone"):
            raise DataError(
                f"found {key!r} in [data.time] of mainstem.toml, expected unit or zone",
                code="data-010",
                hint=did_you_mean(key, ("unit", "zone")),
            )
    if time.get("unit", "ms") not in UNITS:
        raise DataError(f"found data.time.unit = {time['unit']!r}, expected one of {', '.join(UNITS)}", code="data-014")
    _zone(time.get("zone", "UTC"))


def to_ms(series: pl.Series, time: Mapping[str, str]) -> pl.Series:
    """A time column as int64 milliseconds since 1970 UTC; null where there is no time.

    Numbers are counted in ``unit``; texts and date-times without a zone are local times of ``zone``.
    """
    zone = time.get("zone", "UTC")
    if series.dtype == pl.String and time.get("unit", "ms") != "iso":
        series = series.cast(pl.Float64, strict=False)
    if series.dtype == pl.String:
        series = _parse(series, zone)
    if series.dtype == pl.Date:
        series = series.cast(pl.Datetime("ms"))
    if isinstance(series.dtype, pl.Datetime):
        if series.dtype.time_zone is None:
            series = series.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return series.dt.epoch("ms")
    factor = _PER_SECOND.get(time.get("unit", "ms"), 1.0)
    if factor >= 1 and series.dtype.is_integer():
        return series.cast(pl.Int64, strict=False) * int(factor)
    floats = series.cast(pl.Float64, strict=False) * factor
    return floats.set(~floats.is_finite().fill_null(False), None).round().cast(pl.Int64, strict=False)


def local_days(time_ms: pl.Series, zone: str) -> pl.Series:
    """The local day of each time as yyyymmdd."""
    local = time_ms.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    days = local.dt.year() * 10_000 + local.dt.month().cast(pl.Int32) * 100 + local.dt.day().cast(pl.Int32)
    return days.cast(pl.Int32).alias("day")


def utc_offset_min(time_ms: pl.Series, zone: str) -> int:
    """How many minutes the zone was ahead of UTC in the middle of the log."""
    middle = time_ms.median()
    if not isinstance(middle, int | float):
        return 0
    offset = dt.datetime.fromtimestamp(middle / 1000, tz=_zone(zone)).utcoffset()
    return int(offset.total_seconds() // 60) if offset else 0


def _parse(texts: pl.Series, zone: str) -> pl.Series:
    """ISO 8601 texts: with an offset they are that instant, without one a local time of the zone."""
    frame = pl.DataFrame({"text": texts.str.strip_chars().str.replace("T", " ").str.replace(r"Z$", "+00:00")})
    text = pl.col("text")
    with_offset = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_unit="ms", strict=False).dt.convert_time_zone(
        "UTC"
    )
    local = pl.coalesce(
        text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="ms", strict=False),
        text.str.to_datetime("%Y-%m-%d %H:%M", time_unit="ms", strict=False),
        text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("ms")),
    ).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return frame.select(pl.coalesce(with_offset, local.dt.convert_time_zone("UTC"))).to_series()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DataError(
            f"found data.time.zone = {name!r}, expected a time zone name such as Asia/Shanghai", code="data-014"
        ) from error
