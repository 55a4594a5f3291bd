"""What if the same users come back? Bounds by the correlation that the looks really have.

A sequential test assumes that the statistic of a look is that of the last look plus something new and independent. Users
who are seen on many days break it: a mean over users then moves with everything a returning user does again. Here each
user's pull on the estimate is kept at every look; the products of these pulls say how looks hang together, and bounds are
found by drawing from a normal distribution with just that correlation. Alpha is spent by the calendar, which nobody can
bend. A bound needs only its own look and those before, so it holds as the days come in.

Source: influence functions and sandwich variance (Huber 1967); the peeking problem of returning users is Ankargren,
Frånberg and Schultzberg 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from mainstem.base.errors import LaunchError
from mainstem.launch.spending import ALPHA, check_share_of_error, spent

Floats = NDArray[np.float64]

DRAWS: Final = 100_000
_SEED: Final = 20_260
_SLOWING: Final = 4
"""The reserve left at a clock above 1 is its power to minus this: who goes on does so for days more often than for months."""
_NOTHING_NEW: Final = 1e-5
"""Share of a look's variance below which it is taken as the look before it."""


@dataclass(frozen=True, slots=True)
class Looks:
    """How the estimates of several looks vary together.

    Attributes:
        covariance: Of the estimates.
        correlation: The same with ones on the diagonal.

    Shapes: both ``[looks, looks]``.
    """

    covariance: Floats
    correlation: Floats

    @classmethod
    def of_pulls(cls, *arms: ArrayLike) -> Looks:
        """From each arm's users and their pulls on its estimate at every look.

        Args:
            arms: For each arm a table of pulls: of a mean over the users seen so far, ``(value - mean) / users`` for those and
                0 for users who are still to come; of a sum to date, the same over all users.

        Raises:
            LaunchError: Tables differ in looks, or hold what is not finite (``launch-010``).

        Shapes: each ``[users, looks]``.
        """
        tables = [np.asarray(one, np.float64) for one in arms]
        if len({one.shape[1:] for one in tables}) != 1 or any(one.ndim != 2 for one in tables):
            raise _bad_pulls(f"tables of shape {[one.shape for one in tables]}")
        covariance = sum((one.T @ one for one in tables), np.zeros(()))
        return cls.of_covariance(covariance)

    @classmethod
    def of_covariance(cls, covariance: ArrayLike) -> Looks:
        """From the covariance itself, such as one kept up day by day.

        Raises:
            LaunchError: It is not square, not finite or has no variance at some look (``launch-010``).

        Shapes: covariance ``[looks, looks]``.
        """
        found = np.asarray(covariance, np.float64)
        if found.ndim != 2 or found.shape[0] != found.shape[1] or not np.isfinite(found).all():
            raise _bad_pulls(f"a covariance of shape {found.shape}, or one that is not finite")
        if (np.diag(found) <= 0).any():
            raise _bad_pulls(f"no variance at look {int(np.argmin(np.diag(found))) + 1}")
        deviation = np.sqrt(np.diag(found))
        return cls(found, found / np.outer(deviation, deviation))


def mean_pulls(values: ArrayLike, seen: ArrayLike) -> Floats:
    """How each user pulls on the mean over those seen so far, look by look.

    Args:
        values: Each user's value at each look; what stands where it is not seen is not read.
        seen: Whether the user has been seen by then.

    Raises:
        LaunchError: Nobody has been seen at some look, or a value that counts is not finite (``launch-010``).

    Shapes: values and seen ``[users, looks]``, answer ``[users, looks]``.
    """
    here = np.asarray(seen, bool)
    known = np.where(here, np.asarray(values, np.float64), 0.0)
    count = here.sum(0)
    if not np.isfinite(known).all() or (count == 0).any():
        raise _bad_pulls("a look at which nobody was seen, or a value that is not finite")
    return np.where(here, known - known.sum(0) / count, 0.0) / count


def calendar(looks: int, planned: int) -> Floats:
    """The share of alpha's clock at each of the looks so far: by the day, whatever came in.

    Shapes: answer ``[looks]``.
    """
    return np.arange(1, looks + 1) / planned


