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
from mainstem.launch.gather import Layout, gather
from mainstem.launch.metrics import effect_of, measure_of, wanted
from mainstem.launch.plan_file import Plan
from mainstem.launch.planner import Measured, Traffic

_ARM = "every unit"
_HINT = "docs/guides/launch-plan.md shows one"


class _Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cv: float
    r2: float = 0.0


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
        metrics: Those of the plan that must pass and are means or ratios.
        traffic: By surface.
        unplanned: Quantiles, whose need is not computed.
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
    named = _sums(plan)
    _all_named(file, "metrics", named, held.metrics)
    metrics = tuple(_planned(plan, name, held.metrics[name].cv, held.metrics[name].r2) for name in named)
    traffic = {name: Traffic(held.traffic[name].daily_users, held.traffic[name].growth) for name in plan.surfaces}
    return Known(metrics, traffic, _quantiles(plan))


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
    table = pl.scan_csv(units) if units.suffix == ".csv" else pl.scan_parquet(units)
    named = _sums(plan)
    measures = [measure_of(name, plan.metrics[name]) for name in named]
    sums = gather(table.with_columns(pl.lit(_ARM).alias(_ARM)), Layout(arm=_ARM), wanted(measures))
    found = []
    for name, measure in zip(named, measures, strict=True):
        effect = effect_of(sums, measure, _ARM, _ARM)
        left, mean = effect.control.variance, abs(effect.control.mean)
        if not (left > 0 and mean > 0):
            raise LaunchError(
                f"found {name!r} with mean {mean} and variance {left} in {units}, expected both above 0",
                code="launch-019",
                hint="a relative margin needs a mean, and a metric that never varies shows nothing",
            )
        found.append(_planned(plan, name, math.sqrt(left / (1 - effect.explained)) / mean, effect.explained))
    return Known(tuple(found), {name: Traffic(daily_users, growth) for name in plan.surfaces}, _quantiles(plan))


def _sums(plan: Plan) -> list[str]:
    return [name for name, one in plan.must_pass().items() if one.kind != "quantile"]


def _quantiles(plan: Plan) -> tuple[str, ...]:
    return tuple(name for name, one in plan.must_pass().items() if one.kind == "quantile")


def _planned(plan: Plan, name: str, cv: float, r2: float) -> Measured:
    one = plan.metrics[name]
    return Measured(name, one.margin, cv, r2, one.spending, one.looks, one.first_look_day)


def _all_named(file: Path, table: str, expected: list[str], found: Mapping[str, object]) -> None:
    for name in expected:
        if name not in found:
            raise LaunchError(f"{file} has no [{table}.{name}], which the plan names", code="launch-019", hint=_HINT)
