"""The daily verdict of a gate: every metric's path over the looks that were taken, judged with the correlation they really have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import polars as pl

from mainstem.base.errors import LaunchError
from mainstem.launch.creators import sides_of
from mainstem.launch.exposure import MS_PER_DAY, Look
from mainstem.launch.for_whom import slices_of, waits_of
from mainstem.launch.gate import Gate, Hour, Phase
from mainstem.launch.plan_file import Metric
from mainstem.launch.pulls import NOT_YET, Pulls, path_of_pulls, pulls_of
from mainstem.launch.served_log import BEFORE
from mainstem.launch.since_exposure import DAYS, since_exposure
from mainstem.launch.standing import DaySince, SliceStanding, Spent, WaitStanding
from mainstem.launch.verdict import LaunchVerdict, MetricVerdict, Role, Rule, claim_bounds, judge_launch, judge_metric
from mainstem.store.launch_book import DayLook


@dataclass(frozen=True, slots=True)
class MetricDay:
    """What was shown of one metric by its looks, and how near it came to a pause."""

    verdict: MetricVerdict
    pause: Spent


@dataclass(frozen=True, slots=True)
class Day:
    """What the last daily look of a gate says.

    Attributes:
        verdict: Over all metrics that must pass.
        metrics: Those with a margin of which something can be said.
        looks: The days of the looks that decide.
        since: Effects by days since first exposure.
        slices: Effects by part of the units; ``waits`` how long requests took. Both are read, and gate nothing.
    """

    verdict: LaunchVerdict
    metrics: dict[str, MetricDay]
    looks: tuple[int, ...]
    since: tuple[DaySince, ...] = ()
    slices: tuple[SliceStanding, ...] = ()
    waits: tuple[WaitStanding, ...] = ()


@dataclass(slots=True)
class Daily:
    """The daily verdict of one gate; what a look saw is read once and kept as pulls.

    Args:
        gate: Whose.
    """

    gate: Gate
    _pulls: dict[tuple[str, int, int], Pulls | None] = field(default_factory=dict)
    _told: tuple[tuple[int, ...], dict[str, MetricDay]] = ((), {})
    _since: tuple[DaySince, ...] = ()
    _slices: tuple[SliceStanding, ...] = ()
    _waits: tuple[WaitStanding, ...] = ()

    def verdict(self, phase: Phase, looks: Sequence[DayLook], hour: Hour) -> Day | None:
        """What is shown by the looks so far; None before the first legal look of every metric that must pass.

        Raises:
            LaunchError: The log holds what no metric can be read from, such as a missing covariate.
        """
        plan = self.gate.plan
        first = max(one.first_look_day for one in plan.must_pass().values())
        if not looks or looks[-1].number < first:
            return None
        key = (phase.start_ms, *(one.number for one in looks))
        if self._told[0] != key:
            found = {name: self._metric(name, one, phase, looks) for name, one in plan.metrics.items() if one.margin}
            self._told = (key, {name: one for name, one in found.items() if one is not None})
            self._since = tuple(self._by_day(phase, looks[-1]))
            self._slices, self._waits = self._beside(phase, looks[-1])
        metrics = self._told[1]
        unread = [name for name in plan.must_pass() if name not in metrics]
        told = [one.verdict for one in metrics.values()]
        told += [
            MetricVerdict(name, cast(Role, plan.metrics[name].role), None, None, None, None, np.zeros(0))
            for name in unread
        ]
        verdict = judge_launch(told, invalid=hour.invalid, rolled_back=hour.harmed)
        return Day(verdict, metrics, tuple(one.number for one in looks), self._since, self._slices, self._waits)

    def _metric(self, name: str, metric: Metric, phase: Phase, looks: Sequence[DayLook]) -> MetricDay | None:
        """One metric over its legal looks; None while nothing can be said of it."""
        legal = [one for one in looks if metric.first_look_day <= one.number]
        found = [(one.number, pulls) for one in legal if (pulls := self._at(name, metric, phase, one)) is not None]
        if not found:
            return None
        path = path_of_pulls(
            [pulls for _, pulls in found],
            metric,
            [day for day, _ in found],
            max(self.gate.audience / 2, 1),
            metric.looks,
        )
        rule = self._rule(name, metric)
        pause = claim_bounds(rule, path, rule.pause_alpha, 0.0)
        return MetricDay(judge_metric(rule, path), Spent(float(-path.better[-1]), float(pause[-1])))

    def _at(self, name: str, metric: Metric, phase: Phase, look: DayLook) -> Pulls | None:
        """Each unit's part in a metric at a look; None where nothing could be said of it then."""
        key = (name, phase.start_ms, look.number)
        if key not in self._pulls:
            try:
                table = self.gate.table(phase, look.at_ms, look.seen, metric)
                self._pulls[key] = pulls_of(table, metric, name=name).grouped()
            except LaunchError as error:
                if error.code not in NOT_YET:
                    raise
                self._pulls[key] = None
        return self._pulls[key]

    def _by_day(self, phase: Phase, look: DayLook) -> Iterator[DaySince]:
        """The effect by days since first exposure, over as many days as the launch has seen whole."""
        days = min(int((look.at_ms - phase.start_ms) // MS_PER_DAY) - 1, DAYS)
        units, _ = self.gate.units(phase, look.at_ms, look.seen)
        events = self.gate.events(look.at_ms, look.seen)
        for name, metric in self.gate.plan.must_pass().items():
            if days < 2 or metric.kind == "quantile":
                continue
            try:
                found = since_exposure(units, events, metric, look.at_ms, days=days)
            except LaunchError as error:
                if error.code not in NOT_YET and error.code != "launch-112":
                    raise
                continue
            yield from (DaySince(name, day, change) for day, change in enumerate(found.days))

    def _beside(self, phase: Phase, look: DayLook) -> tuple[tuple[SliceStanding, ...], tuple[WaitStanding, ...]]:
        """Who it was better or worse for, and how long they waited; once a look."""
        units, _ = self.gate.units(phase, look.at_ms, look.seen)
        requests = Metric(role="diagnostic", kind="quantile", column="latency_ms", quantile=0.5)
        waits = waits_of(self.gate.table(phase, look.at_ms, look.seen, requests).filter(pl.col("latency_ms") > 0))
        before = next((one for one in units.columns if one.startswith(BEFORE)), "")
        # Units are added up over all their time here, which a metric with a window is not.
        metrics = {name: one for name, one in self.gate.plan.must_pass().items() if not one.window_days}
        large = self.gate.large
        sides = {} if large is None else sides_of(units, self.gate.events(look.at_ms, look.seen), metrics, large)
        return slices_of(units, metrics, Look(phase.start_ms, look.at_ms), before, sides), waits

    def _rule(self, name: str, metric: Metric) -> Rule:
        plan = self.gate.plan
        primaries = sum(one.role == "primary" for one in plan.metrics.values())
        return Rule(
            name,
            cast(Role, metric.role),
            alpha=plan.alpha,
            spending=metric.spending,
            first_look_day=metric.first_look_day,
            win_alpha=plan.alpha / primaries,
            pause_alpha=plan.rollback.pause_rate / self.gate.tests,
        )