def correlated_bounds(
    correlation: ArrayLike,
    clock: ArrayLike,
    alpha: float = ALPHA,
    spending: str = "t2",
    *,
    reserve: float = 0.0,
    draws: int = DRAWS,
    seed: int = _SEED,
) -> Floats:
    """What a z statistic must reach at each look, when looks are correlated like this.

    Paths are drawn once by their seed, evenly over each look (a Latin hypercube), and the chance to cross next is computed
    exactly given each path so far: what is left to luck moves an alpha of .05 by .0005 (one standard deviation).
    The bounds of the first looks do not change when more looks are added.

    Past the planned end (a clock above 1) nothing is left but the reserve. It is spent by the calendar too, ever more slowly and
    never wholly (``extended``), so a test may go on for as long as anybody likes, with every look's own correlation.

    Args:
        correlation: Between the statistics of the looks so far.
        clock: Share of the planned looks at each, fixed before the start.
        alpha: One-sided, up to the planned end.
        spending: See ``spent``.
        reserve: One-sided, for all looks after it.
        draws: Paths.
        seed: Of the draws.

    Raises:
        LaunchError: The correlation is not one (``launch-010``), or what ``spent`` raises.

    Shapes: correlation ``[looks, looks]``, clock and answer ``[looks]``.
    """
    root = _root(np.asarray(correlation, np.float64))
    used = spent(clock, alpha, spending) + extended(clock, reserve)
    if used.shape != root.shape[:1]:
        raise _bad_pulls(f"a correlation of {root.shape[0]} looks and a clock of {used.size}")
    paths = _drawn(len(used), draws, seed)
    alive = np.ones(draws, bool)
    bounds, before = np.full(len(used), np.inf), 0.0
    for k, now in enumerate(used):
        given, free = root[k, :k] @ paths[:k], float(root[k, k])
        if now > before:
            bounds[k] = _bound_for(now - before, given[alive], free, draws, bounds[k - 1] if k else 4.0)
            before = now
        alive &= given + free * paths[k] < bounds[k]
    return bounds


@lru_cache(maxsize=2)
def _drawn(looks: int, draws: int, seed: int) -> Floats:
    """The noise of the paths; the first looks are the same however many follow. Kept, since every claim of a day needs it.

    Shapes: ``[looks, draws]``.
    """
    rng = np.random.default_rng(seed)
    paths = np.empty((looks, draws))
    for row in paths:
        row[:] = ndtri((rng.permutation(draws) + rng.random(draws)) / draws)
    paths.flags.writeable = False
    return paths


def extended(clock: ArrayLike, reserve: float) -> Floats:
    """How much of the reserve may have been spent by a clock: none up to the planned end, three fifths a quarter past it.

    Raises:
        LaunchError: The reserve is below 0, or not below one half (``launch-002``).

    Shapes: clock and answer ``[looks]``.
    """
    if reserve:
        check_share_of_error("the reserve", reserve)
    return reserve * (1.0 - np.maximum(np.asarray(clock, np.float64), 1.0) ** -_SLOWING)


def _bound_for(wanted: float, given: Floats, free: float, draws: int, start: float) -> float:
    """Above which x does the wanted chance lie, among the paths that are still on?"""
    low, high, x = -10.0, 10.0, min(start, 6.0)
    for _ in range(60):
        away = (given - x) / free
        more = float(ndtr(away).sum()) / draws - wanted
        low, high = (x, high) if more > 0 else (low, x)
        slope = float(np.exp(-0.5 * away * away).sum()) / (draws * free * np.sqrt(2 * np.pi))
        ahead = x + more / slope if slope > 1e-12 else (low + high) / 2
        ahead = ahead if low < ahead < high else (low + high) / 2
        if abs(ahead - x) < 1e-6:
            return ahead
        x = ahead
    return x


def _root(correlation: Floats) -> Floats:
    """The lower triangle whose square is the correlation; a look that brings nothing new keeps a sliver of its own noise."""
    looks = len(correlation)
    if (
        correlation.shape != (looks, looks)
        or not np.isfinite(correlation).all()
        or np.abs(correlation).max() > 1 + 1e-6
    ):
        raise _bad_pulls(f"a correlation of shape {correlation.shape}")
    root = np.zeros((looks, looks))
    for k in range(looks):
        for j in range(k):
            root[k, j] = (correlation[k, j] - root[k, :j] @ root[j, :j]) / root[j, j]
        left = 1.0 - float(root[k, :k] @ root[k, :k])
        if left < -1e-4:
            raise _bad_pulls(f"a correlation that no numbers can have, at look {k + 1}")
        root[k, k] = np.sqrt(max(left, _NOTHING_NEW))
    return root


def _bad_pulls(found: str) -> LaunchError:
    return LaunchError(
        f"found {found}, expected each user's pull on the estimate at every look",
        code="launch-010",
        hint="one row for each user and one column for each look, from the first look on; take out NaN before",
    )
