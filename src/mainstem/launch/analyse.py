"""What does a finished experiment show, read once at its end by a plan? Any table of units will do, whoever ran the test.

This is one look with all of alpha. A running launch is read look by look under its spending function, which costs a few
percent more users; reading this again and again while data come in is peeking, and its errors are then not those it states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import cast

import numpy as np
import polars as pl

from mainstem.base.errors import LaunchError
from mainstem.evaluate.intervals import Interval
from mainstem.launch.contrast import ArmMean, Contrast, Direction, contrast
from mainstem.launch.gather import Layout, gather
from mainstem.launch.metrics import Effect, Measure, effect_of, measure_of, slices, wanted
from mainstem.launch.plan_file import Metric, Plan, plan_hash
from mainstem.launch.sample_ratio import SampleRatio, check_sample_ratio
from mainstem.launch.sufficient import Sums
from mainstem.launch.verdict import LaunchVerdict, MetricVerdict, Path, Role, Rule, judge_launch, judge_metric


@dataclass(frozen=True, slots=True)
class Arms:
    """Which column and values of a table are the arms, and what share of units each was promised."""

    column: str
    control: object
    treatment: object
    shares: tuple[float, float] = (0.5, 0.5)


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
        left_out: What is not shown, and why: quantiles, and parts with too few units or nothing that varies.
    """

    plan: str
    sample_ratio: SampleRatio
    readings: dict[str, Reading]
    verdict: LaunchVerdict
    parts: dict[str, dict[str, dict[str, Reading]]]
    left_out: tuple[str, ...]


def analyse(table: object, plan: Plan, arms: Arms, by: Sequence[str] = ()) -> Analysis:
    """What the experiment in a table of units shows, by a plan, at its end.

    Args:
        table: A ``.csv`` or Parquet file, or whatever ``gather`` takes; one row a unit.
        plan: What was promised. Where it was written after the data were seen, the verdict is an illustration.
        arms: Where the arms are.
        by: Columns by whose values effects are shown as well.

    Raises:
        LaunchError: The table lacks an arm (``launch-061``), a column (``launch-060``) or a value (``launch-063``), or what
            the parts raise.
    """
    metrics = {name: one for name, one in plan.metrics.items() if one.kind != "quantile"}
    measures = {name: measure_of(name, one) for name, one in metrics.items()}
    sums = gather(_opened(table), Layout(arms.column, tuple(by)), wanted(measures.values()))
    keys = (_key(sums, arms.control), _key(sums, arms.treatment))
    whole = sums.pooled((arms.column,))
    ratio = check_sample_ratio([whole.group((key,)).count for key in keys], arms.shares)
    readings = {
        name: _reading(plan, metrics[name], effect_of(whole, one, *keys, binary=metrics[name].kind == "binary"))
        for name, one in measures.items()
    }
    told = [one.verdict for one in readings.values() if one.verdict is not None]
    verdict = judge_launch(told, invalid=("the sample ratio",) if ratio.alarm else ())
    parts = {one: _parts(sums, plan, measures, one, keys) for one in by}
    left = [f"{name}: a quantile is read from the rows" for name in plan.metrics if name not in metrics]
    left += [why for _, silent in parts.values() for why in silent]
    shown = {one: found for one, (found, _) in parts.items()}
    return Analysis(plan_hash(plan), ratio, readings, verdict, shown, tuple(left))


def _parts(
    sums: Sums, plan: Plan, measures: Mapping[str, Measure], by: str, keys: tuple[object, object]
) -> tuple[dict[str, dict[str, Reading]], list[str]]:
    """Readings by each value of a dimension, and why there is none where there is none."""
    found: dict[str, dict[str, Reading]] = {}
    silent: list[str] = []
    for value, mine in slices(sums, by).items():
        for name, measure in measures.items():
            try:
                effect = effect_of(mine, measure, *keys)
            except LaunchError as error:
                silent.append(f"{name} at {by} = {value}: {error.message}")
            else:
                found.setdefault(str(value), {})[name] = _reading(plan, plan.metrics[name], effect)
    return found, silent


def _reading(plan: Plan, metric: Metric, effect: Effect) -> Reading:
    standing, verdict = None, None
    if metric.margin:
        new, old = (ArmMean(arm.units, arm.mean, arm.variance) for arm in (effect.treatment, effect.control))
        standing = contrast(new, old, metric.margin, cast(Direction, metric.direction))
        verdict = judge_metric(_rule(plan, metric, effect.name), _one_look(standing))
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


def _one_look(standing: Contrast) -> Path:
    one = (standing.not_worse, standing.not_better, standing.better)
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
