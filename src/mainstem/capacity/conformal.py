"""How wide an interval has to be when each past day was a world of its own: the worst of them decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import CapacityError

LEAST = 10
"""Values that a day needs before its quantiles say anything."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A range for something not seen yet.

    Args:
        low: Its lower end.
        high: Its upper end.
        days: How many past days it was learned from.
        values: How many values those had.
    """

    low: float
    high: float
    days: int
    values: int

    def holds(self, found: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of these values lie in it."""
        return (found >= self.low) & (found <= self.high)


def pooled(days: Sequence[NDArray[np.float64]], share: float = 0.8) -> Interval:
    """The range of this share of all past values, as if one day were like another.

    Raises:
        CapacityError: ``capacity-060`` for no day with enough values, or a share outside (0, 1).
    """
    kept = _enough(days, share)
    low, high = np.quantile(np.concatenate(kept), _ends(share))
    return Interval(float(low), float(high), len(kept), sum(one.size for one in kept))


def worst_day(days: Sequence[NDArray[np.float64]], share: float = 0.8) -> Interval:
    """The range that would have held this share of the values of every past day.

    Days that differ more among themselves than values within a day make pooled quantiles too narrow for a day to come;
    the outermost day's quantiles are valid when the day to come is no worse than the worst one seen.

    Args:
        days: Values of each past day, such as actual over planned.
        share: The share to hold.

    Raises:
        CapacityError: ``capacity-060`` for no day with enough values, or a share outside (0, 1).

    Source: Duchi, Gupta, Jiang and Sur, Predictive inference in multi-environment scenarios, 2024.
    """
    kept = _enough(days, share)
    ends = np.array([np.quantile(one, _ends(share)) for one in kept])
    return Interval(float(ends[:, 0].min()), float(ends[:, 1].max()), len(kept), sum(one.size for one in kept))


def _ends(share: float) -> tuple[float, float]:
    return (1.0 - share) / 2.0, (1.0 + share) / 2.0


def _enough(days: Sequence[NDArray[np.float64]], share: float) -> list[NDArray[np.float64]]:
    kept = [one for one in days if one.size >= LEAST]
    if not kept or not 0.0 < share < 1.0 or not all(np.isfinite(one).all() for one in kept):
        raise CapacityError(
            f"found {len(kept)} of {len(days)} days with {LEAST} values and more for a share of {share}, "
            "expected at least one, finite values and a share in (0, 1)",
            code="capacity-060",
            hint="gather more past days before an interval is stated",
        )
    return kept
