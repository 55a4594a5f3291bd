"""Does your own plan keep its word, with your users, your ramp, your metrics? Every surface and stack, hour by hour.

Users come as they were measured to and are let in as the ramp's steps let them; each metric has its own margin, variance, window,
looks and spending. Rollback is hourly, looks are daily from the first legal one, alpha is spent by the calendar, and a launch
passes where everything that must pass has passed before anything was stopped: what the pilot does. Users are taken to be new at
every look; what returning users do to bounds is simulated beside it, by cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mainstem.launch.boundaries import CLOSEST, boundaries
from mainstem.launch.characteristic import SLACK, Characteristic, bad_plan, check_runs, false_rate, share
from mainstem.launch.confidence_sequence import mixture_bound
from mainstem.launch.measured import Known
from mainstem.launch.plan_file import Plan
from mainstem.launch.planner import Measured, Traffic, arm_users

Floats = NDArray[np.float64]
HOURS = 24
_CHUNK = 200
_NEVER = np.iinfo(np.int64).max
_TOPIC = "your plan"


@dataclass(frozen=True, slots=True)
class OwnMetric:
    """One metric of one surface against one stack, over the hours of a launch.

    Attributes:
        users: In each arm by the end of each hour, whose windows are over.
        drift: How far margin and no effect are apart when all planned days are over, in standard errors.
        looks: Hours of its legal looks.
        passing, pausing: What its statistics must reach at each of them.
        rolling: What harm must reach at each hour.

    Shapes: users, rolling ``[hours]``; looks, passing, pausing ``[looks]``.
    """

    name: str
    users: Floats
    drift: float
    looks: NDArray[np.int64]
    passing: Floats
    pausing: Floats
    rolling: Floats


@dataclass(frozen=True, slots=True)
class OwnGate:
    """One surface against one legacy stack; a verdict is only said from ``first`` on, the hour of the first look legal for all."""

    name: str
    metrics: tuple[OwnMetric, ...]
    first: int


@dataclass(frozen=True, slots=True)
class OwnEnds:
    """The hour at which each run of a gate passed, was rolled back or was paused; a very large one if it never was.

    Shapes: all ``[runs]``.
    """

    passed: NDArray[np.int64]
    rolled: NDArray[np.int64]
    paused: NDArray[np.int64]

    @property
    def stopped(self) -> NDArray[np.int64]:
        """The first alarm."""
        return np.minimum(self.rolled, self.paused)

    @property
    def ships(self) -> NDArray[np.bool_]:
        """Whether it passed before any alarm; at one and the same look an alarm goes first."""
        return (self.passed < _NEVER) & (self.passed < self.stopped)


def own_gates(plan: Plan, known: Known) -> tuple[OwnGate, ...]:
    """The plan's gates as they can be simulated.

    Args:
        plan: What is promised.
        known: What was measured; metrics that nothing was measured of are left out.

    Raises:
        LaunchError: Nothing was measured of any primary, or no step has both arms (``launch-018``).
    """
    steps = [(one.share, one.hold_hours) for one in plan.steps]
    primary = any(plan.metrics[one.name].role == "primary" for one in known.metrics)
    if not primary or not any(0 < one <= 0.5 for one, _ in steps):
        raise bad_plan(f"{len(known.metrics)} measured metrics and the steps {steps}")
    places = [(surface, legacy) for surface in plan.surfaces for legacy in plan.carried(surface)]
    tests = len(plan.must_pass()) * len(places)
    several = len(plan.legacy) > 1
    return tuple(
        _gate(
            f"{surface} against {legacy}" if several else surface,
            known.traffic[surface].part(plan.carried(surface)[legacy]),
            plan,
            known,
            steps,
            tests,
        )
        for surface, legacy in places
    )


def _gate(
    name: str, traffic: Traffic, plan: Plan, known: Known, steps: list[tuple[float, float]], tests: int
) -> OwnGate:
    metrics = tuple(_metric(one, traffic, plan, steps, tests) for one in known.metrics)
    return OwnGate(name, metrics, max(int(one.looks[0]) for one in metrics))


def _metric(metric: Measured, traffic: Traffic, plan: Plan, steps: list[tuple[float, float]], tests: int) -> OwnMetric:
    hours = metric.looks * HOURS
    users = np.array([arm_users(traffic, steps, (hour + 1) / HOURS - metric.window_days) for hour in range(hours)])
    shares = users / max(float(users[-1]), 1e-9)
    days = np.arange(1, metric.looks + 1)
    looks = days[days >= metric.first_look_day] * HOURS - 1
    looks = looks[np.diff(shares[looks], prepend=0.0) >= CLOSEST]
    if not len(looks) or users[-1] < 2:
        raise bad_plan(f"{metric.name!r} with no look from day {metric.first_look_day:g} on that brings users")
    at, clock = shares[looks], (looks + 1) / hours
    error = metric.cv * math.sqrt((1 - metric.r2) * metric.users_a_unit * 2 / users[-1])
    return OwnMetric(
        metric.name,
        users,
        metric.margin / error,
        looks,
        boundaries(at, plan.alpha, metric.spending, clock=clock).bound,
        boundaries(at, plan.rollback.pause_rate / tests, metric.spending, clock=clock).bound,
        mixture_bound(shares, plan.rollback.false_rate / tests, 0.1),
    )


def run_gate(gate: OwnGate, effects: Floats, correlation: float, runs: int, rng: np.random.Generator) -> OwnEnds:
    """Many launches of one gate with these true effects, in each metric's own margins.

    Shapes: effects ``[metrics]``.
    """
    parts = [
        _some(gate, effects, correlation, min(_CHUNK, runs - at), np.random.default_rng(rng.integers(1 << 62)))
        for at in range(0, runs, _CHUNK)
    ]
    return OwnEnds(*(np.concatenate([getattr(one, name) for one in parts]) for name in OwnEnds.__slots__))


def _some(gate: OwnGate, effects: Floats, correlation: float, runs: int, rng: np.random.Generator) -> OwnEnds:
    hours = max(len(one.users) for one in gate.metrics)
    common = rng.standard_normal((runs, hours))
    passed, paused = np.zeros(runs, np.int64), np.full(runs, _NEVER)
    rolled = np.full(runs, _NEVER)
    for metric, effect in zip(gate.metrics, effects, strict=True):
        t = metric.users / metric.users[-1]
        steps = math.sqrt(1 - correlation) * rng.standard_normal((runs, len(t)))
        steps += math.sqrt(correlation) * common[:, : len(t)]
        walk = (steps * np.sqrt(np.diff(t, prepend=0.0))).cumsum(1) + effect * metric.drift * t
        z = walk / np.sqrt(np.maximum(t, 1e-12))
        rolled = np.minimum(rolled, _first(-z >= metric.rolling, np.arange(len(t)), 0))
        daily = z[:, metric.looks]
        not_worse = daily + metric.drift * np.sqrt(t[metric.looks])
        passed = np.maximum(passed, _first(not_worse >= metric.passing, metric.looks, gate.first))
        paused = np.minimum(paused, _first(-daily >= metric.pausing, metric.looks, gate.first))
    return OwnEnds(passed, rolled, paused)


def _first(crossed: NDArray[np.bool_], hours: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """The hour of the first crossing, said at the first legal look at the earliest."""
    found = np.where(crossed.any(1), hours[crossed.argmax(1)], _NEVER)
    return np.maximum(found, first)


def own_plan(plan: Plan, known: Known, runs: int, seed: int, correlation: float = 0.4) -> Iterator[Characteristic]:
    """What becomes of the plan: passes, false alarms, days, errors and rollback, at every gate and over all.

    Args:
        plan: What is promised.
        known: What was measured.
        runs: Launches.
        seed: Of all luck.
        correlation: Between any two metrics.

    Raises:
        LaunchError: Fewer than 100 runs, or what ``own_gates`` raises (``launch-018``).
    """
    check_runs("launches", runs)
    gates, rng = own_gates(plan, known), np.random.default_rng(seed)
    none = {one.name: run_gate(one, np.zeros(len(one.metrics)), correlation, runs, rng) for one in gates}
    yield from _at_no_effect(plan, none, runs)
    smallest = min(gates, key=lambda one: min(metric.drift for metric in one.metrics))
    roles = [plan.metrics[one.name].role for one in smallest.metrics]
    worse = np.zeros(len(roles))
    worse[roles.index("primary")] = -1.0
    lost = run_gate(smallest, worse, correlation, runs, rng)
    name = f"{smallest.name}: passes with {smallest.metrics[roles.index('primary')].name} a margin worse"
    yield false_rate(_TOPIC, name, lost.ships.sum(), runs, plan.alpha)
    stopped = (lost.stopped < lost.passed).sum()
    yield share(_TOPIC, f"{smallest.name}: rolled back or paused, a margin worse", stopped, runs)
    harmed = run_gate(smallest, 10 * worse, correlation, max(runs // 10, 100), rng)
    hours = np.where(harmed.stopped < _NEVER, harmed.stopped + 1, len(smallest.metrics[0].users))
    told = f"{smallest.name}: median hours until ten margins are rolled back, from the ramp's first step"
    yield Characteristic(_TOPIC, told, float(np.median(hours)), math.nan)


def _at_no_effect(plan: Plan, none: dict[str, OwnEnds], runs: int) -> Iterator[Characteristic]:
    ships = np.all([one.ships for one in none.values()], axis=0)
    passes = share(_TOPIC, "every surface and stack passes at no effect", ships.sum(), runs, low=plan.power)
    yield replace(passes, slack=SLACK)
    rolled = np.any(
        [(one.rolled < _NEVER) & (one.rolled <= np.minimum(one.passed, one.paused)) for one in none.values()], 0
    )
    paused = np.any(
        [(one.paused < _NEVER) & (one.paused <= one.passed) & (one.paused < one.rolled) for one in none.values()], 0
    )
    yield false_rate(_TOPIC, "falsely rolled back anywhere", rolled.sum(), runs, plan.rollback.false_rate)
    yield false_rate(_TOPIC, "falsely paused anywhere", paused.sum(), runs, plan.rollback.pause_rate)
    for name, one in none.items():
        yield share(_TOPIC, f"{name}: passes at no effect", one.ships.sum(), runs)
        days = (one.passed[one.ships] + 1) / HOURS
        if len(days):
            luck = float(days.std()) / math.sqrt(len(days))
            yield Characteristic(_TOPIC, f"{name}: mean days until it passes", float(days.mean()), luck)
