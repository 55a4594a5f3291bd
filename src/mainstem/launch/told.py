"""What the pilot saw, as the records that pages and reports show (``standing``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Final, cast

from mainstem.evaluate.intervals import Interval
from mainstem.launch.daily import Day
from mainstem.launch.decide import Seen
from mainstem.launch.exposure import MS_PER_DAY
from mainstem.launch.gate import Hour
from mainstem.launch.metrics import Effect
from mainstem.launch.plan_file import Metric, Plan
from mainstem.launch.sample_ratio import ALARM_AT, SampleRatio
from mainstem.launch.standing import (
    LatencyPart,
    LayerPart,
    MetricStanding,
    OriginStanding,
    RatioStanding,
    Standing,
    State,
    SurfaceStanding,
)
from mainstem.launch.verdict import GRAVEST_FIRST, SHIPS, Verdict
from mainstem.store.launch_book import Entry, Placement, Started

NORMAL: Final = NormalDist()
GROWTH: Final = 0.6
"""Distinct users grow with the days to this power where nothing else was measured."""


@dataclass(frozen=True, slots=True)
class SurfaceSeen:
    """What one pass saw of a surface: what the rule was told, each gate's hour and day, and why it is where it is."""

    seen: Seen
    gates: Mapping[str, tuple[Hour, Day | None]] = field(default_factory=dict)
    reason: str = ""
    latency: tuple[LatencyPart, ...] = ()
    layers: tuple[LayerPart, ...] = ()


def standing_of_launch(
    started: Started,
    plan: Plan,
    places: Sequence[Placement],
    seen: Mapping[str, SurfaceSeen],
    acts: Sequence[Entry],
    now_ms: int,
    pilot: str,
    made: bool,
) -> Standing:
    """Where the launch stands."""
    surfaces = tuple(
        _surface(plan, place, seen.get(place.surface, SurfaceSeen(Seen())), acts, now_ms)
        for place in sorted(places, key=lambda one: plan.surfaces.index(one.surface))
    )
    words = [_word(one) for one in surfaces]
    verdict = min(words, key=GRAVEST_FIRST.index)
    told = ", ".join(f"{one.surface} {one.state} at {one.share:.0%}" for one in surfaces)
    return Standing(
        plan.name, started.plan_hash, made, started.started_ms, now_ms, pilot, str(verdict), told, surfaces,
        tuple(acts),
    )  # fmt: skip


def _word(surface: SurfaceStanding) -> Verdict:
    """The gravest verdict of a surface's gates; what a surface was rolled back for stays its verdict."""
    if surface.state == "rolled back":
        return Verdict.HARM
    if surface.state == "landed":
        return Verdict.NON_INFERIOR
    if surface.state == "paused":
        return Verdict.PAUSE
    words = [Verdict(one.verdict) for one in surface.origins]
    return min(words, key=GRAVEST_FIRST.index) if words else Verdict.INCONCLUSIVE


def _surface(plan: Plan, place: Placement, seen: SurfaceSeen, acts: Sequence[Entry], now_ms: int) -> SurfaceStanding:
    shadow = seen.seen.shadow
    begun = next((one.at_ms for one in acts if one.surface == place.surface and one.after > 0), now_ms)
    days = max((now_ms - begun) / MS_PER_DAY, 1e-9)
    return SurfaceStanding(
        place.surface,
        cast(State, place.state),
        place.step,
        len(plan.steps),
        place.share,
        place.since_ms,
        seen.reason or place.reason,
        tuple(_origin(plan, legacy, hour, day, days) for legacy, (hour, day) in seen.gates.items()),
        (shadow.requests, shadow.failed, shadow.overlap) if shadow else None,
        seen.latency,
        seen.layers,
    )


