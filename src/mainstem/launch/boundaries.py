"""Where must a statistic be at each look to have crossed, when looks were many? Group-sequential bounds by integration.

The statistic is followed as a Brownian path: at information ``t`` it is normal with variance ``t``. What has not crossed yet
has a density on (-inf, bound), which is carried from look to look by Gauss and Legendre's rule; the next bound is where the
mass above it is what the spending function allows. Every look needs only the looks before it, so the same numbers come out
whether later looks are known or not.

Source: Armitage, McPherson and Rowe 1969; Lan and DeMets 1983; Jennison and Turnbull 2000, chapter 19.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from mainstem.base.errors import LaunchError
from mainstem.launch.spending import ALPHA, check_share_of_error, spent

Floats = NDArray[np.float64]

_REACH: Final = 8.0
"""Standard deviations that are followed on an open side; what lies beyond has a chance below 1e-15."""
_FEWEST_NODES: Final = 48
_NODES_A_STEP: Final = 3.0
"""Nodes for each standard deviation of one step; two would do for 1e-6."""
CLOSEST: Final = 1e-4
"""Two looks this close in information are one look."""


@dataclass(frozen=True, slots=True)
class Boundaries:
    """The bounds of one sequential test.

    Attributes:
        information: Share of the planned maximum at each look.
        bound: What the z statistic must reach at each look; infinite where nothing may be spent yet.
        spent: Alpha spent up to each look.

    Shapes: all ``[looks]``.
    """

    information: Floats
    bound: Floats
    spent: Floats

    def crossed(self, z: ArrayLike) -> int | None:
        """The first look at which a statistic crosses, counted from 0, or None."""
        found = np.flatnonzero(np.asarray(z, np.float64) >= self.bound[: np.size(z)])
        return int(found[0]) if len(found) else None


@dataclass(frozen=True, slots=True)
class Course:
    """What becomes of a test at a given drift.

    Attributes:
        crossing: Chance of crossing for the first time at each look.
        power: Chance of crossing at all.
        expected: Information at which the test ends, in the mean; the last look if it never crosses.
    """

    crossing: Floats
    power: float
    expected: float


def equal_looks(looks: int) -> Floats:
    """So many looks at equal steps of information, the last at 1.

    Raises:
        LaunchError: No looks at all (``launch-003``).
    """
    if looks < 1:
        raise _bad_information([looks])
    return np.arange(1, looks + 1) / looks


def boundaries(
    information: ArrayLike,
    alpha: float = ALPHA,
    spending: str = "t2",
    *,
    two_sided: bool = False,
    clock: ArrayLike | None = None,
) -> Boundaries:
    """The bounds at looks that were taken at these shares of information, equal steps or not.

    Args:
        information: Rising; above 1 nothing is left to spend, and the bound is infinite.
        alpha: Chance of crossing under no effect, on each side.
        spending: See ``spent``.
        two_sided: Whether a path also ends when it crosses minus the bound.
        clock: Spends alpha by this instead, such as the share of planned days, as looks of returning users do.

    Raises:
        LaunchError: Information does not rise or is not finite (``launch-003``), looks lie closer than 1e-4
            (``launch-004``), or what ``spent`` raises.

    Shapes: information ``[looks]``.
    """
    at = _checked(information)
    used = spent(at if clock is None else clock, alpha, spending)
    key = (tuple(at.tolist()), tuple(used.tolist()), two_sided)
    return Boundaries(at, np.array(_solve(*key)), used)


def course(bounds: Boundaries, drift: float, harm: Floats | None = None) -> Course:
    """How likely is it to cross at each look, when z at information 1 is normal around ``drift``?

    Args:
        bounds: The test.
        drift: Where its statistic lies at information 1.
        harm: How far below its mean the statistic may fall at each look before the path is stopped, as by a false alarm about
            something that changed nothing; at one look an alarm goes before a crossing.

    Shapes: harm ``[looks]``.
    """
    mass = np.zeros(len(bounds.bound))
    density = _Density(drift)
    stops = np.full(len(mass), np.inf) if harm is None else harm
    for k, (t, bound, stop) in enumerate(zip(bounds.information, bounds.bound, stops, strict=True)):
        density.to(float(t))
        floor = drift * float(t) - float(stop) * math.sqrt(t)
        top = max(float(bound) * math.sqrt(t), floor)
        mass[k] = density.above(top)
        density.cut(top, below=floor)
    power = float(mass.sum())
    expected = float(mass @ bounds.information + (1 - power) * bounds.information[-1])
    return Course(mass, power, expected)


def inflation(bounds: Boundaries, power: float = 0.9, alpha: float = ALPHA) -> float:
    """How much larger must the largest sample be than that of one single look, for the same power?

    Args:
        bounds: The test; its alpha may be less than that of the single look, as when some is kept in reserve.
        power: Wanted power.
        alpha: Of the single look.
    """
    check_share_of_error("1 - power", 1 - power)
    single = float(ndtri(1 - alpha) + ndtri(power))
    missing = brentq(lambda much: course(bounds, single * math.sqrt(much)).power - power, 0.2, 20.0, xtol=1e-6)
    return cast(float, missing) * float(bounds.information[-1])


class _Density:
    """The part of the paths that has not crossed, on nodes of Gauss and Legendre."""

    def __init__(self, drift: float = 0.0) -> None:
        self._drift = drift
        self._t = 0.0
        self._step = 0.0
        self._nodes = np.zeros(1)
        self._mass = np.ones(1)

    def to(self, t: float) -> None:
        self._step = math.sqrt(t - self._t)
        self._moved = self._nodes + self._drift * (t - self._t)
        self._t = t

    def above(self, x: float) -> float:
        """The chance to lie above x now and to have crossed nothing before."""
        return float(self._mass @ ndtr((self._moved - x) / self._step))

    def bound_for(self, wanted: float) -> float:
        """Above which x does so much mass lie? Newton's steps from a safe start, held within what was seen."""
        low, high = -_REACH * math.sqrt(self._t), (_REACH + 4) * math.sqrt(self._t)
        if self.above(high) > wanted or self.above(low) < wanted:
            return math.inf
        x = min(max(float(ndtri(1 - wanted)) * math.sqrt(self._t), low), high)
        for _ in range(100):
            more = self.above(x) - wanted
            low, high = (x, high) if more > 0 else (low, x)
            slope = float(self._mass @ np.exp(-(((self._moved - x) / self._step) ** 2) / 2))
            slope /= self._step * math.sqrt(2 * math.pi)
            ahead = x + more / slope if slope > 0 else low
            ahead = ahead if low < ahead < high else (low + high) / 2
            if abs(ahead - x) < 1e-11:
                return ahead
            x = ahead
        return x

    def cut(self, x: float, *, below: float = -math.inf) -> None:
        """Takes away what has crossed, and puts the rest on nodes of its own."""
        centre, spread = self._drift * self._t, _REACH * math.sqrt(self._t)
        top, bottom = min(x, centre + spread), max(below, centre - spread)
        if top <= bottom:
            self._nodes, self._mass = np.array([bottom]), np.zeros(1)
            return
        fine = min(self._step, math.sqrt(self._t))
        count = max(_FEWEST_NODES, math.ceil(_NODES_A_STEP * (top - bottom) / fine))
        places, weights = _legendre(16 * math.ceil(count / 16))
        nodes = bottom + (top - bottom) * (places + 1) / 2
        apart = (nodes[:, None] - self._moved[None, :]) / self._step
        kernel = np.exp(-0.5 * apart * apart)
        kernel /= self._step * math.sqrt(2 * math.pi)
        self._mass = (kernel @ self._mass) * weights * (top - bottom) / 2
        self._nodes = nodes


