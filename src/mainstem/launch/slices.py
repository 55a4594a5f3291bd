"""Who was it better or worse for? Every metric by surface, origin, cohort and side of creators: to be read, never to be gated on.

Some parts are of units (a cohort, an origin): each unit is in one. Others are of events (whose items were shown): every exposed
unit is in all of them, with zeros where it did nothing there, or a launch that moves attention to small creators would look
as if those who turned to them had always been theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from mainstem.base.errors import LaunchError, did_you_mean
from mainstem.launch.exposure import MS_PER_DAY, Look, Tolerance, triggered
from mainstem.launch.metrics import Effect
from mainstem.launch.plan_file import Metric
from mainstem.launch.pulls import NOT_YET, Where, pulls_of

COHORT: Final = "cohort"
"""The column that says in which week of the launch a unit was first exposed."""


def with_cohort(units: pl.DataFrame, look: Look, days: int = 7) -> pl.DataFrame:
    """The units with the stretch of days in which each was first exposed, such as ``days 1 to 7``.

    Args:
        units: From ``exposure.triggered``.
        look: Whose start is the first day's.
        days: Length of a stretch.
    """
    number = (pl.col("since_ms") - look.start_ms).floordiv(days * MS_PER_DAY) * days
    first, last = (number + 1).cast(pl.String), (number + days).cast(pl.String)
    return units.with_columns(pl.concat_str([pl.lit("days "), first, pl.lit(" to "), last]).alias(COHORT))


def units_by(units: pl.DataFrame, by: str) -> dict[str, pl.DataFrame]:
    """The units of each value of a column that was kept beside them, in order.

    Raises:
        LaunchError: It was not kept (``launch-060``).
    """
    if by not in units.columns:
        raise LaunchError(
            f"found no column {by!r} among the units", code="launch-060", hint=did_you_mean(by, units.columns)
        )
    found = units.partition_by(by, as_dict=True)
    return {str(key[0]): found[key] for key in sorted(found, key=_in_order)}


def _in_order(key: tuple[object, ...]) -> list[tuple[int, int, str]]:
    """As people count: ``days 8 to 14`` before ``days 15 to 21``, and what is missing last."""
    if key[0] is None:
        return [(2, 0, "")]
    return [(0, int(one), "") if one.isdigit() else (1, 0, one) for one in re.split(r"(\d+)", str(key[0])) if one]


def events_by(
    exposures: pl.DataFrame,
    events: pl.DataFrame,
    columns: Sequence[str],
    look: Look,
    by: str,
    *,
    keep: Sequence[str] = (),
    tolerance: Tolerance | None = None,
) -> dict[str, pl.DataFrame]:
    """For each value of an attribute of events a table of all exposed units, with what they did there; 0 where nothing.

    Args:
        exposures, events, columns, look, keep, tolerance: As ``exposure.triggered`` takes them.
        by: The attribute, such as whose item it was: ``creator_side``.

    Raises:
        LaunchError: Events do not have it (``launch-060``), or what ``triggered`` raises.
    """
    if by not in events.columns:
        raise LaunchError(
            f"found no column {by!r} among the events", code="launch-060", hint=did_you_mean(by, events.columns)
        )
    values = events[by].drop_nulls().unique().sort().to_list()
    return {
        str(value): triggered(
            exposures, events.filter(pl.col(by) == value), columns, look, keep=keep, tolerance=tolerance
        )[0]
        for value in values
    }


def effects_in(
    tables: Mapping[str, pl.DataFrame], metrics: Mapping[str, Metric], where: Where | None = None
) -> tuple[dict[str, dict[str, Effect]], tuple[str, ...]]:
    """What changed in each metric in each part, and of which nothing can be said, and why.

    Args:
        tables: By the part's value, from ``units_by`` or ``events_by``; quantiles are left out.
        metrics: By name, as promised.
        where: See ``pulls_of``.

    Raises:
        LaunchError: A table is wrong; what is only too little is told.
    """
    found: dict[str, dict[str, Effect]] = {}
    silent: list[str] = []
    for value, table in tables.items():
        for name, metric in metrics.items():
            if metric.kind == "quantile":
                continue
            try:
                found.setdefault(value, {})[name] = pulls_of(table, metric, where, name).effect
            except LaunchError as error:
                if error.code not in NOT_YET:
                    raise
                silent.append(f"{name} at {value}: {error.message}")
    return found, tuple(silent)
