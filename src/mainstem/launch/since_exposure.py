"""Does the change wear off, or grow? The effect by days since a unit's first exposure, over the same units on every day.

Who came early has many days behind it and who came late has few, and the two are not alike: early units are those who come
often. A curve over whoever has a day to show would bend by that alone. So only units that have had all the days are read, each
day over all of them; how many came too late is told.

Source: the panel is the one of Hohnhold, O'Brien and Tang 2015 (post-period cohorts) without its second assignment; errors of the
slope are from units' pulls, since one unit's days hang together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from mainstem.base.errors import LaunchError
from mainstem.evaluate.intervals import Interval
from mainstem.launch.estimand import USER, columns_of
from mainstem.launch.exposure import MS_PER_DAY
from mainstem.launch.plan_file import Metric
from mainstem.launch.pulls import Pulls, Where, pulls_of

DAYS: Final = 7
"""How many days are followed where nothing else is asked: each weekday once, whenever a unit came."""
_HOW: Final = "units with all days, delta method"


@dataclass(frozen=True, slots=True)
class SinceExposure:
    """The relative change by days since first exposure.

    Attributes:
        days: From the day of the exposure on, each with its own interval; together they hold less often than one alone.
        slope: How much the relative change moves a day, by a straight line through the days.
        p_value: Two-sided, that it does not move: small for novelty (towards 0) and for learning (away from it) alike.
        units: Read on every day.
        late: Units that came too late to have all days.
    """

    days: tuple[Interval, ...]
    slope: Interval
    p_value: float
    units: int
    late: int


def since_exposure(
    units: pl.DataFrame,
    events: pl.DataFrame,
    metric: Metric,
    at_ms: int,
    *,
    days: int = DAYS,
    where: Where | None = None,
    level: float = 0.95,
) -> SinceExposure:
    """The change in one metric on each day since first exposure, and whether it moves.

    Args:
        units: From ``exposure.triggered``: unit, arm, ``since_ms``, and covariates where the metric has some.
        events: ``unit``, ``time_ms`` and the metric's columns, as ``triggered`` takes them.
        metric: A mean, rate or ratio; a rate is the mean of what was added up on a day.
        at_ms: The look.
        days: How many are followed.
        where: See ``pulls_of``.
        level: Of the intervals.

    Raises:
        LaunchError: Fewer than two days, nobody has had them all, or the old arm's figure of a day is 0 (``launch-112``); or what
            ``pulls_of`` raises.
    """
    where = where or Where()
    ripe = units.filter(pl.col("since_ms") + days * MS_PER_DAY <= at_ms)
    if days < 2 or not ripe.height:
        raise _nothing(f"{ripe.height} of {units.height} units with {days} days since their exposure")
    read = [name for name in columns_of(metric) if name in events.columns]
    daily = _daily(ripe, events, read, days, where)
    found = [pulls_of(table, _as_mean(metric), where) for table in daily]
    return _curve(found, units.height - ripe.height, level)


def _daily(ripe: pl.DataFrame, events: pl.DataFrame, read: list[str], days: int, where: Where) -> list[pl.DataFrame]:
    """For each day since exposure a table with every unit, with zeros where it did nothing."""
    mine = events.join(ripe.select(where.unit, "since_ms"), on=where.unit).with_columns(
        _day=(pl.col("time_ms") - pl.col("since_ms")).floordiv(MS_PER_DAY)
    )
    sums = mine.group_by(where.unit, "_day").agg(pl.col(name).cast(pl.Float64).sum() for name in read)
    base = ripe.drop(read, strict=False).sort(where.unit)
    return [
        base.join(
            sums.filter(pl.col("_day") == day).drop("_day"), on=where.unit, how="left", maintain_order="left"
        ).with_columns(pl.col(name).fill_null(0.0) for name in read)
        for day in range(days)
    ]


def _as_mean(metric: Metric) -> Metric:
    """What was a rate over the whole time is, day by day, a mean of what was added up."""
    if metric.kind != "binary" or metric.unit != USER:
        return metric
    return Metric(role=metric.role, column=metric.column, covariates=metric.covariates, margin=metric.margin)


def _curve(found: list[Pulls], late: int, level: float) -> SinceExposure:
    if any(not one.effect.control.mean for one in found):
        raise _nothing("a day on which the old arm's figure is 0")
    relative = np.array([one.effect.relative for one in found])
    table = np.stack([_relative_pulls(one) for one in found], axis=1)
    errors = np.sqrt((table**2).sum(axis=0))
    away = np.arange(len(found)) - (len(found) - 1) / 2
    weights = away / float(away @ away)
    slope, error = float(weights @ relative), float(np.sqrt(((table @ weights) ** 2).sum()))
    units, reach = len(table), float(ndtri((1 + level) / 2))
    return SinceExposure(
        tuple(
            _interval(float(mid), float(one) * reach, level, units) for mid, one in zip(relative, errors, strict=True)
        ),
        _interval(slope, error * reach, level, units),
        float(2 * ndtr(-abs(slope) / error)) if error else math.nan,
        units,
        late,
    )


def _relative_pulls(one: Pulls) -> NDArray[np.float64]:
    """How each unit pulls on the relative change: the old figure's own noise counts.

    Shapes: ``[units]``.
    """
    old = one.effect.control.mean
    ratio = one.effect.treatment.mean / old
    return np.where(one.new, one.pull, -ratio * one.pull) / old


def _interval(mid: float, reach: float, level: float, units: int) -> Interval:
    return Interval(mid - reach, mid, mid + reach, level, units, _HOW)


def _nothing(found: str) -> LaunchError:
    return LaunchError(
        f"found {found}, expected two days or more, units that have had them all, and figures to be relative to",
        code="launch-112",
        hint="follow fewer days, or wait until somebody has been in for as long",
    )