@lru_cache(maxsize=64)
def _legendre(count: int) -> tuple[Floats, Floats]:
    places, weights = np.polynomial.legendre.leggauss(count)
    return places, weights


@lru_cache(maxsize=256)
def _solve(information: tuple[float, ...], used: tuple[float, ...], two_sided: bool) -> tuple[float, ...]:
    density, found, before = _Density(), [], 0.0
    for t, now in zip(information, used, strict=True):
        density.to(t)
        bound = density.bound_for(now - before) if now > before else math.inf
        # What is too little for a number here is not lost: the next look may spend it.
        before = now if math.isfinite(bound) else before
        found.append(bound / math.sqrt(t))
        density.cut(bound, below=-bound if two_sided else -math.inf)
    return tuple(found)


def _checked(information: ArrayLike) -> Floats:
    at = np.asarray(information, np.float64)
    steps = np.diff(at, prepend=0.0)
    if at.ndim != 1 or not len(at) or not np.isfinite(at).all() or not (steps > 0).all():
        raise _bad_information(information)
    if (steps < CLOSEST).any():
        k = int(np.argmin(steps))
        raise LaunchError(
            f"found look {k + 1} only {steps[k]:.2g} of information after the one before, expected {CLOSEST:g} at least",
            code="launch-004",
            hint="leave this look out: nothing was learned since the last one",
        )
    return at


def _bad_information(found: object) -> LaunchError:
    return LaunchError(
        f"found looks at information {found}, expected finite numbers above 0 that rise",
        code="launch-003",
        hint="information is users (or what they weigh) over the planned maximum; leave out looks that bring no new user",
    )
