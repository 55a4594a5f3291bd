"""How many users and days does a margin need, and what can be reached at all? Sums before a launch starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import ndtri

from mainstem.base.errors import LaunchError
from mainstem.launch.boundaries import boundaries, course, equal_looks
from mainstem.launch.confidence_sequence import mixture_bound
from mainstem.launch.spending import ALPHA, EXTENSION_RESERVE, check_share_of_error

WEEK: Final = 7.0
HARM_POWER: Final = 0.8
HALF: Final = 0.5
_LONGEST: Final = 36_500.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a metric before the launch.

    Args:
        name: The metric.
        margin: Relative, as planned.
        cv: Standard deviation of one user over the mean; of a ratio, of its linearised value; of a quantile, its standard error
            times the root of users, over the quantile. Where clusters are independent, of one cluster.
        r2: Share of the variance that covariates from before the start explain (CUPED).
        spending, looks: As planned.
        first_look_day: No verdict before this day.
        window_days: A user counts only when so many days have passed since it was first exposed.
        users_a_unit: Users in one independent unit, such as a household.
    """

    name: str
    margin: float
    cv: float
    r2: float = 0.0
    spending: str = "t2"
    looks: int = 28
    first_look_day: float = WEEK
    window_days: float = 0.0
    users_a_unit: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.cv < math.inf and 0 <= self.r2 < 1 and 0 < self.margin < 1):
            raise _bad_number(f"{self.name}: margin {self.margin}, cv {self.cv}, r2 {self.r2}")
        if not (0 <= self.window_days < math.inf and 0 < self.users_a_unit < math.inf):
            raise _bad_number(f"{self.name}: a window of {self.window_days} days, {self.users_a_unit} users a unit")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Who comes.

    Args:
        daily_users: Different users on the first day.
        growth: Different users after ``d`` days are ``daily_users * d ** growth``; 1 if everybody is new every day, 0 if all
            return. Within the first day they come evenly. See ``growth_of``.
    """

    daily_users: float
    growth: float = 0.6

    def __post_init__(self) -> None:
        if not (0 < self.daily_users < math.inf and 0 < self.growth <= 1):
            raise _bad_number(f"{self.daily_users} users a day that grow with exponent {self.growth}")

    def users(self, days: float) -> float:
        """Different users within so many days."""
        return self.daily_users * (days**self.growth if days >= 1 else max(days, 0.0))

    def days(self, users: float) -> float:
        """Days until so many different users have come."""
        share = users / self.daily_users
        return share ** (1 / self.growth) if share >= 1 else share

    def part(self, share: float) -> Traffic:
        """The traffic of a share of the users."""
        return Traffic(self.daily_users * share, self.growth)


@dataclass(frozen=True, slots=True)
class Need:
    """What one metric needs on one surface.

    Attributes:
        legacy: Against which legacy stack; empty where there is one.
        users_per_arm: At the planned maximum.
        days: Since anybody was on the new stack, ramp and all, until they have come and their windows are over; with the first
            legal look as the least.
        reachable: The smallest margin for the days that may be had at most; infinite where the window alone is longer.
    """

    metric: str
    surface: str
    margin: float
    users_per_arm: float
    days: float
    reachable: float
    legacy: str = ""


@dataclass(frozen=True, slots=True)
class StepNeed:
    """What one step of the ramp sees.

    Attributes:
        users_per_arm: By the end of its hold.
        visible_harm: Relative loss that the hourly rollback finds by then with a chance of .8, for the metric that varies most.
    """

    share: float
    hold_hours: float
    users_per_arm: float
    visible_harm: float


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that can be kept.

    Attributes:
        needs: For each surface and metric.
        steps: For each step, on the smallest surface.
        days: Until the last metric of the last surface has its verdict.
    """

    needs: tuple[Need, ...]
    steps: tuple[StepNeed, ...]
    days: float


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of all metrics together.

    Args:
        power: Chance that all pass when nothing changed.
        alpha: One-sided, for each.
        reserve: The part of alpha for going on past the end.
        neutral: Whether "equal on both sides" is planned for, not only "not worse".
        max_days: A plan that needs longer is refused.
        false_rollback, false_pause: Budgets over all metrics. A launch that was stopped by a false alarm has not passed, so
            they cost power, and users to make up for it.
    """

    power: float = 0.9
    alpha: float = ALPHA
    reserve: float = EXTENSION_RESERVE
    neutral: bool = False
    max_days: float = 28.0
    false_rollback: float = 0.01
    false_pause: float = 0.05

    def __post_init__(self) -> None:
        check_share_of_error("alpha", self.alpha)
        check_share_of_error("1 - power", 1 - self.power)
        if not (0 <= self.reserve < self.alpha and self.max_days > 0):
            raise _bad_number(f"a reserve of {self.reserve} and {self.max_days} days")


def users_per_arm(
    metric: Measured, wish: Wish, *, tests: int = 1, true_change: float = 0.0, control_ratio: float = 1.0
) -> float:
    """How many users must the new arm have at the planned maximum?

    Args:
        metric: With its margin.
        wish: Error rates.
        tests: How many tests must all pass; the chance to miss is shared among them.
        true_change: Relative change that is expected; a gain needs fewer users.
        control_ratio: Users of the control for each of the new arm.

    Raises:
        LaunchError: The expected change is beyond the margin (``launch-017``).
    """
    away = metric.margin + true_change
    if away <= 0 or control_ratio <= 0 or tests < 1:
        raise _bad_number(f"{metric.name}: a change of {true_change} at a margin of {metric.margin}")
    units = factor(metric, wish, tests) * metric.cv**2 * (1 - metric.r2) * (1 + 1 / control_ratio) / away**2
    return units * metric.users_a_unit


def factor(metric: Measured, wish: Wish, tests: int) -> float:
    """The squared distance, in standard errors, that margin and truth must be apart at the planned maximum.

    A path that a false alarm stops before it passes counts as missed; one that is stopped after it passed, while other metrics
    are still open, is left to what sharing the misses gives away.
    """
    alarms = (wish.false_pause / tests, wish.false_rollback / tests)
    lost = (1 - wish.power) / tests
    return _apart(metric.looks, metric.spending, wish.alpha, wish.reserve, lost, alarms, wish.neutral)


def plan_launch(
    metrics: Sequence[Measured],
    traffic: Mapping[str, Traffic],
    steps: Sequence[tuple[float, float]],
    wish: Wish | None = None,
    *,
    carried: Mapping[str, Mapping[str, float]] | None = None,
) -> Planned:
    """What does every surface and step need? Refuses what cannot be had in time.

    Each surface is judged on its own users, and against each legacy stack on the users whom that stack carries: all must pass.

    Args:
        metrics: Primaries and guardrails.
        traffic: By surface.
        steps: Share of users on the new stack, and hours held.
        wish: Error rates and the longest time.
        carried: By surface, each legacy stack's share of its users (``Plan.carried``); one stack carries all where it is left out.

    Raises:
        LaunchError: A margin cannot be reached in time; the message names every such margin and what can be reached
            (``launch-016``). Nothing to plan, or a step that is none (``launch-017``).
    """
    wish = wish or Wish()
    if not metrics or not traffic or not steps or any(not 0 <= s <= 1 or h <= 0 for s, h in steps):
        raise _bad_number(f"{len(metrics)} metrics, {len(traffic)} surfaces and the steps {list(steps)}")
    if not any(0 < share < 1 for share, _ in steps):
        raise _bad_number(f"the steps {list(steps)}, none of which has both an arm and a control")
    gates = {
        (surface, legacy): comes.part(share)
        for surface, comes in traffic.items()
        for legacy, share in ((carried or {}).get(surface) or {"": 1.0}).items()
    }
    tests = len(metrics) * len(gates)
    needs = tuple(_need(one, gate, comes, wish, steps, tests) for gate, comes in gates.items() for one in metrics)
    late = [one for one in needs if one.days > wish.max_days]
    if late:
        raise LaunchError(
            f"{'; '.join(map(_told, late))}, expected {wish.max_days:g} days at most",
            code="launch-016",
            hint="take the reachable margin, a covariate that explains more, or more traffic",
        )
    least = min(gates.values(), key=lambda one: one.daily_users)
    worst = max(metrics, key=lambda one: one.cv**2 * (1 - one.r2) * one.users_a_unit)
    largest = max(users_per_arm(worst, wish, tests=tests), 1.0)
    seen = tuple(_step(share, hours, least, worst, wish, tests, largest) for share, hours in steps if share > 0)
    return Planned(needs, seen, max(one.days for one in needs))


def arm_users(traffic: Traffic, steps: Sequence[tuple[float, float]], days: float) -> float:
    """How many users has each arm after so many days of a ramp, counted from when anybody was first on the new stack?

    The control is as large as the new arm. A step's users come in from its own start on; past one half no step adds evidence,
    and the last step up to there goes on for as long as it takes.

    Args:
        traffic: Of one surface and legacy stack.
        steps: Share of users on the new stack, and hours held.
        days: Since the first step above 0.
    """
    total, started, before = 0.0, 0.0, 0.0
    for share, hours in steps:
        half = min(share, 1 - share)
        if share > HALF and before > 0:
            break
        total += max(half - before, 0.0) * traffic.users(days - started)
        started += hours / 24 if share > 0 else 0.0
        before = max(half, before)
    return total


def surface_margins(errors: ArrayLike, wish: Wish | None = None) -> np.ndarray:
    """Which margin can each surface be held to alone, when all must pass?

    Args:
        errors: Standard error of each surface's relative change at the planned end.
        wish: Error rates.

    Shapes: errors and answer ``[surfaces]``.
    """
    wish, at = wish or Wish(), np.asarray(errors, np.float64)
    if at.ndim != 1 or not len(at) or not np.isfinite(at).all() or (at <= 0).any():
        raise _bad_number(f"standard errors {errors}")
    return float(ndtri(1 - wish.alpha) + ndtri(1 - (1 - wish.power) / len(at))) * at


def growth_of(users_by_day: ArrayLike) -> float:
    """With which exponent do different users grow with days? The slope between logarithms, held to 1 at most.

    Args:
        users_by_day: Different users from the first day up to each day.

    Raises:
        LaunchError: Fewer than two days, or counts that fall or are 0 (``launch-017``).

    Shapes: users_by_day ``[days]``.
    """
    found = np.asarray(users_by_day, np.float64)
    if found.ndim != 1 or len(found) < 2 or not (found > 0).all() or (np.diff(found) < 0).any():
        raise _bad_number(f"different users by day {found.tolist()[:5]}")
    days, users = np.log(np.arange(1, len(found) + 1)), np.log(found)
    slope = float(((days - days.mean()) * (users - users.mean())).sum() / ((days - days.mean()) ** 2).sum())
    return min(max(slope, 1e-3), 1.0)


def _need(
    metric: Measured,
    gate: tuple[str, str],
    traffic: Traffic,
    wish: Wish,
    steps: Sequence[tuple[float, float]],
    tests: int,
) -> Need:
    users = users_per_arm(metric, wish, tests=tests)
    low, days = 0.0, _LONGEST
    for _ in range(60):
        middle = (low + days) / 2
        low, days = (low, middle) if arm_users(traffic, steps, middle) >= users else (middle, days)
    most = arm_users(traffic, steps, wish.max_days - metric.window_days)
    reachable = metric.margin * math.sqrt(users / most) if most > 0 else math.inf
    whole = max(days + metric.window_days, metric.first_look_day)
    return Need(metric.name, gate[0], metric.margin, users, whole, reachable, gate[1])


def _step(
    share: float, hours: float, traffic: Traffic, metric: Measured, wish: Wish, tests: int, largest: float
) -> StepNeed:
    """On the least traffic, with the share of the day's users when it holds for less than a day."""
    days = hours / 24
    users = min(share, 1 - share) * (traffic.users(days) if days >= 1 else traffic.daily_users * days)
    if users <= 0:
        return StepNeed(share, hours, 0.0, math.inf)
    bound = float(mixture_bound(users / largest, wish.false_rollback / tests, 0.1))
    error = metric.cv * math.sqrt((1 - metric.r2) * metric.users_a_unit * 2 / users)
    return StepNeed(share, hours, users, (bound + float(ndtri(HARM_POWER))) * error)


