"""Which of several rankers do people like better, from one list that all of them wrote? For quick screening only.

Team draft: in each round every ranker, in an order drawn anew, puts its best item that is not yet on the list, and owns the
clicks on it. Rankers that are the same are credited the same on average, wherever people click. One list has one latency,
so this says nothing of speed, and a preference is no effect on anybody's value: it screens, and never ships.

Source: Radlinski, Kurup and Joachims 2008 (team draft); Schuth et al. 2014 (multileaving).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from mainstem.base.errors import LaunchError
from mainstem.base.seeds import uniforms
from mainstem.evaluate.intervals import Interval

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Draft:
    """One list that several rankers wrote.

    Attributes:
        items: Best first.
        teams: Which ranker put each item there.

    Shapes: both ``[n]``.
    """

    items: Ints
    teams: Ints


@dataclass(frozen=True, slots=True)
class Preference:
    """How two rankers compare.

    Attributes:
        first, second: Places of the rankers.
        advantage: Credit of the second above the first, a user, with its interval.
        p_value: Two-sided, over users, of no preference.
    """

    first: int
    second: int
    advantage: Interval
    p_value: float


def team_draft(lists: Sequence[Sequence[int] | Ints], count: int, seed: int, request: int) -> Draft:
    """One list out of several, of two rankers (team draft) or more (team-draft multileaving).

    Args:
        lists: Each ranker's items, best first.
        count: How long the list is; shorter where all rankers have run out.
        seed, request: What the draws are a function of: the same request gets the same list again.

    Raises:
        LaunchError: There are fewer than two rankers, or one names an item twice (``launch-070``).
    """
    ranked = [[int(item) for item in one] for one in lists]
    if len(ranked) < 2 or any(len(set(one)) < len(one) for one in ranked):
        raise LaunchError(
            f"found {len(ranked)} lists of {[len(one) for one in ranked]} items, expected two or more without repeats",
            code="launch-070",
            hint="a ranker names each item once, best first",
        )
    items: list[int] = []
    teams: list[int] = []
    taken: set[int] = set()
    at = [0] * len(ranked)
    turn = 0
    while len(items) < count:
        before = len(items)
        order = np.argsort(uniforms(seed, request, turn, np.arange(len(ranked))), kind="stable")
        for team in order.tolist():
            mine = ranked[team]
            while at[team] < len(mine) and mine[at[team]] in taken:
                at[team] += 1
            if at[team] < len(mine) and len(items) < count:
                taken.add(mine[at[team]])
                items.append(mine[at[team]])
                teams.append(team)
        if len(items) == before:
            break
        turn += 1
    return Draft(np.array(items, np.int64), np.array(teams, np.int64))


def credits(draft: Draft, gains: Floats, rankers: int) -> Floats:
    """What each ranker earned on one list.

    Args:
        draft: The list that was shown.
        gains: What each place brought, such as 1 for a click.
        rankers: How many there are.

    Shapes: gains ``[n]``, answer ``[rankers]``.
    """
    if len(gains) != len(draft.items) or not np.isfinite(gains).all():
        raise LaunchError(
            f"found {len(gains)} gains of {len(draft.items)} places, expected one finite number a place",
            code="launch-070",
            hint="a place without a click has the gain 0",
        )
    return np.bincount(draft.teams, gains, rankers).astype(np.float64)


def preferences(earned: Floats, users: NDArray[np.generic], level: float = 0.95) -> list[Preference]:
    """Which rankers are preferred, pair by pair, with users as the independent units.

    Several pairs are several questions: halve the doubt yourself, or look only at the one that was asked before.

    Args:
        earned: Credit of each ranker on each list.
        users: Whose list it was.
        level: Of the intervals.

    Raises:
        LaunchError: Fewer than two users, or shapes differ (``launch-071``).

    Shapes: earned ``[lists, rankers]``, users ``[lists]``.
    """
    found, codes = np.unique(users, return_inverse=True)
    if earned.ndim != 2 or len(earned) != len(codes) or len(found) < 2:
        raise LaunchError(
            f"found credit {earned.shape} of {len(found)} users, expected lists by rankers of two users or more",
            code="launch-071",
            hint="one row a list that was shown, one column a ranker",
        )
    sums = np.stack([np.bincount(codes, one, len(found)).astype(np.float64) for one in earned.T], axis=1)
    told = []
    for first in range(sums.shape[1]):
        for second in range(first + 1, sums.shape[1]):
            told.append(_preference(first, second, sums[:, second] - sums[:, first], level))
    return told


def _preference(first: int, second: int, ahead: Floats, level: float) -> Preference:
    users, mean = len(ahead), float(ahead.mean())
    error = math.sqrt(float(ahead.var(ddof=1)) / users)
    reach = float(stdtrit(users - 1, (1 + level) / 2)) * error
    p_value = float(2 * stdtr(users - 1, -abs(mean) / error)) if error else float(mean == 0)
    return Preference(
        first, second, Interval(mean - reach, mean, mean + reach, level, users, "users, Student's t"), p_value
    )
