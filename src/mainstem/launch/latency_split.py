"""Did the new ranking help, or did its delay hurt? An arm with the old ranking and the new delay tells them apart.

Arms: C, the old stack; C+, the old stack with delay added until its latency is that of the new one; T, the new stack. Then
``T - C = (C+ - C) + (T - C+)``: the price of waiting on the old ranking, and the ranking at equal latency. It is an identity,
so no shape of response to latency is assumed. What the new ranking would do without its delay was not served, and is not said.

A dose arm with a larger, fixed delay prices 100 ms by a straight line; whether the line fits is tested, since a line that
does not fit must not be used to split anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, ndtri

from mainstem.base.errors import LaunchError
from mainstem.evaluate.intervals import Interval
from mainstem.launch.contrast import ArmMean

LEVEL: Final = 0.95
LARGEST_SHARE: Final = 0.10
LONGEST_DAYS: Final = 7.0


@dataclass(frozen=True, slots=True)
class LatencySplit:
    """Where a change comes from, in the metric's units and as shares of the old mean; each pair adds to its total.

    Attributes:
        total: New minus old.
        latency: Old ranking with the new delay, minus old.
        ranking: New, minus old ranking with the new delay.
        relative: The same three over the old mean, with its noise, in the same order; empty if that mean is 0.
    """

    total: Interval
    latency: Interval
    ranking: Interval
    relative: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class DelayArm:
    """An arm of the old ranking with so much delay added, in the mean.

    Units: added_ms in milliseconds.
    """

    added_ms: float
    metric: ArmMean


@dataclass(frozen=True, slots=True)
class DelayPrice:
    """What 100 ms cost on the old ranking, if the response is a straight line.

    Attributes:
        per_100_ms: Change of the metric for 100 ms more.
        misfit: Chi-square of the arms around the line.
        freedom: Arms less two.
        misfit_p: Chance of a misfit this large if the line is true; NaN for two arms, which always fit.
    """

    per_100_ms: Interval
    misfit: float
    freedom: int
    misfit_p: float

    @property
    def is_straight(self) -> bool:
        """Whether nothing speaks against the line at .05; with two arms nothing could, so it is not claimed."""
        return self.misfit_p >= 0.05


def split_latency(old: ArmMean, matched: ArmMean, new: ArmMean, level: float = LEVEL) -> LatencySplit:
    """How much of the change is waiting, and how much is ranking?

    Args:
        old: C, the control.
        matched: C+, the old ranking at the new one's latency.
        new: T.
        level: Of the two-sided intervals.
    """
    arms = (old, matched, new)
    pulls = ((-1.0, 0.0, 1.0), (-1.0, 1.0, 0.0), (0.0, -1.0, 1.0))
    total, latency, ranking = (_combined(arms, pull, 1.0, level) for pull in pulls)
    relative = tuple(_combined(arms, pull, old.mean, level, share=True) for pull in pulls) if old.mean else ()
    return LatencySplit(total, latency, ranking, relative)


def price_delay(arms: Sequence[DelayArm], level: float = LEVEL) -> DelayPrice:
    """What do 100 ms cost, and is it a straight line? Weighted least squares over the control, the matched and the dose arms.

    Args:
        arms: All of the old ranking; the control with 0 added.
        level: Of the two-sided interval.

    Raises:
        LaunchError: Fewer than two different delays, or an arm whose metric does not vary (``launch-014``).
    """
    added = np.array([one.added_ms for one in arms], np.float64)
    error = np.array([one.metric.error for one in arms])
    if len(set(added.tolist())) < 2 or not np.isfinite(added).all() or not (error > 0).all():
        raise LaunchError(
            f"found arms with delays of {added.tolist()} ms and squared errors {error.tolist()}, expected two different "
            "delays and metrics that vary",
            code="launch-014",
            hint="give the control with 0 ms, the matched arm and a dose arm",
        )
    weight, y = 1 / error, np.array([one.metric.mean for one in arms])
    middle = float(weight @ added / weight.sum())
    spread = float(weight @ (added - middle) ** 2)
    slope = float(weight @ ((added - middle) * y)) / spread
    apart = y - float(weight @ y / weight.sum()) - slope * (added - middle)
    misfit, freedom = float(weight @ apart**2), len(arms) - 2
    users = int(sum(one.metric.users for one in arms))
    price = _interval(
        100 * slope, 100 / math.sqrt(spread), level, users, "weighted least squares over arms of added delay"
    )
    return DelayPrice(price, misfit, freedom, float(chdtrc(freedom, misfit)) if freedom else math.nan)


def check_slowdown(share: float, days: float) -> None:
    """Is an arm that hurts users on purpose small and short enough?

    Raises:
        LaunchError: It holds more than 10 % of users or runs longer than 7 days (``launch-015``).
    """
    if not (0 < share <= LARGEST_SHARE and 0 < days <= LONGEST_DAYS):
        raise LaunchError(
            f"found a slowed arm with {share:.1%} of users for {days:g} days, expected {LARGEST_SHARE:.0%} and "
            f"{LONGEST_DAYS:g} days at most",
            code="launch-015",
            hint="slowed arms cost users something; they stay under the same hourly rollback",
        )


def _combined(
    arms: tuple[ArmMean, ...], pull: tuple[float, ...], over: float, level: float, *, share: bool = False
) -> Interval:
    """A sum of arm means with these weights; as a share of the first arm's mean, that mean's noise counts too."""
    value = sum(weight * arm.mean for weight, arm in zip(pull, arms, strict=True)) / over
    slopes = [weight / over for weight in pull]
    if share:
        slopes[0] -= value / over
    error = math.sqrt(sum(slope**2 * arm.error for slope, arm in zip(slopes, arms, strict=True)))
    return _interval(value, error, level, int(sum(arm.users for arm in arms)), "users, delta method")


def _interval(mid: float, error: float, level: float, users: int, source: str) -> Interval:
    reach = float(ndtri((1 + level) / 2)) * error
    return Interval(mid - reach, mid, mid + reach, level, users, source)


def finite_ms(name: str, values: ArrayLike) -> np.ndarray:
    """Latencies as an array.

    Raises:
        LaunchError: There are none, or some are negative or not finite (``launch-014``).
    """
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all() or (found < 0).any():
        raise LaunchError(
            f"found {name} latencies of shape {found.shape}, expected one or more finite ones, 0 or above",
            code="launch-014",
            hint="requests that timed out are counted at their time-out, not left out",
        )
    return found
