"""How much slower or faster is the p50, p90, p99? Quantiles of many measurements a unit, with intervals over units.

Requests of one user are alike, so the share of requests below a point is a ratio of sums over users, and its error is that
of a ratio. Woodruff's interval reads the quantile at that share's two ends, with no density to guess; the difference of
two arms joins both one-arm intervals side by side (MOVER), so a long tail keeps its longer side.

Source: Woodruff 1952; Deng, Knoblich and Lu 2018; Zou and Donner 2008 (MOVER).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from mainstem.base.errors import LaunchError
from mainstem.evaluate.intervals import Interval

Floats = NDArray[np.float64]

FEWEST_UNITS = 20
"""Below this many units in an arm no interval is trusted."""


@dataclass(frozen=True, slots=True)
class QuantileEffect:
    """One quantile in two arms.

    Attributes:
        quantile: Between 0 and 1.
        control, treatment: Its interval in each arm; an end is infinite where the data do not reach.
        difference: New minus old.
    """

    quantile: float
    control: Interval
    treatment: Interval
    difference: Interval


@dataclass(frozen=True, slots=True)
class QuantileFigure:
    """One quantile of one arm as a figure with an error, for statistics that follow it from look to look.

    Attributes:
        value: The quantile.
        error: Its standard error over units.
        units: Those with a measurement, in order.
        pulls: How each of them pulls on the value; their squares add up to the error's.

    Shapes: units, pulls ``[units]``.
    """

    value: float
    error: float
    units: NDArray[np.generic]
    pulls: Floats


class Measurements:
    """The measurements of one arm, sorted once for any number of quantiles.

    Args:
        values: Such as latency in ms.
        units: Who they belong to.

    Raises:
        LaunchError: A value is NaN or infinite, or lengths differ (``launch-067``), or there are too few units (``launch-068``).

    Shapes: values, units ``[n]``.
    """

    def __init__(self, values: Floats, units: NDArray[np.generic]) -> None:
        values = np.asarray(values, np.float64)
        if values.shape != np.shape(units) or values.ndim != 1 or not np.isfinite(values).all():
            raise LaunchError(
                f"found values {values.shape} of units {np.shape(units)}, {int((~np.isfinite(values)).sum())} not finite; "
                "expected one unit and one finite number a measurement",
                code="launch-067",
                hint="a request that never ended has no latency: count it in a metric of failures",
            )
        self._units, codes = np.unique(units, return_inverse=True)
        self._per_unit = np.bincount(codes) if len(codes) else np.zeros(0, np.int64)
        if len(self._per_unit) < FEWEST_UNITS:
            raise LaunchError(
                f"found {len(self._per_unit)} units with measurements, expected {FEWEST_UNITS} or more in an arm",
                code="launch-068",
                hint="wait for more units",
            )
        order = np.argsort(values, kind="stable")
        self._values, self._codes = values[order], codes[order]

    @property
    def units(self) -> int:
        """How many units were measured."""
        return len(self._per_unit)

    def at(self, share: float) -> float:
        """The smallest value that this share of measurements does not exceed; infinite beyond the data."""
        if not 0 < share < 1:
            return -math.inf if share <= 0 else math.inf
        return float(self._values[max(math.ceil(share * len(self._values) - 1e-9) - 1, 0)])

    def interval(self, quantile: float, level: float = 0.95) -> Interval:
        """A quantile with its interval over units (Woodruff)."""
        mid = self.at(quantile)
        reach = float(stdtrit(self.units - 1, (1 + level) / 2)) * self._share_error(mid, quantile)
        return Interval(
            self.at(quantile - reach), mid, self.at(quantile + reach), level, self.units, "units as clusters, Woodruff"
        )

    def figure(self, quantile: float) -> QuantileFigure:
        """A quantile with its error and what each unit has to do with it.

        How far the value moves for a share of measurements is read two standard errors to either side, one where the data do
        not reach farther; where measurements are whole numbers and nothing moves within that, farther out.

        Raises:
            LaunchError: The data do not reach a standard error beyond the quantile, or do not vary there (``launch-110``).
        """
        value = self.at(quantile)
        step = self._share_error(value, quantile)
        inside = min(quantile, 1 - quantile) > 2 * step
        times, low, high = 1, value, value
        for times in (2, 4, 8) if inside else (1,):
            low, high = self.at(quantile - times * step), self.at(quantile + times * step)
            if high > low:
                break
        error = (high - low) / (2 * times)
        if not 0 < error < math.inf:
            raise LaunchError(
                f"found {len(self._values)} measurements of {self.units} units around quantile {quantile:g}, from {low:g} to "
                f"{high:g}; expected them to reach a standard error beyond it and to vary there",
                code="launch-110",
                hint="wait for more units, or promise a quantile nearer to the middle",
            )
        pulls = -self._apart(value)
        return QuantileFigure(value, error, self._units, pulls * (error / math.sqrt(float((pulls**2).sum()))))

    def _apart(self, point: float) -> Floats:
        """How many more measurements each unit has at or below a point than its share of them."""
        below = int(np.searchsorted(self._values, point, side="right"))
        mine = np.bincount(self._codes[:below], minlength=self.units)
        return mine - below / len(self._values) * self._per_unit

    def _share_error(self, point: float, share: float) -> float:
        """The standard error of the share of measurements at or below a point: a ratio of sums over units.

        Never below that of so many independent measurements: at the largest value nothing is above it to vary.
        """
        apart, count, units = self._apart(point), len(self._values), self.units
        clustered = math.sqrt(units / (units - 1) * float((apart**2).sum())) / count
        return max(clustered, math.sqrt(share * (1 - share) / count))


def quantile_effects(
    control: Measurements,
    treatment: Measurements,
    quantiles: Sequence[float] = (0.5, 0.9, 0.95, 0.99),
    level: float = 0.95,
) -> list[QuantileEffect]:
    """What changed in some quantiles between two arms, at one look; these intervals are not made for peeking.

    Raises:
        LaunchError: A quantile is not between 0 and 1 (``launch-067``).
    """
    found = []
    for quantile in quantiles:
        if not 0 < quantile < 1:
            raise LaunchError(
                f"found the quantile {quantile}, expected one between 0 and 1", code="launch-067", hint="p99 is 0.99"
            )
        old, new = control.interval(quantile, level), treatment.interval(quantile, level)
        mid = new.mid - old.mid
        low = mid - math.hypot(new.mid - new.low, old.high - old.mid)
        high = mid + math.hypot(new.high - new.mid, old.mid - old.low)
        both = Interval(low, mid, high, level, old.n + new.n, "units as clusters, Woodruff and MOVER")
        found.append(QuantileEffect(quantile, old, new, both))
    return found
