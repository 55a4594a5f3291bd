"""What does a finished experiment show, read once at its end by a plan? Any table of units will do, whoever ran the test.

This is one look with all of alpha. A running launch is read look by look under its spending function, which costs a few
percent more users; reading this again and again while data come in is peeking, and its errors are then not those it states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any, cast

import narwhals as nw
import numpy as np
import polars as pl

from mainstem.base.errors import LaunchError, did_you_mean
from mainstem.evaluate.intervals import Interval
from mainstem.launch.contrast import ArmMean, Contrast, Direction, contrast
from mainstem.launch.estimand import USER, independent, measure_for, unit_column
from mainstem.launch.gather import Layout, gather
from mainstem.launch.metrics import Effect, effect_of, slices, wanted
from mainstem.launch.plan_file import Metric, Plan, plan_hash
from mainstem.launch.pulls import as_normal, quantile_arm
from mainstem.launch.quantiles import Measurements, quantile_effects
from mainstem.launch.sample_ratio import SampleRatio, check_sample_ratio
from mainstem.launch.sufficient import Sums
from mainstem.launch.verdict import LaunchVerdict, MetricVerdict, Path, Role, Rule, judge_launch, judge_metric


@dataclass(frozen=True, slots=True)
class Arms:
    """Which column and values of a table are the arms, and what share of units each was promised.

    Attributes:
        unit: The column that says whose a measurement is; only read for quantiles.
    """

    column: str
    control: object
    treatment: object
    shares: tuple[float, float] = (0.5, 0.5)
    unit: str = "unit"


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric of the experiment.

    Attributes:
        change, relative: New minus old, and as a share of old, each with its interval at 95 %.
        standing: How it stands to its margin; None for a diagnostic without one.
        verdict: What was shown of it; None likewise.
    """

    metric: Metric
    effect: Effect
    change: Interval
    relative: Interval
    standing: Contrast | None
    verdict: MetricVerdict | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an experiment showed.

    Attributes:
        plan: The hash of the plan it was read by.
        sample_ratio: Whether units were split as promised.
        readings: By metric.
        verdict: Of all that must pass, together.
        parts: The same by each value of each dimension, for reading: no part was promised a verdict of its own.
        left_out: What is not shown, and why: quantiles without measurements, and parts with too few units or nothing that
            varies. A metric that must pass and was not read has not passed.
    """

    plan: str
    sample_ratio: SampleRatio
    readings: dict[str, Reading]
    verdict: LaunchVerdict
    parts: dict[str, dict[str, dict[str, Reading]]]
    left_out: tuple[str, ...]


def analyse(
    table: object, plan: Plan, arms: Arms, by: Sequence[str] = (), *, measurements: object | None = None
) -> Analysis:
    """What the experiment in a table of units shows, by a plan, at its end.

    Args:
        table: A ``.csv`` or Parquet file, or whatever ``gather`` takes; one row a user. Metrics by cluster or block find their
            unit in the column of that name.
        plan: What was promised. Where it was written after the data were seen, the verdict is an illustration.
        arms: Where the arms are.
        by: Columns by whose values effects are shown as well.
        measurements: Of quantiles: another table with one row a measurement, the arm, and whose it is.

    Raises:
        LaunchError: The table lacks an arm (``launch-061``), a column (``launch-060``) or a value (``launch-063``), or what
            the parts raise.
    """
    readings: dict[str, Reading] = {}
    left: list[str] = []
    shown: dict[str, dict[str, dict[str, Reading]]] = {one: {} for one in by}
    counts: tuple[int, int] | None = None
    for metrics in _passes(plan):
        users = next(iter(metrics.values())).unit == USER
        sums = _sums(table, metrics, arms, by if users else ())
        keys = (_key(sums, arms.control), _key(sums, arms.treatment))
        whole = sums.pooled((arms.column,))
        found = (whole.group((keys[0],)).count, whole.group((keys[1],)).count)
        counts = counts or found
        for name, one in metrics.items():
            readings[name] = _reading(plan, one, _effect(whole, name, one, keys))
        for one in by:
            # A household may be in several parts, and is one unit in each and in all.
            apart = sums if users else _sums(table, metrics, arms, (one,))
            left += _parts(apart, plan, metrics, one, keys, shown[one])
    for name, one in plan.metrics.items():
        if one.kind == "quantile" and measurements is not None:
            readings[name] = _quantile_reading(plan, name, one, _frame(_opened(measurements)), arms)
        elif one.kind == "quantile":
            left.append(f"{name}: a quantile is read from measurements, which were not given")
    readings = {name: readings[name] for name in plan.metrics if name in readings}
    if counts is None:
        counts = next(((one.effect.control.units, one.effect.treatment.units) for one in readings.values()), (0, 0))
    ratio = check_sample_ratio(counts, arms.shares)
    told = [one.verdict for one in readings.values() if one.verdict is not None]
    told += [_unread(name, plan.metrics[name]) for name in plan.must_pass() if name not in readings]
    verdict = judge_launch(told, invalid=("the sample ratio",) if ratio.alarm else ())
    return Analysis(plan_hash(plan), ratio, readings, verdict, shown, tuple(left))


def _passes(plan: Plan) -> list[dict[str, Metric]]:
    """Which metrics are read in one pass over the table: those of users together and first, any other alone."""
    sums = {name: one for name, one in plan.metrics.items() if one.kind != "quantile"}
    users = {name: one for name, one in sums.items() if one.unit == USER}
    alone = [{name: one} for name, one in sums.items() if one.unit != USER]
    return [users, *alone] if users else alone


def _sums(table: object, metrics: Mapping[str, Metric], arms: Arms, by: Sequence[str]) -> Sums:
    """The sums of metrics that are read in one pass."""
    needed = wanted(measure_for(name, one) for name, one in metrics.items())
    rows = _opened(table)
    for metric in metrics.values():
        if metric.unit != USER:
            rows = independent(_frame(rows), metric, arms.column, by)
    return gather(rows, Layout(arms.column, tuple(by)), needed)


def _effect(sums: Sums, name: str, metric: Metric, keys: tuple[object, object]) -> Effect:
    binary = metric.kind == "binary" and metric.unit == USER
    return effect_of(sums, measure_for(name, metric), *keys, binary=binary)


def _parts(
    sums: Sums,
    plan: Plan,
    metrics: Mapping[str, Metric],
    by: str,
    keys: tuple[object, object],
    found: dict[str, dict[str, Reading]],
) -> list[str]:
    """Adds readings by each value of a dimension; answers why there is none where there is none."""
    silent: list[str] = []
    for value, mine in slices(sums, by).items():
        for name, metric in metrics.items():
            try:
                effect = _effect(mine, name, metric, keys)
            except LaunchError as error:
                silent.append(f"{name} at {by} = {value}: {error.message}")
            else:
                found.setdefault(str(value), {})[name] = _reading(plan, metric, effect)
    return silent


def _quantile_reading(plan: Plan, name: str, metric: Metric, rows: pl.DataFrame, arms: Arms) -> Reading:
    """A quantile with its error over units; the difference's interval joins both arms' own, longer side and all."""
    sides: list[Measurements] = []
    for arm in (arms.control, arms.treatment):
        for column in (metric.column, unit_column(metric, arms.unit), arms.column):
            if column not in rows.columns:
                raise LaunchError(
                    f"found no column {column!r} in the measurements",
                    code="launch-060",
                    hint=did_you_mean(column, rows.columns),
                )
        mine = rows.filter(pl.col(arms.column).cast(pl.String) == str(arm))
        values = mine[metric.column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        sides.append(Measurements(values, mine[unit_column(metric, arms.unit)].to_numpy()))
    old, new = (quantile_arm(one.figure(metric.quantile)) for one in sides)
    effect = Effect(name, old, new)
    (found,) = quantile_effects(*sides, quantiles=(metric.quantile,))
    return replace(_reading(plan, metric, effect), change=found.difference)


def _unread(name: str, metric: Metric) -> MetricVerdict:
    """A metric that must pass and of which nothing is known."""
    return MetricVerdict(name, cast(Role, metric.role), None, None, None, None, np.zeros(0))


def _reading(plan: Plan, metric: Metric, effect: Effect) -> Reading:
    standing, verdict = None, None
    if metric.margin:
        new, old = (ArmMean(arm.units, arm.mean, arm.variance) for arm in (effect.treatment, effect.control))
        standing = contrast(new, old, metric.margin, cast(Direction, metric.direction))
        verdict = judge_metric(_rule(plan, metric, effect.name), _one_look(standing, effect.freedom))
    return Reading(metric, effect, effect.interval(), effect.relative_interval(), standing, verdict)


def _rule(plan: Plan, metric: Metric, name: str) -> Rule:
    """All of alpha at one look: there is no look after it to keep any for."""
    primaries = sum(one.role == "primary" for one in plan.metrics.values())
    return Rule(
        name,
        cast(Role, metric.role),
        alpha=plan.alpha,
        spending=metric.spending,
        reserve=0.0,
        first_look_day=0.0,
        win_alpha=plan.alpha / primaries,
        pause_alpha=plan.rollback.pause_rate / max(len(plan.must_pass()), 1),
    )


def _one_look(standing: Contrast, freedom: float) -> Path:
    one = (as_normal(value, freedom) for value in (standing.not_worse, standing.not_better, standing.better))
    return Path(np.ones(1), np.ones(1), *(np.array([value]) for value in one))


def _key(sums: Sums, arm: object) -> object:
    """The arm as the table has it: a command line only knows text."""
    found = list(dict.fromkeys(key[0] for key in sums.keys))
    for one in found:
        if one == arm or str(one) == str(arm):
            return one
    raise LaunchError(
        f"found the arms {', '.join(map(str, found))} in {sums.by[0]!r}, expected {arm!r} among them",
        code="launch-061",
        hint="name both arms as the table does",
    )


def _opened(table: object) -> object:
    if isinstance(table, str | FilePath):
        file = FilePath(table)
        if not file.is_file():
            raise LaunchError(
                f"found no file {file}, expected a table of units", code="launch-060", hint="a .csv or .parquet file"
            )
        return pl.scan_csv(file) if file.suffix == ".csv" else file
    return table


def _frame(table: object) -> pl.DataFrame:
    """The table as a Polars frame, for what no sum can answer."""
    match table:
        case FilePath():
            return pl.read_parquet(table)
        case pl.LazyFrame():
            return table.collect(engine="streaming")
        case Mapping():
            return pl.DataFrame(dict(table))
    if isinstance(table, pl.DataFrame):
        return table
    try:
        frame = nw.from_native(cast(Any, table))
    except TypeError as error:
        raise LaunchError(
            f"found a table of type {type(table).__name__}: {error}",
            code="launch-060",
            hint="give a Parquet file, a Polars, pandas or PyArrow table, a DuckDB relation, or arrays by name",
        ) from None
    return (frame.collect() if isinstance(frame, nw.LazyFrame) else frame).to_polars()
