"""What is known of users and metrics before a launch: written down by hand, or read from a table of units."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl

from mainstem.base.errors import LaunchError
from mainstem.launch.estimand import ROWS, USER, independent, measure_for
from mainstem.launch.gather import Layout, gather
from mainstem.launch.metrics import effect_of, wanted
from mainstem.launch.plan_file import Plan
from mainstem.launch.planner import Measured, Traffic
from mainstem.launch.quantiles import Measurements

_ARM = "every unit"
BLOCK = "block"
_HINT = "docs/guides/launch-plan.md shows one"


class _Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cv: float
    r2: float = 0.0
    users_a_unit: float = 1.0


class _Traffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    daily_users: float
    growth: float = 0.6


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    traffic: dict[str, _Traffic] = {}
    metrics: dict[str, _Metric] = {}


@dataclass(frozen=True, slots=True)
class Known:
    """What a plan is computed from.

    Attributes:
        metrics: Those of the plan that must pass and of which something is known.
        traffic: By surface.
        unplanned: Those whose need is not computed: quantiles that nothing was measured of, and metrics by blocks of time,
            which no number of users sizes.
    """

    metrics: tuple[Measured, ...]
    traffic: dict[str, Traffic]
    unplanned: tuple[str, ...]


def read_known(plan: Plan, file: Path) -> Known:
    """From a TOML file with a table for each surface's traffic and one for each metric.

    Raises:
        LaunchError: The file is missing, is not what it should be, or says nothing of a surface or metric of the plan
            (``launch-019``).
    """
    if not file.is_file():
        raise LaunchError(f"found no {file}, expected what was measured", code="launch-019", hint=_HINT)
    try:
        held = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise LaunchError(f"{file}: {error}", code="launch-019", hint=_HINT) from None
    _all_named(file, "traffic", plan.surfaces, held.traffic)
    _all_named(file, "metrics", _sums(plan), held.metrics)
    sized = [name for name in plan.must_pass() if name in held.metrics and plan.metrics[name].unit != BLOCK]
    metrics = tuple(_planned(plan, name, held.metrics[name]) for name in sized)
    traffic = {name: Traffic(held.traffic[name].daily_users, held.traffic[name].growth) for name in plan.surfaces}
    return Known(metrics, traffic, tuple(name for name in plan.must_pass() if name not in sized))


def measure_units(plan: Plan, units: Path, daily_users: float, growth: float = 0.6) -> Known:
    """From a table of units, one row a user, before the launch; every surface is taken to have the same traffic.

    Args:
        plan: What is to be launched.
        units: ``.parquet`` or ``.csv`` with the plan's columns.
        daily_users: Different users a day of each surface.
        growth: See ``Traffic``.

    Raises:
        LaunchError: There is no such table (``launch-019``), or what the sums raise.
    """
    if not units.is_file():
        raise LaunchError(f"found no {units}, expected a table of units", code="launch-019", hint=_HINT)
    table = (pl.scan_csv(units) if units.suffix == ".csv" else pl.scan_parquet(units)).with_columns(
        pl.lit(_ARM).alias(_ARM)
    )
    named = _sums(plan)
    users = [name for name in named if plan.metrics[name].unit == USER]
    sums = gather(table, Layout(arm=_ARM), wanted(measure_for(name, plan.metrics[name]) for name in users))
    found = []
    for name in named:
        metric, mine, size = plan.metrics[name], sums, 1.0
        measure = measure_for(name, metric)
        if metric.unit != USER:
            apart = independent(table.collect(), metric, _ARM)
            mine, size = gather(apart, Layout(arm=_ARM), wanted([measure])), float(apart[ROWS].to_numpy().mean())
        effect = effect_of(mine, measure, _ARM, _ARM)
        left, mean = effect.control.variance, abs(effect.control.mean)
        if not (left > 0 and mean > 0):
            raise LaunchError(
                f"found {name!r} with mean {mean} and variance {left} in {units}, expected both above 0",
                code="launch-019",
                hint="a relative margin needs a mean, and a metric that never varies shows nothing",
            )
        cv = math.sqrt(left / (1 - effect.explained)) / mean
        found.append(_planned(plan, name, _Metric(cv, effect.explained, size)))
    unplanned = tuple(name for name in plan.must_pass() if name not in named)
    return Known(tuple(found), {name: Traffic(daily_users, growth) for name in plan.surfaces}, unplanned)


def quantile_cv(measurements: Measurements, quantile: float) -> float:
    """What ``cv`` a quantile has for a plan, from measurements of before: its error times the root of units, over itself.

    Raises:
        LaunchError: It has no error (``launch-110``), or is 0 (``launch-019``).
    """
    figure = measurements.figure(quantile)
    if figure.value == 0:
        raise LaunchError(
            f"found a quantile {quantile:g} of 0, expected one above 0",
            code="launch-019",
            hint="a relative margin needs it",
        )
    return figure.error * math.sqrt(len(figure.units)) / abs(figure.value)


def _sums(plan: Plan) -> list[str]:
    """Those that a table of users sizes: no quantiles, and no metrics by blocks of time."""
    return [name for name, one in plan.must_pass().items() if one.kind != "quantile" and one.unit != BLOCK]


def _planned(plan: Plan, name: str, known: _Metric) -> Measured:
    one = plan.metrics[name]
    return Measured(
        name,
        one.margin,
        known.cv,
        known.r2,
        one.spending,
        one.looks,
        one.first_look_day,
        one.window_days,
        known.users_a_unit,
    )


def _all_named(file: Path, table: str, expected: list[str], found: Mapping[str, object]) -> None:
    for name in expected:
        if name not in found:
            raise LaunchError(f"{file} has no [{table}.{name}], which the plan names", code="launch-019", hint=_HINT)
