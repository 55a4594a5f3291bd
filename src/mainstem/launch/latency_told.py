"""What did waiting do, and what did ranking, on one surface? Read from the arms that a plan slows down, while they are there."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from mainstem.base.errors import LaunchError
from mainstem.evaluate.intervals import Interval
from mainstem.launch.assignment import CONTROL, TREATMENT
from mainstem.launch.contrast import ArmMean
from mainstem.launch.decide import HALF
from mainstem.launch.exposure import MS_PER_DAY, Look, triggered
from mainstem.launch.gate import FEWEST, Phase
from mainstem.launch.gather import Layout, gather
from mainstem.launch.latency_split import DelayArm, price_delay, split_latency
from mainstem.launch.metrics import Measure, effect_of, measure_of, wanted
from mainstem.launch.plan_file import Plan
from mainstem.launch.served_log import COLUMNS, ServedLog
from mainstem.launch.slowed import DOSE, MATCHED
from mainstem.launch.standing import LatencyPart


def latency_parts(plan: Plan, surface: str, log: ServedLog, phase: Phase, at_ms: int) -> tuple[LatencyPart, ...]:
    """The split of each metric's change into waiting and ranking; empty where nobody is slowed, or too few were so far.

    Legacy stacks are pooled: this is for reading, and gates nothing. Only what happened while units were slowed counts.
    """
    until_ms = _slowed_until(plan, phase, at_ms)
    units = None if until_ms is None else _units(plan, surface, log, phase, until_ms)
    if units is None:
        return ()
    found = []
    for name, metric in plan.metrics.items():
        if metric.kind == "quantile" or metric.column == "latency_ms":
            continue
        try:
            found.append(_part(name, Measure(name, measure_of(name, metric).part), units))
        except LaunchError:  # a metric that does not vary yet has no split yet
            continue
    return tuple(found)


def _slowed_until(plan: Plan, phase: Phase, at_ms: int) -> int | None:
    """Until when units were slowed: the plan's days, or the step that needed their place; None where nobody was."""
    if plan.latency.share <= 0 or phase.steps[0][1] + plan.latency.share > HALF:
        return None
    needed = [since for since, share in phase.steps if share + plan.latency.share > HALF]
    return min(at_ms, phase.start_ms + int(plan.latency.days * MS_PER_DAY), *needed[:1])


def _units(plan: Plan, surface: str, log: ServedLog, phase: Phase, until_ms: int) -> pl.DataFrame | None:
    """One row for each unit of the four arms; None while an arm is too small."""
    carried = plan.carried(surface)
    exposures = pl.concat([log.exposures(surface, one) for one in carried]).filter(
        pl.col("time_ms").is_between(phase.start_ms, until_ms, closed="left")
    )
    events = pl.concat([log.events(surface, one) for one in carried]).filter(
        pl.col("unit").is_in(exposures["unit"].unique().implode()) & (pl.col("time_ms") < until_ms)
    )
    try:
        units, _ = triggered(exposures, events, COLUMNS, Look(phase.start_ms, until_ms))
    except LaunchError as error:
        if error.code == "launch-051":
            return None
        raise
    counts = dict(units["arm"].value_counts().iter_rows())
    return units if min(counts.get(arm, 0) for arm in (CONTROL, MATCHED, TREATMENT)) >= FEWEST else None


def _part(name: str, measure: Measure, units: pl.DataFrame) -> LatencyPart:
    arms = _arms(measure, units)
    found = split_latency(arms[CONTROL], arms[MATCHED], arms[TREATMENT])
    if not found.relative:
        raise LaunchError(f"found {name!r} at 0 in the old arm", code="launch-064")
    price, misfit = _price(arms, _waited_ms(units))
    total, latency, ranking = found.relative
    return LatencyPart(name, total, latency, ranking, price, misfit)


def _arms(measure: Measure, units: pl.DataFrame) -> dict[str, ArmMean]:
    """Each arm's figure, without covariates: what is split must be one figure an arm."""
    sums = gather(units, Layout("arm"), wanted([measure]))
    found: dict[str, ArmMean] = {}
    for arm in units["arm"].unique().sort().to_list():
        if arm != CONTROL:
            effect = effect_of(sums, measure, CONTROL, arm)
            for key, one in ((CONTROL, effect.control), (arm, effect.treatment)):
                found[key] = ArmMean(one.units, one.mean, one.variance)
    return found


def _waited_ms(units: pl.DataFrame) -> dict[str, float]:
    """How long a request took in each arm, the wait included."""
    sums = units.group_by("arm").agg(pl.col("latency_ms").sum() / pl.col("requests").sum())
    return dict(sums.iter_rows())


def _price(arms: Mapping[str, ArmMean], waited_ms: Mapping[str, float]) -> tuple[Interval | None, float | None]:
    """What 100 ms cost as a share of the old figure, and whether the arms lie on a line; nothing without a dose arm."""
    if DOSE not in arms:
        return None, None
    old = arms[CONTROL].mean
    line = [DelayArm(waited_ms[arm] - waited_ms[CONTROL], arms[arm]) for arm in (CONTROL, MATCHED, DOSE)]
    found = price_delay(line)
    low, mid, high = sorted(one / old for one in (found.per_100_ms.low, found.per_100_ms.mid, found.per_100_ms.high))
    told = found.per_100_ms
    return Interval(low, mid, high, told.level, told.n, told.source), found.misfit_p