def _origin(plan: Plan, legacy: str, hour: Hour, day: Day | None, days: float) -> OriginStanding:
    verdict, reasons = _verdict(hour, day)
    metrics = tuple(
        _metric(plan, name, metric, hour.effects[name], hour, day, days)
        for name, metric in plan.metrics.items()
        if name in hour.effects and hour.effects[name].control.mean
    )
    return OriginStanding(
        legacy,
        str(verdict),
        reasons,
        len(day.looks) if day else 0,
        min(one.looks for one in plan.must_pass().values()),
        metrics,
        tuple(_ratio(plan, one, counts, hour) for one, counts in hour.ratios),
        () if day is None else day.since,
        hour.left_out,
        () if day is None else day.slices,
        () if day is None else day.waits,
    )


def _verdict(hour: Hour, day: Day | None) -> tuple[Verdict, tuple[str, ...]]:
    if hour.invalid:
        return Verdict.INVALID, hour.invalid
    if hour.harmed:
        return Verdict.HARM, tuple(f"{one} is past the hourly bound of harm" for one in hour.harmed)
    if day is None:
        return Verdict.INCONCLUSIVE, ("before the first legal look",)
    return day.verdict.verdict, day.verdict.reasons


def _metric(
    plan: Plan, name: str, metric: Metric, effect: Effect, hour: Hour, day: Day | None, days: float
) -> MetricStanding:
    told = day.metrics.get(name) if day else None
    bound = float(told.verdict.bound[-1]) if told else math.inf
    level = 2 * NORMAL.cdf(min(bound if math.isfinite(bound) else _always(plan, hour), 8.0)) - 1
    found = _relative(effect, level)
    claims = () if told is None else (
        ("not worse", told.verdict.passed), ("not better", told.verdict.equal),
        ("better", told.verdict.won), ("worse", told.verdict.harmed),
    )  # fmt: skip
    return MetricStanding(
        name,
        metric.role,
        metric.direction,
        metric.margin,
        Interval(
            found.low, found.mid, found.high, 1 - 2 * plan.alpha, found.n, "repeated, valid at every look; Fieller"
        ),
        effect.control.mean,
        effect.treatment.mean,
        effect.control.units,
        effect.treatment.units,
        tuple(word for word, look in claims if look is not None),
        hour.information,
        hour.spent.get(name),
        told.pause if told and metric.role != "diagnostic" else None,
        _days_left(plan, metric, effect, told is not None and told.verdict.passed is not None, days),
    )


def _relative(effect: Effect, level: float) -> Interval:
    """The change as a share of the old figure, with ends that a page can draw: Fieller's, or the normal ones where it has none."""
    found = effect.relative_interval(level)
    if math.isfinite(found.low) and math.isfinite(found.high):
        return found
    reach = NORMAL.inv_cdf((1 + level) / 2) * effect.error / abs(effect.control.mean)
    return Interval(
        found.mid - reach, found.mid, found.mid + reach, level, found.n, "units, normal: the old figure is near 0"
    )


def _always(plan: Plan, hour: Hour) -> float:
    """A bound for between the looks: the hourly one, which holds at any moment."""
    return max((one.bound for one in hour.spent.values()), default=NORMAL.inv_cdf(1 - plan.alpha / 28))


def _days_left(plan: Plan, metric: Metric, effect: Effect, passed: bool, days: float) -> float | None:
    """Days until the margin would be shown were the arms equal: the error must shrink, and users come with the days^g."""
    if passed:
        return 0.0
    if not metric.margin or not effect.control.mean:
        return None
    now = effect.error / abs(effect.control.mean)
    wanted = metric.margin / (NORMAL.inv_cdf(1 - plan.alpha) + NORMAL.inv_cdf(plan.power))
    more = (now / wanted) ** (2 / GROWTH)
    return max(days * (more - 1), 0.0)


def _ratio(plan: Plan, one: SampleRatio, counts: tuple[int, ...], hour: Hour) -> RatioStanding:
    parts = max(len(hour.ratios) - 1, 1)
    whole = one.segment == "all"
    bound = math.log(2 * ALARM_AT * (1 if whole else parts))
    return RatioStanding("" if whole else one.segment, counts, hour.promised, one.log_e, bound, one.alarm)


def ships(standing: Standing) -> bool:
    """Whether every surface has landed, or may."""
    return Verdict(standing.verdict) in SHIPS
