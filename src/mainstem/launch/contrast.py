"""How far is the new arm from its margins? Linear contrasts of two means, and two one-sided tests.

A relative margin is a share of a mean that is itself measured: ``new - (1 - d) old`` counts the noise of the old mean, where
a margin in fixed units does not. It needs no logarithm, which fails when few users hold most of a sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtr, stdtr

from mainstem.base.errors import LaunchError

Direction = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class ArmMean:
    """What is known of a metric in one arm.

    Args:
        users: How many independent units.
        mean: Their mean; of a ratio, the ratio.
        variance: Of one unit, with the delta method and CUPED already in it, so that the mean's own is ``variance / users``.

    Raises:
        LaunchError: Fewer than two units, or a mean or variance that is not finite or is negative (``launch-005``).
    """

    users: float
    mean: float
    variance: float

    def __post_init__(self) -> None:
        finite = math.isfinite(self.users) and math.isfinite(self.mean) and math.isfinite(self.variance)
        if not finite or self.users < 2 or self.variance < 0:
            raise LaunchError(
                f"found an arm of {self.users:g} users with mean {self.mean} and variance {self.variance}, expected two "
                "users or more and finite numbers",
                code="launch-005",
                hint="an arm that nobody has entered yet has no verdict; NaN and infinite values are taken out before",
            )

    @property
    def error(self) -> float:
        """Squared standard error of the mean."""
        return self.variance / self.users


@dataclass(frozen=True, slots=True)
class Contrast:
    """One metric at one look; each statistic is normal with variance 1, and large when its claim is true.

    Attributes:
        not_worse: Against "a margin worse"; non-inferior if it crosses.
        not_better: Against "a margin better"; with ``not_worse`` it says equal within the margin.
        better: Against "no better"; minus it is against "no worse".
        change: New minus old.
        relative: Change over the old mean; NaN where that is 0.
        change_error: Standard error of the change.
        relative_error: Standard error of the relative change, by the delta method.
    """

    not_worse: float
    not_better: float
    better: float
    change: float
    relative: float
    change_error: float
    relative_error: float

    @property
    def equivalence(self) -> float:
        """The statistic of both one-sided tests together: the smaller of the two, for the larger p."""
        return min(self.not_worse, self.not_better)

    @property
    def equivalence_p(self) -> float:
        """The larger of the two one-sided p-values, as for a single look."""
        return float(ndtr(-self.equivalence))


def contrast(new: ArmMean, old: ArmMean, margin: float, direction: Direction = "up") -> Contrast:
    """How does the new arm stand to a relative margin on both sides?

    Args:
        new: The arm of the new stack.
        old: The control.
        margin: Largest relative loss that is accepted, above 0.
        direction: Which way is good.

    Raises:
        LaunchError: The margin is not between 0 and 1 (``launch-007``), or nothing varies in either arm (``launch-006``).
    """
    if not 0 < margin < 1:
        raise _bad_margin(margin)
    _check_varies(new, old)
    sign = 1.0 if direction == "up" else -1.0
    size = abs(old.mean) * margin / old.mean if old.mean else margin
    # The margin is on the side of the loss: below the old mean when up is good, above it when down is.
    worse, better = 1 - sign * size, 1 + sign * size
    change, error = new.mean - old.mean, math.sqrt(new.error + old.error)
    ratio = new.mean / old.mean if old.mean else math.nan
    return Contrast(
        not_worse=sign * _z(new, old, worse),
        not_better=-sign * _z(new, old, better),
        better=sign * change / error,
        change=change,
        relative=ratio - 1,
        change_error=error,
        relative_error=math.sqrt(new.error + ratio**2 * old.error) / abs(old.mean) if old.mean else math.nan,
    )


def _z(new: ArmMean, old: ArmMean, share: float) -> float:
    return (new.mean - share * old.mean) / math.sqrt(new.error + share**2 * old.error)


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Two one-sided t-tests at margins in the metric's own units.

    Attributes:
        p_low: Against "at or below the lower margin".
        p_high: Against "at or above the upper margin".
        p: The larger of the two; equal within the margins when it is small.
        freedom: Degrees of freedom.
    """

    p_low: float
    p_high: float
    p: float
    freedom: float


def equal_within(new: ArmMean, old: ArmMean, low: float, high: float, *, pooled: bool = True) -> Equivalence:
    """Is the difference of two means within fixed margins? Student's two one-sided tests, at one look.

    Args:
        new: The arm of the new stack.
        old: The control.
        low: Lower margin on new minus old.
        high: Upper margin.
        pooled: One variance for both arms; otherwise Welch's.

    Raises:
        LaunchError: Margins do not lie apart (``launch-007``), or nothing varies in either arm (``launch-006``).

    Source: Schuirmann 1987.
    """
    if not low < high:
        raise _bad_margin((low, high))
    _check_varies(new, old)
    if pooled:
        freedom = new.users + old.users - 2
        both = ((new.users - 1) * new.variance + (old.users - 1) * old.variance) / freedom
        error = math.sqrt(both * (1 / new.users + 1 / old.users))
    else:
        error = math.sqrt(new.error + old.error)
        freedom = error**4 / (new.error**2 / (new.users - 1) + old.error**2 / (old.users - 1))
    change = new.mean - old.mean
    p_low = float(stdtr(freedom, -(change - low) / error))
    p_high = float(stdtr(freedom, (change - high) / error))
    return Equivalence(p_low, p_high, max(p_low, p_high), freedom)


def _check_varies(new: ArmMean, old: ArmMean) -> None:
    if new.variance == 0 and old.variance == 0:
        raise LaunchError(
            f"found no variance in either arm (means {new.mean:g} and {old.mean:g}), expected a metric that varies",
            code="launch-006",
            hint="a metric that is the same for everybody shows nothing; check its column and its window",
        )


def _bad_margin(found: object) -> LaunchError:
    return LaunchError(
        f"found a margin of {found}, expected a share between 0 and 1, or a lower below an upper one",
        code="launch-007",
        hint="no finite experiment shows a loss of exactly 0; 1 % is written 0.01",
    )
