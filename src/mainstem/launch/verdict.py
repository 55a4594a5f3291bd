"""May this ship? One word of seven for a launch, from every metric's own sequential tests; undecided never ships.

Each primary and guardrail must show at its own margin that it is not worse. No alpha is shared for that: shipping needs all
of them, so the chance of shipping something a margin worse is at most that of the one test that stands in its way.

Source: Berger 1982 (intersection-union); Schuirmann 1987 (two one-sided tests); Schultzberg, Ankargren and Frånberg 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import LaunchError
from mainstem.launch.boundaries import boundaries
from mainstem.launch.confidence_sequence import mixture_bound
from mainstem.launch.returning import correlated_bounds
from mainstem.launch.spending import ALPHA, EXTENSION_RESERVE

Floats = NDArray[np.float64]
Role = Literal["primary", "guardrail", "diagnostic"]


class Verdict(StrEnum):
    """What is known of a launch."""

    INVALID = "INVALID"
    """The sample ratio or the logging is broken: nothing else that was measured means anything."""
    HARM = "HARM"
    """Rolled back."""
    PAUSE = "PAUSE"
    """Worse than before by the daily test: a person decides."""
    NON_INFERIOR = "NON-INFERIOR"
    """Every primary and guardrail is shown not to be worse by its margin."""
    NEUTRAL = "NEUTRAL"
    """That, and every primary is shown not to be better by its margin either."""
    WIN = "WIN"
    """That every one is not worse, and some primary is shown to be better than before."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """Nothing is shown. It goes on or it stops, and it never ships."""


SHIPS: Final = frozenset({Verdict.NON_INFERIOR, Verdict.NEUTRAL, Verdict.WIN})
GRAVEST_FIRST: Final = (
    Verdict.INVALID,
    Verdict.HARM,
    Verdict.PAUSE,
    Verdict.INCONCLUSIVE,
    Verdict.NON_INFERIOR,
    Verdict.NEUTRAL,
    Verdict.WIN,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """How one metric is tested.

    Args:
        name: The metric.
        role: ``primary`` and ``guardrail`` must pass; ``diagnostic`` is only shown.
        alpha: Chance of passing what is exactly a margin worse.
        spending: Over the looks, by a name of ``SPENDING``.
        reserve: The part of alpha kept for going on after the last planned look.
        first_look_day: Looks before this day are refused.
        win_alpha: For "better than before"; alpha over the number of primaries.
        pause_alpha: For "worse than before"; the budget of pauses over the number of metrics.
    """

    name: str
    role: Role = "primary"
    alpha: float = ALPHA
    spending: str = "t2"
    reserve: float = EXTENSION_RESERVE
    first_look_day: float = 7.0
    win_alpha: float = ALPHA
    pause_alpha: float = ALPHA


@dataclass(frozen=True, slots=True)
class Path:
    """What was seen of one metric, look by look.

    Args:
        days: Since the start, at each look.
        information: Users (or what they weigh) over the planned maximum.
        not_worse, not_better, better: The statistics of ``contrast``.
        correlation: Between the looks, when users return (``Looks.correlation``); alpha is then spent by ``clock``.
        clock: Share of the planned looks at each look.

    Shapes: all ``[looks]``; correlation ``[looks, looks]``.
    """

    days: Floats
    information: Floats
    not_worse: Floats
    not_better: Floats
    better: Floats
    correlation: Floats | None = None
    clock: Floats | None = None


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """At which look, counted from 0, each claim about one metric was first shown; None where it was not.

    Attributes:
        passed: Not worse by its margin.
        equal: Not better by its margin either.
        won: Better than before, counted only once it has passed.
        harmed: Worse than before, by the daily test.
        bound: What ``not_worse`` must reach at each look.
    """

    name: str
    role: Role
    passed: int | None
    equal: int | None
    won: int | None
    harmed: int | None
    bound: Floats


@dataclass(frozen=True, slots=True)
class LaunchVerdict:
    """The one word, and why.

    Attributes:
        verdict: The word.
        decided: The look at which it could first be said; None while nothing is decided.
        open: Metrics that must pass and have not.
        reasons: Sentences for people.
    """

    verdict: Verdict
    decided: int | None
    open: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def ships(self) -> bool:
        """Whether the ramp may go on to everybody."""
        return self.verdict in SHIPS


def judge_metric(rule: Rule, path: Path) -> MetricVerdict:
    """What has been shown of one metric, at any of its looks so far?

    Raises:
        LaunchError: A look before the first legal one (``launch-012``), statistics of other lengths or not numbers
            (``launch-009``), or what the bounds raise.
    """
    _check_path(rule, path)
    bound = claim_bounds(rule, path, rule.alpha, rule.reserve)
    passed, equal = _first(path.not_worse >= bound), _first(path.not_better >= bound)
    won = _first(path.better >= claim_bounds(rule, path, rule.win_alpha, rule.win_alpha * rule.reserve / rule.alpha))
    harmed = _first(-path.better >= claim_bounds(rule, path, rule.pause_alpha, 0.0))
    both = None if passed is None or equal is None else max(passed, equal)
    wins = None if passed is None or won is None else max(passed, won)
    return MetricVerdict(rule.name, rule.role, passed, both, wins, harmed, bound)


def claim_bounds(rule: Rule, path: Path, alpha: float, reserve: float) -> Floats:
    """What a statistic must reach at each look: the sequential bound, or the always-valid one of the reserve if lower.

    With correlated looks the reserve is spent after the planned end, by the calendar and never wholly.

    Shapes: answer ``[looks]``.
    """
    if path.correlation is not None and path.clock is not None:
        return correlated_bounds(path.correlation, path.clock, alpha - reserve, rule.spending, reserve=reserve)
    planned = boundaries(path.information, alpha - reserve, rule.spending).bound
    return np.minimum(planned, mixture_bound(path.information, reserve, 1.0)) if reserve else planned


def judge_launch(
    metrics: Sequence[MetricVerdict], *, invalid: Sequence[str] = (), rolled_back: Sequence[str] = ()
) -> LaunchVerdict:
    """The verdict on one surface against one legacy stack.

    Args:
        metrics: Every metric of the plan.
        invalid: What is broken: segments with a sample-ratio alarm, faults of logging. One is enough.
        rolled_back: Metrics whose hourly harm went past its bound.

    Raises:
        LaunchError: No metric is primary, so nothing could be decided (``launch-013``).
    """
    if not any(one.role == "primary" for one in metrics):
        raise LaunchError(
            f"found no primary among {len(metrics)} metrics, expected one at least",
            code="launch-013",
            hint="set role = 'primary' on the metric that the launch is about",
        )
    must = [one for one in metrics if one.role != "diagnostic"]
    left = tuple(one.name for one in must if one.passed is None)
    decided = None if left else max(one.passed for one in must if one.passed is not None)
    harmed = [one for one in must if one.harmed is not None and (decided is None or one.harmed <= decided)]
    if invalid:
        return LaunchVerdict(Verdict.INVALID, None, left, tuple(f"{one} is broken" for one in invalid))
    if rolled_back:
        return LaunchVerdict(Verdict.HARM, None, left, tuple(f"{one} was harmed: rolled back" for one in rolled_back))
    if harmed:
        told = tuple(f"{one.name} is worse than before (look {(one.harmed or 0) + 1})" for one in harmed)
        return LaunchVerdict(Verdict.PAUSE, min(one.harmed or 0 for one in harmed), left, told)
    if left or decided is None:
        told = tuple(f"{name} is not shown to be within its margin" for name in left)
        return LaunchVerdict(Verdict.INCONCLUSIVE, None, left, told)
    return _passed(must, decided)


def gravest(verdicts: Mapping[str, LaunchVerdict]) -> LaunchVerdict:
    """The verdict over several surfaces and legacy stacks: that of the worst of them; each stands on its own interval.

    Raises:
        LaunchError: There is none (``launch-013``).
    """
    if not verdicts:
        raise LaunchError(
            "found no surface with a verdict, expected one at least", code="launch-013", hint="name the plan's surfaces"
        )
    name, worst = min(verdicts.items(), key=lambda one: GRAVEST_FIRST.index(one[1].verdict))
    looks = [one.decided for one in verdicts.values()]
    decided = None if None in looks else max(look for look in looks if look is not None)
    left = tuple(f"{place}: {one}" for place, verdict in verdicts.items() for one in verdict.open)
    return LaunchVerdict(worst.verdict, decided, left, tuple(f"{name}: {one}" for one in worst.reasons))


def _passed(must: Sequence[MetricVerdict], decided: int) -> LaunchVerdict:
    primaries = [one for one in must if one.role == "primary"]
    winners = [one for one in primaries if one.won is not None]
    reasons = tuple(f"{one.name} is not worse by its margin (look {(one.passed or 0) + 1})" for one in must)
    if winners:
        at = max(decided, min(one.won or 0 for one in winners))
        told = tuple(f"{one.name} is better than before" for one in winners)
        return LaunchVerdict(Verdict.WIN, at, (), told + reasons)
    if all(one.equal is not None for one in primaries):
        at = max(decided, *(one.equal or 0 for one in primaries))
        return LaunchVerdict(Verdict.NEUTRAL, at, (), ("every primary is within its margin on both sides", *reasons))
    return LaunchVerdict(Verdict.NON_INFERIOR, decided, (), reasons)


def _check_path(rule: Rule, path: Path) -> None:
    looks = len(path.days)
    for name, one in (("not_worse", path.not_worse), ("not_better", path.not_better), ("better", path.better)):
        if one.shape != (looks,) or np.isnan(one).any() or path.information.shape != (looks,):
            raise LaunchError(
                f"found {one.shape} values of {name!r} of {rule.name!r} over {looks} looks, expected a number for each",
                code="launch-009",
                hint="leave out looks at which a metric could not be computed",
            )
    if (path.correlation is None) != (path.clock is None):
        raise LaunchError(
            f"found only one of correlation and clock for {rule.name!r}, expected both or neither",
            code="launch-009",
            hint="with users who return, alpha is spent by the calendar: give clock = calendar(looks, planned)",
        )
    if looks and path.days.min() < rule.first_look_day:
        raise LaunchError(
            f"found a look at {rule.name!r} on day {path.days.min():g}, expected none before day {rule.first_look_day:g}",
            code="launch-012",
            hint="the plan names the first legal look; a week sees every weekday",
        )


def _first(crossed: NDArray[np.bool_]) -> int | None:
    found = np.flatnonzero(crossed)
    return int(found[0]) if len(found) else None
