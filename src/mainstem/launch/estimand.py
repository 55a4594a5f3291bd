"""What exactly was promised of a metric? Whose values, how long after exposure, and what counts as independent.

A metric's ``unit`` says what is independent, and not what is averaged: with ``cluster`` the mean is still that of users, as a
ratio of each cluster's sum to its users, so that households that feel alike make its error no smaller than it is. With
``block`` rows are whatever was counted in a block of time. Its ``window_days`` says how long after its first exposure a unit's
events count; a unit whose window is not over is not in the table yet.

Source: delta method for clustered units, Deng, Knoblich and Lu 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from mainstem.base.errors import LaunchError, did_you_mean
from mainstem.launch.exposure import MS_PER_DAY, Look
from mainstem.launch.metrics import Measure, Part, measure_of
from mainstem.launch.plan_file import Metric
from mainstem.launch.sufficient import Column

USER: Final = "user"
ROWS: Final = "rows of the unit"
"""How many rows a cluster or block has, beside their sums."""


def look_for(metric: Metric, start_ms: int, at_ms: int) -> Look:
    """The look at a metric at some time, with the window that was promised for it.

    Units: milliseconds; the window in whole ones.
    """
    return Look(start_ms, at_ms, round(metric.window_days * MS_PER_DAY))


def unit_column(metric: Metric, unit: str = "unit") -> str:
    """The column of a table whose values are independent for this metric: the user's own, ``cluster`` or ``block``."""
    return unit if metric.unit == USER else metric.unit


def measure_for(name: str, metric: Metric) -> Measure:
    """A promised metric as a computation over the rows that ``independent`` gives.

    Raises:
        LaunchError: It is a quantile (``launch-060``).
    """
    if metric.unit == USER:
        return measure_of(name, metric)
    rows = Column(ROWS)
    parts = (measure_of(name, metric).part, *measure_of(name, metric).covariates)
    plain = [Part(Column(one.top.name), Column(one.bottom.name) if one.bottom else rows) for one in parts]
    return Measure(name, plain[0], tuple(plain[1:]))


def columns_of(metric: Metric) -> tuple[str, ...]:
    """The columns that a metric and its covariates read.

    Raises:
        LaunchError: It is a quantile (``launch-060``).
    """
    return tuple(dict.fromkeys(one.name for one in measure_of("metric", metric).columns))


def independent(
    table: pl.DataFrame, metric: Metric, arm: str, by: Sequence[str] = (), unit: str = "unit"
) -> pl.DataFrame:
    """One row for each independent unit of a metric, and for each of the values of ``by`` it has rows with.

    Args:
        table: One row a user; of a metric by blocks, one row for whatever is counted.
        metric: As promised.
        arm: The column with the arm.
        by: Columns that are kept apart.
        unit: The column with the user, where there is one.

    Raises:
        LaunchError: A column is missing (``launch-060``), a cluster or block is in two arms (``launch-111``), or it is a
            quantile (``launch-060``).
    """
    if metric.unit == USER:
        return table
    names = columns_of(metric)
    for name in (metric.unit, arm, *by, *names):
        if name not in table.columns:
            raise LaunchError(
                f"found no column {name!r} in the table", code="launch-060", hint=did_you_mean(name, table.columns)
            )
    _check_one_arm(table, metric.unit, arm)
    cap = metric.winsor_cap
    values = {name: pl.col(name).cast(pl.Float64) for name in names}
    if cap:
        top = values[metric.column]
        values[metric.column] = pl.when(top > cap).then(cap).otherwise(top)
    # A cluster with a missing value has no sum, and is refused where sums are taken.
    sums = (pl.when(one.is_not_null().all()).then(one.sum()).alias(name) for name, one in values.items())
    keys = [metric.unit, arm, *by]
    return table.group_by(keys, maintain_order=True).agg(*sums, pl.len().cast(pl.Float64).alias(ROWS))


def _check_one_arm(table: pl.DataFrame, unit: str, arm: str) -> None:
    arms = table.group_by(unit).agg(pl.col(arm).n_unique().alias("arms"))
    mixed = arms.filter(pl.col("arms") > 1).height
    if mixed:
        raise LaunchError(
            f"found {mixed} of {arms.height} values of {unit!r} with rows in both arms, expected each in one",
            code="launch-111",
            hint=f"assign by {unit}, not by user, where a metric's unit is {unit!r}",
        )
