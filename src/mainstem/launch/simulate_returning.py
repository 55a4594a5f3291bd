"""Fifteen ways of coming back: do the bounds by users' own pulls keep their word when the plain ones do not?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mainstem.launch.boundaries import boundaries
from mainstem.launch.characteristic import Characteristic, false_rate, share
from mainstem.launch.confidence_sequence import mixture_bound
from mainstem.launch.returning import Looks, calendar, correlated_bounds, mean_pulls
from mainstem.launch.spending import ALPHA, EXTENSION_RESERVE

Floats = NDArray[np.float64]
DAYS = 28
RETURNS = (0.1, 0.3, 0.5, 0.8, 1.0)
"""Chance to come back on any later day."""
METRICS = (("mean, own tastes", 1.0, True), ("mean, daily luck", 0.3, True), ("total", 1.0, False))
"""Name, spread of tastes between users over that within them, and whether it is a mean over a user's days."""
_GROWTH = 0.6
_KNOWN, _TRUTH, _TABLES, _DRAWS = 4_000, 30_000, 4, 40_000
_PLANNED = 14
"""The planned end of a test that goes on."""


def returning_users(runs: int, seed: int) -> Iterator[Characteristic]:
    """Type I errors of all cases, with the correlation estimated from a few thousand users.

    The estimates of looks are drawn from the normal distribution that very many users give; bounds know only the pulls of
    4,000 users an arm. What the plain bounds do, with users as information, stands beside it for comparison.
    """
    plain, always, past = [], [], []
    for number, (back, metric) in enumerate(product(RETURNS, METRICS)):
        name, taste, averaged = metric
        rng = np.random.default_rng([seed, number])
        pulls, users = case_pulls(_TRUTH, back, taste, averaged, rng)
        truth = Looks.of_pulls(pulls).correlation
        root = np.linalg.cholesky(truth + 1e-9 * np.eye(DAYS))
        z = rng.standard_normal((runs, DAYS)) @ root.T
        hits, longer = 0, 0
        for table, part in enumerate(np.array_split(z, _TABLES)):
            known = [case_pulls(_KNOWN, back, taste, averaged, rng)[0] for _ in range(2)]
            correlation = Looks.of_pulls(*known).correlation
            luck = _TABLES * number + table
            bound = correlated_bounds(correlation, calendar(DAYS, DAYS), ALPHA, draws=_DRAWS, seed=luck)
            hits += int((part >= bound).any(1).sum())
            if table == 0:
                clock, kept = calendar(DAYS, _PLANNED), ALPHA - EXTENSION_RESERVE
                bound = correlated_bounds(correlation, clock, kept, reserve=EXTENSION_RESERVE, draws=_DRAWS, seed=luck)
                longer = int((z >= bound).any(1).sum())
        past.append(longer)
        yield false_rate("returning users", f"{name}, {back:.0%} come back a day", hits, runs, ALPHA)
        seen = users / users[-1]
        rising = np.maximum.accumulate(seen) + 1e-3 * calendar(DAYS, DAYS)
        always.append(int((z >= mixture_bound(seen, ALPHA, 0.1)).any(1).sum()))
        plain.append(int((z >= boundaries(rising / rising[-1]).bound).any(1).sum()))
    yield false_rate(
        "returning users", "largest of the rollback's bound at .05, users as information", max(always), runs, ALPHA
    )
    told = f"largest when the test goes on from day {_PLANNED} to {DAYS} by the reserve"
    yield false_rate("returning users", told, max(past), runs, ALPHA)
    yield share("returning users", "largest of the plain bounds, users as information", max(plain), runs)


def case_pulls(
    count: int, back: float, taste: float, averaged: bool, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Pulls of made users, and how many had been seen by each day; see ``case_values``.

    Shapes: ``[users, days]`` and ``[days]``.
    """
    values, seen = case_values(count, back, taste, averaged, rng)
    return mean_pulls(values, seen), seen.sum(0).astype(np.float64)


def case_values(
    count: int, back: float, taste: float, averaged: bool, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_]]:
    """What made users are worth by each day, and whether they had been seen by then.

    Users arrive as ``day ** .6`` and come back each day with a fixed chance. A visit is worth 1, the user's taste and luck.

    Shapes: both ``[users, days]``.
    """
    first = np.searchsorted((np.arange(1, DAYS + 1) / DAYS) ** _GROWTH, rng.random(count))
    day = np.arange(DAYS)
    visits = (rng.random((count, DAYS)) < back) & (day > first[:, None]) | (day == first[:, None])
    worth = 1.0 + taste * rng.standard_normal((count, 1)) + rng.standard_normal((count, DAYS))
    total, times, seen = (worth * visits).cumsum(1), visits.cumsum(1), day >= first[:, None]
    return total / np.maximum(times, 1) if averaged else total, seen
