"""May the new arm stay up? Two budgets of false alarm: one that rolls back by itself every hour, one that pauses every day.

The first may never be wrong more than once in a hundred whole ramps, over all metrics and hours; it finds large harm within
hours. The second is a group-sequential test of harm that finds what is a margin worse; it asks a person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.base.errors import LaunchError
from mainstem.launch.boundaries import boundaries
from mainstem.launch.confidence_sequence import mixture_bound
from mainstem.launch.spending import check_share_of_error

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Budgets:
    """What may be spent on alarms about something harmless, over a whole ramp and all metrics.

    Args:
        metrics: How many metrics are watched; each gets an equal part.
        false_rollback: Chance of a false automatic rollback.
        false_pause: Chance of a false pause.
        best_at: Share of the planned maximum at which the hourly bound is tightest.
        spending: How the pauses' part is spent over the days.
    """

    metrics: int
    false_rollback: float = 0.01
    false_pause: float = 0.05
    best_at: float = 0.1
    spending: str = "t2"

    def __post_init__(self) -> None:
        check_share_of_error("the budget of rollbacks", self.false_rollback)
        check_share_of_error("the budget of pauses", self.false_pause)
        if self.metrics < 1 or not 0 < self.best_at <= 1:
            raise LaunchError(
                f"found budgets over {self.metrics} metrics, tightest at {self.best_at}, expected 1 or more and a share",
                code="launch-008",
                hint="every primary and guardrail is watched",
            )

    def rollback_bound(self, information: ArrayLike) -> Floats:
        """How far above 0 may the statistic of harm go before the ramp is rolled back, at any information?

        Shapes: information ``[looks]``, answer ``[looks]``.
        """
        return mixture_bound(information, self.false_rollback / self.metrics, self.best_at)

    def pause_bound(self, information: ArrayLike) -> Floats:
        """The same before it is paused; information rises from look to look.

        Shapes: information ``[looks]``, answer ``[looks]``.
        """
        return boundaries(information, self.false_pause / self.metrics, self.spending).bound


def first_alarm(better: ArrayLike, bound: ArrayLike) -> int | None:
    """At which look, counted from 0, was harm first past its bound? None if never.

    Args:
        better: The statistic against "no better" (``Contrast.better``); harm is below 0.
        bound: From ``rollback_bound`` or ``pause_bound``.

    Raises:
        LaunchError: One is longer than the other, or a statistic is not a number (``launch-009``).

    Shapes: both ``[looks]``.
    """
    z, limit = np.asarray(better, np.float64), np.asarray(bound, np.float64)
    if z.shape != limit.shape or np.isnan(z).any():
        raise LaunchError(
            f"found {z.shape} statistics for {limit.shape} bounds, expected a number for each look",
            code="launch-009",
            hint="leave out looks at which a metric could not be computed",
        )
    found = np.flatnonzero(-z >= limit)
    return int(found[0]) if len(found) else None
