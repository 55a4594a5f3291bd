"""What does the log say of one surface against one legacy stack? Units, hourly harm, daily verdict: one gate of a launch.

Every figure is a function of the plan, the log up to an offset and the looks that were taken; nothing else is kept, so a pilot
that starts again sees what the one before it saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import LaunchError
from mainstem.launch.assignment import CONTROL, TREATMENT, positions, unit_keys
from mainstem.launch.contrast import ArmMean, Contrast, contrast
from mainstem.launch.decide import HALF
from mainstem.launch.exposure import MS_PER_DAY, Health, Look, triggered, with_covariates
from mainstem.launch.metrics import Effect
from mainstem.launch.plan_file import Metric, Plan
from mainstem.launch.pulls import pulls_of
from mainstem.launch.rollback import Budgets
from mainstem.launch.sample_ratio import ALARM_AT, SampleRatio, check_sample_ratio, check_segments
from mainstem.launch.served_log import COUNTED, OFFSET, ServedLog, covariate_columns
from mainstem.launch.standing import Spent
from mainstem.store.launch_book import Entry

FEWEST: Final = 100
"""Units an arm must have before a statistic is taken as normal."""


SETTLES_MS: Final = 300_000
"""After a step what was already on its way is still served by the step before: that unit's missing exposure is nobody's fault."""
FLAG_SETTLES_MS: Final = 3_600_000
"""The same past one half where an outside flag splits the units: its service follows the book's step a while later."""
_KEPT: Final = 8
"""Tables of units that are kept for the metrics of one look."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a launch in which no unit changes its arm: up to one half, and each step past it by itself.

    Attributes:
        start_ms: Exposures before it are of another phase.
        steps: Since when which share of units was on the new stack, in order.
    """

    start_ms: int
    steps: tuple[tuple[int, float], ...]

    @property
    def share(self) -> float:
        """Share of units on the new stack now."""
        return self.steps[-1][1]

    @property
    def promised(self) -> tuple[float, float]:
        """Shares of control and treatment among the units of both."""
        control = min(self.share, 1 - self.share)
        return control / (control + self.share), self.share / (control + self.share)


def phases_of(acts: Sequence[Entry], surface: str) -> list[Phase]:
    """The phases a surface went through by its acts, in order; the last is the one it is in, or the one it ended in."""
    found: list[Phase] = []
    served = 0.0
    for one in acts:
        if one.surface != surface or one.after == served:
            continue
        begins = served == 0 or one.after > HALF
        served = one.after
        if 0 < served < 1:
            found = [*found, Phase(one.at_ms, ())] if begins else found
            found[-1] = Phase(found[-1].start_ms, (*found[-1].steps, (one.at_ms, served)))
    return found


@dataclass(frozen=True, slots=True)
class Hour:
    """What an hourly look saw.

    Attributes:
        invalid: What is broken, in words.
        harmed: Metrics whose harm is past its bound.
        spent: How near each metric came to it.
        effects: By metric.
        ratios: The sample ratio, in all and by the day on which units came.
        left_out: What was not counted, and metrics that cannot be read yet.
    """

    health: Health | None
    invalid: tuple[str, ...]
    harmed: tuple[str, ...]
    spent: dict[str, Spent]
    effects: dict[str, Effect]
    information: float
    ratios: tuple[tuple[SampleRatio, tuple[int, ...]], ...]
    left_out: tuple[str, ...]
    promised: tuple[float, float] = (0.5, 0.5)


