"""What a whole launch does: several metrics, hourly rollback, daily pause, verdict; in units of its own margins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.launch.boundaries import equal_looks
from mainstem.launch.characteristic import SLACK, Characteristic, bad_plan, false_rate, share
from mainstem.launch.planner import Measured, Wish, factor
from mainstem.launch.rollback import Budgets
from mainstem.launch.simulate_looks import Looking

Floats = NDArray[np.float64]
HOURS = 24
_CHUNK = 250
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class JointMetric:
    """One metric that must pass.

    Args:
        name: The metric.
        primary: Or a guardrail.
        ease: How many times farther its margin is, in standard errors, than that of the metric the launch was sized for.
    """

    name: str
    primary: bool = True
    ease: float = 1.0


@dataclass(frozen=True, slots=True)
class JointPlan:
    """A launch to simulate.

    Args:
        metrics: All that must pass.
        days: One look a day.
        correlation: Between any two metrics.
        looking: Spending and alpha; its looks are not read.
        reserve: The part of alpha for going on.
        power: Wanted chance that all pass.
        false_rollback, false_pause: Budgets.
        neutral: Whether it is sized to show that primaries are no better either.
    """

    metrics: tuple[JointMetric, ...]
    days: int = 21
    correlation: float = 0.4
    looking: Looking = field(default_factory=Looking)
    reserve: float = 0.005
    power: float = 0.9
    false_rollback: float = 0.01
    false_pause: float = 0.05
    neutral: bool = False

    def __post_init__(self) -> None:
        least = min((one.ease for one in self.metrics), default=0.0)
        if not any(one.primary for one in self.metrics) or self.days < 1 or least < 1 or not 0 <= self.correlation < 1:
            raise bad_plan(f"{len(self.metrics)} metrics over {self.days} days at correlation {self.correlation}")

    @property
    def drifts(self) -> Floats:
        """Distance of each margin from no effect at the planned maximum, in standard errors.

        Shapes: ``[metrics]``.
        """
        looking = self.looking
        sized = Measured("x", 0.01, 1.0, spending=looking.spending, looks=self.days)
        wish = Wish(
            power=self.power,
            alpha=looking.alpha,
            reserve=self.reserve,
            neutral=self.neutral,
            false_rollback=self.false_rollback,
            false_pause=self.false_pause,
        )
        return math.sqrt(factor(sized, wish, len(self.metrics))) * np.array([one.ease for one in self.metrics])

    @property
    def budgets(self) -> Budgets:
        """What alarms may cost."""
        return Budgets(len(self.metrics), self.false_rollback, self.false_pause, spending=self.looking.spending)


STANDARD = JointPlan(
    (
        *(JointMetric(f"primary {i}") for i in (1, 2, 3)),
        *(JointMetric(f"guardrail {i}", False, 1.5) for i in range(1, 6)),
    )
)
"""Three primaries and five guardrails with margins half as wide again."""


@dataclass(frozen=True, slots=True)
class Ends:
    """How runs ended.

    Attributes:
        passed, rolled_back, paused: Whether that came first.
        neutral: Whether primaries were shown equal on both sides too, before any alarm.
        hour: When; the last hour if nothing did.

    Shapes: all ``[runs]``.
    """

    passed: NDArray[np.bool_]
    rolled_back: NDArray[np.bool_]
    paused: NDArray[np.bool_]
    neutral: NDArray[np.bool_]
    hour: NDArray[np.int64]


def run_launches(plan: JointPlan, effects: ArrayLike, runs: int, rng: np.random.Generator) -> Ends:
    """Many launches with these true effects.

    Args:
        plan: The launch.
        effects: Of each metric, in its own margins; -1 is exactly a margin worse.
        runs: How many.
        rng: Luck.
    """
    parts = [_some(plan, np.asarray(effects, np.float64), min(_CHUNK, runs - at), rng) for at in range(0, runs, _CHUNK)]
    return Ends(*(np.concatenate([getattr(one, name) for one in parts]) for name in Ends.__slots__))


def hourly_z(plan: JointPlan, effects: Floats, runs: int, rng: np.random.Generator) -> Floats:
    """The statistics against "no better" at every hour.

    Shapes: ``[runs, metrics, hours]``.
    """
    hours = plan.days * HOURS
    t = np.arange(1, hours + 1) / hours
    steps = rng.standard_normal((runs, len(plan.metrics) + 1, hours))
    mixed = math.sqrt(1 - plan.correlation) * steps[:, 1:] + math.sqrt(plan.correlation) * steps[:, :1]
    walk = mixed.cumsum(-1)
    walk /= np.sqrt(np.arange(1, hours + 1))
    return walk + (effects * plan.drifts)[:, None] * np.sqrt(t)


def _some(plan: JointPlan, effects: Floats, runs: int, rng: np.random.Generator) -> Ends:
    z = hourly_z(plan, effects, runs, rng)
    hours = plan.days * HOURS
    t, at = np.arange(1, hours + 1) / hours, equal_looks(plan.days)
    daily = z[:, :, HOURS - 1 :: HOURS]
    looking = Looking(plan.days, plan.looking.spending, plan.looking.alpha)
    margin, bound = plan.drifts[:, None] * np.sqrt(at), looking.bounds(plan.reserve).bound
    primaries = [k for k, one in enumerate(plan.metrics) if one.primary]
    rolled = _first(-z >= plan.budgets.rollback_bound(t), 1).min(1)
    paused = _first(-daily >= plan.budgets.pause_bound(at), HOURS).min(1)
    passed = _first(daily + margin >= bound, HOURS).max(1)
    equal = np.maximum(passed, _first(margin - daily >= bound, HOURS)[:, primaries].max(1))
    # At one and the same look an alarm goes before a pass.
    return Ends(
        passed=(passed < _NEVER) & (passed < rolled) & (passed < paused),
        rolled_back=(rolled < _NEVER) & (rolled <= paused) & (rolled <= passed),
        paused=(paused < _NEVER) & (paused < rolled) & (paused <= passed),
        neutral=(equal < _NEVER) & (equal < rolled) & (equal < paused),
        hour=np.minimum(np.minimum(passed, np.minimum(rolled, paused)), hours),
    )


def _first(crossed: NDArray[np.bool_], step: int) -> NDArray[np.int64]:
    """The hour of the first crossing along the last axis."""
    return np.where(crossed.any(-1), (crossed.argmax(-1) + 1) * step, _NEVER)


def joint_verdicts(plan: JointPlan, runs: int, seed: int) -> Iterator[Characteristic]:
    """Shipping, rollback and pause of the whole launch: with no effect, and with its first primary worse."""
    rng, count = np.random.default_rng(seed), len(plan.metrics)
    none = run_launches(plan, np.zeros(count), runs, rng)
    passes = share("whole launch", "passes at no effect", none.passed.sum(), runs, low=plan.power)
    yield replace(passes, slack=SLACK)
    yield false_rate(
        "whole launch",
        "rolled back at no effect, all hours and metrics",
        none.rolled_back.sum(),
        runs,
        plan.false_rollback,
    )
    yield false_rate("whole launch", "paused at no effect", none.paused.sum(), runs, plan.false_pause)
    day = none.hour / HOURS
    luck = float(day.std()) / math.sqrt(runs)
    yield Characteristic("whole launch", "mean day of the end at no effect", float(day.mean()), luck)
    both = run_launches(replace(plan, neutral=True), np.zeros(count), runs, rng)
    equal = share("whole launch", "NEUTRAL at no effect, when sized for it", both.neutral.sum(), runs, low=plan.power)
    yield replace(equal, slack=SLACK)
    worse = np.zeros(count)
    for size in (-1.0, -2.0):
        worse[0] = size
        found = run_launches(plan, worse, runs, rng)
        name = f"one primary {-size:g} margin{'s' if size < -1 else ''} worse"
        yield false_rate("whole launch", f"passes, {name}", found.passed.sum(), runs, plan.looking.alpha)
        stopped = (found.rolled_back | found.paused).sum()
        yield share("whole launch", f"rolled back or paused, {name}", stopped, runs)
    worse[0] = -10.0
    found = run_launches(plan, worse, max(runs // 10, 100), rng)
    yield Characteristic(
        "whole launch", "median hours to roll back ten margins", float(np.median(found.hour)), math.nan, high=10.0
    )


def surfaces(runs: int, seed: int, count: int = 8) -> Iterator[Characteristic]:
    """Eight surfaces, each on its own interval at a margin of 1 % it was sized to show; the smallest then truly loses 1 %."""
    looking, at = Looking(), equal_looks(Looking().looks)
    apart = math.sqrt(factor(Measured("x", 0.01, 1.0), Wish(reserve=0.0), count))
    bound, budgets = looking.bounds().bound, Budgets(count)
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((runs, count, looking.looks))
    z = steps.cumsum(-1) / np.sqrt(np.arange(1, looking.looks + 1))
    drift = apart * np.sqrt(at)
    stop = np.minimum(budgets.pause_bound(at), budgets.rollback_bound(at))
    same = _all_pass(z, z + drift, bound, stop)
    yield replace(
        share("surfaces", f"all {count} pass at no effect (an A/A run)", same.sum(), runs, low=0.9), slack=SLACK
    )
    z[:, -1] -= drift
    lost = _all_pass(z, z + drift, bound, stop)
    yield false_rate(
        "surfaces", f"all {count} pass, the smallest 1 % (its margin) worse", lost.sum(), runs, looking.alpha
    )
    told = f"a regression of 1 % on the smallest of {count} is blocked"
    yield replace(share("surfaces", told, runs - lost.sum(), runs, low=1 - looking.alpha), slack=SLACK)
    others = _all_pass(z[:, :-1], z[:, :-1] + drift, bound, stop).sum()
    yield share("surfaces", f"the other {count - 1} pass nevertheless", others, runs)


def _all_pass(z: Floats, not_worse: Floats, bound: Floats, stop: Floats) -> NDArray[np.bool_]:
    """Whether every surface passes before any is stopped.

    Shapes: z and not_worse ``[runs, surfaces, looks]``, bound and stop ``[looks]``, answer ``[runs]``.
    """
    passed = _first(not_worse >= bound, 1).max(1)
    return (passed < _NEVER) & (passed < _first(-z >= stop, 1).min(1))