@lru_cache(maxsize=64)
def _apart(
    looks: int, spending: str, alpha: float, reserve: float, lost: float, alarms: tuple[float, float], neutral: bool
) -> float:
    """The squared distance at which so many paths are lost; for both sides, those lost on each are added."""
    at = equal_looks(looks)
    harm = np.minimum(boundaries(at, alarms[0], spending).bound, mixture_bound(at, alarms[1], 0.1))
    bounds = boundaries(at, alpha - reserve, spending)

    def more(squared: float) -> float:
        drift = math.sqrt(squared)
        other = course(bounds, drift).power if neutral else 1.0
        return course(bounds, drift, harm).power + other - 2 + lost

    single = float(ndtri(1 - alpha) + ndtri(1 - lost / 2)) ** 2
    return cast(float, brentq(more, single / 5, 20 * single, xtol=1e-6))


def _told(need: Need) -> str:
    where = f"{need.surface} against {need.legacy}" if need.legacy else need.surface
    took = f"{need.days:.0f} days" if need.days < _LONGEST else "more than a century"
    reached = f"{need.reachable:.2%}" if math.isfinite(need.reachable) else "none: its window alone is longer"
    return f"{need.metric} on {where} needs {took} for {need.margin:.2%}, reachable is {reached}"


def _bad_number(found: str) -> LaunchError:
    return LaunchError(
        f"found {found}, expected finite numbers above 0 and shares between 0 and 1",
        code="launch-017",
        hint="docs/guides/launch-plan.md shows a plan and what was measured for it",
    )