class Gate:
    """One surface against one legacy stack.

    Args:
        plan: What was promised.
        surface: Which surface.
        legacy: Which legacy stack.
        log: What was served and answered.
        before: Covariates: ``unit``, ``measured_ms`` and ``before_…`` columns; None where the plan names none.
        audience: Units that this stack carries here, as it was known at the start: information is counted against it.
        large: Items of large creators, ascending; None where nobody knows.
    """

    def __init__(
        self,
        plan: Plan,
        surface: str,
        legacy: str,
        log: ServedLog,
        before: pl.DataFrame | None,
        audience: int,
        large: NDArray[np.int64] | None = None,
    ) -> None:
        self.plan, self.surface, self.legacy, self.audience = plan, surface, legacy, max(audience, 1)
        self.large = large
        self._log, self._before = log, before
        self._known: dict[tuple[int, int, int, float], tuple[pl.DataFrame, Health]] = {}
        gates = sum(len(plan.carried(one)) for one in plan.surfaces)
        self.tests = len(plan.must_pass()) * gates
        """Over how many tests the budgets of false alarms are shared."""

    def units(self, phase: Phase, at_ms: int, seen: int, window_days: float = 0.0) -> tuple[pl.DataFrame, Health]:
        """One row for each unit exposed by then, with its arm, its sums and its covariates.

        Raises:
            LaunchError: Nobody was exposed (``launch-051``), or a covariate is no number (``launch-053``).
        """
        key = (phase.start_ms, at_ms, seen, window_days)
        if key not in self._known:
            while len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = self._read(phase, at_ms, seen, window_days)
        return self._known[key]

    def table(self, phase: Phase, at_ms: int, seen: int, metric: Metric) -> pl.DataFrame:
        """What a metric is read from at a look: one row a unit; of a quantile, one row a measurement."""
        units, _ = self.units(phase, at_ms, seen, metric.window_days)
        if metric.kind != "quantile":
            return units
        events = self._log.events(self.surface, self.legacy).filter(
            (pl.col(OFFSET) <= seen) & (pl.col("time_ms") <= at_ms)
        )
        rows = events.filter(pl.col("requests") > 0) if metric.column in COUNTED else events
        mine = rows.join(units.select("unit", "arm", "since_ms"), on="unit")
        until = pl.col("since_ms") + int(metric.window_days * MS_PER_DAY) if metric.window_days else pl.lit(at_ms + 1)
        return mine.filter((pl.col("time_ms") >= pl.col("since_ms")) & (pl.col("time_ms") < until))

    def events(self, at_ms: int, seen: int) -> pl.DataFrame:
        """What this gate's units saw and did until a look."""
        events = self._log.events(self.surface, self.legacy)
        return events.filter((pl.col(OFFSET) <= seen) & (pl.col("time_ms") <= at_ms))

    def _read(self, phase: Phase, at_ms: int, seen: int, window_days: float) -> tuple[pl.DataFrame, Health]:
        exposures = self._log.exposures(self.surface, self.legacy)
        events = self._log.events(self.surface, self.legacy)
        arms = pl.col("arm").is_in([CONTROL, TREATMENT])
        # Past one half control units become the new arm's; one that was on its way just then is in no two arms for it.
        settles_ms = FLAG_SETTLES_MS if self.plan.flag_of(self.surface) else SETTLES_MS
        begin_ms = phase.start_ms + (settles_ms if phase.share > HALF else 0)
        exposures = exposures.filter((pl.col(OFFSET) <= seen) & (pl.col("time_ms") >= begin_ms) & arms)
        events = events.filter((pl.col(OFFSET) <= seen) & (pl.col("time_ms") >= begin_ms))
        events = events.filter(
            self._assigned(phase, events) | pl.col("unit").is_in(exposures["unit"].unique().implode())
        )
        look = Look(begin_ms, max(at_ms, begin_ms), int(window_days * MS_PER_DAY))
        units, health = triggered(exposures, events, self._columns, look)
        covariates = self._covariates
        if covariates and self._before is not None:
            units = with_covariates(units, self._before, covariates, look, missing=0.0)
        return units, health

    def _assigned(self, phase: Phase, events: pl.DataFrame) -> pl.Series:
        """Whether each event's unit was in an arm when it happened: others are nobody's fault when they have no exposure.

        Where an outside flag splits the units, only the units that were exposed are known.
        """
        if self.plan.flag_of(self.surface):
            return pl.repeat(False, events.height, dtype=pl.Boolean, eager=True)
        salt = f"mainstem/{self.plan.layer}/{self.plan.name}"
        at = positions(salt, unit_keys(events["unit"].to_numpy().astype(np.int64)))
        since = np.array([ms for ms, _ in phase.steps])
        step = np.searchsorted(since + SETTLES_MS, events["time_ms"].to_numpy(), side="right")
        share = np.array([0.0, *(one for _, one in phase.steps)])[step]
        return pl.Series((share > 0) & ((at < share) | (at >= np.maximum(1 - share, share))))

    @property
    def _columns(self) -> list[str]:
        found = (column for one in self.plan.metrics.values() for column in (one.column, one.per) if column)
        return list(dict.fromkeys(found))

    @property
    def _covariates(self) -> list[str]:
        return list(
            dict.fromkeys(name for one in self.plan.metrics.values() for name in covariate_columns(one.covariates))
        )

    def hour(self, phase: Phase, at_ms: int, seen: int | None = None) -> Hour:
        """What is seen at a moment: is anything broken, is anything harmed?

        Args:
            phase: Which stretch.
            at_ms: The moment.
            seen: The log's offset up to which it is read; None is all that was followed.
        """
        seen = self._log.offset if seen is None else seen
        try:
            units, health = self.units(phase, at_ms, seen)
        except LaunchError as error:
            if error.code != "launch-051":
                raise
            return Hour(None, (), (), {}, {}, 0.0, (), ("nobody was exposed yet",))
        ratios = self._ratios(phase, units)
        invalid = (*health.broken, *(_ratio_told(one) for one, _ in ratios if one.alarm))
        spent: dict[str, Spent] = {}
        left: list[str] = list(_left_out(health))
        effects: dict[str, Effect] = {}
        information = units.height / self.audience
        counts = dict(units["arm"].value_counts().iter_rows())
        if min(counts.get(CONTROL, 0), counts.get(TREATMENT, 0)) < FEWEST:
            return Hour(
                health, invalid, (), {}, {}, information, ratios, (*left, f"fewer than {FEWEST} units in an arm")
            )
        budgets = Budgets(self.tests, self.plan.rollback.false_rate, self.plan.rollback.pause_rate)
        for name, metric in self.plan.metrics.items():
            try:
                table = self.table(phase, at_ms, seen, metric)
                effects[name] = pulls_of(table, metric, name=name).effect
            except LaunchError as error:
                left.append(f"{name}: {error.message}")
                continue
            if metric.role != "diagnostic" and metric.kind != "quantile":
                bound = float(budgets.rollback_bound([information])[0])
                spent[name] = Spent(-standing_of(effects[name], metric).better, bound)
        harmed = tuple(name for name, one in spent.items() if one.statistic >= one.bound)
        return Hour(health, invalid, harmed, spent, effects, information, ratios, tuple(left), phase.promised)

    def _ratios(self, phase: Phase, units: pl.DataFrame) -> tuple[tuple[SampleRatio, tuple[int, ...]], ...]:
        """The sample ratio in all, and by the day on which units came."""
        day = ((pl.col("since_ms") - phase.start_ms) // MS_PER_DAY + 1).alias("_day")
        table = units.select("arm", day).group_by("_day", "arm").len()
        by_day = {
            f"day {number}": (_count(mine, CONTROL), _count(mine, TREATMENT))
            for (number,), mine in sorted(table.partition_by("_day", as_dict=True).items())
        }
        whole = tuple(int(one) for one in np.sum(list(by_day.values()), axis=0))
        # Two alarms are watched, in all and by day: each gets half the chance.
        found = [(check_sample_ratio(whole, phase.promised, alarm_at=2 * ALARM_AT), whole)]
        parts = check_segments(by_day, phase.promised, alarm_at=2 * ALARM_AT)
        return (*found, *zip(parts, by_day.values(), strict=True))


def standing_of(effect: Effect, metric: Metric) -> Contrast:
    """How an effect stands to its margin."""
    new, old = (ArmMean(arm.units, arm.mean, arm.variance) for arm in (effect.treatment, effect.control))
    return contrast(new, old, metric.margin, cast(Literal["up", "down"], metric.direction))


def _count(table: pl.DataFrame, arm: str) -> int:
    return int(table.filter(pl.col("arm") == arm)["len"].sum())


def _ratio_told(one: SampleRatio) -> str:
    where = "the sample ratio" if one.segment == "all" else f"the sample ratio of {one.segment}"
    return f"{where} ({' to '.join(f'{share:.2%}' for share in one.observed)})"


def _left_out(health: Health) -> tuple[str, ...]:
    told = {
        "units in two arms": health.crossed,
        "exposures without unit, arm or time": health.unreadable,
        "events of units that were never exposed": health.unexposed,
        "events from the future": health.skewed,
        "events that came in late": health.late,
    }
    return tuple(f"{number} {what}" for what, number in told.items() if number)
