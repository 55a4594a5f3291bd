"""Is the new stack not worse than the old one, by margins that were declared before? Undecided is never neutral."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ConfigError
from mainstem.evaluate.intervals import Interval

State = Literal["not worse", "worse", "undecided"]
NOT_WORSE: Final[State] = "not worse"
WORSE: Final[State] = "worse"
UNDECIDED: Final[State] = "undecided"

FEWEST_USERS: Final = 20
"""Below this many users no interval is trusted, and nothing is decided."""


@dataclass(frozen=True, slots=True)
class Margin:
    """How much worse may a metric be, said before anybody looks?

    Args:
        metric: A column of the outcomes: ``value``, ``watch`` (seconds) or a head.
        loss: The largest loss that is accepted: a share of the old stack's figure, or an amount a request if not ``relative``.
        relative: Whether ``loss`` is a share.
        lower_is_better: True for harm such as ``hate``.
    """

    metric: str
    loss: float
    relative: bool = True
    lower_is_better: bool = False

    def __post_init__(self) -> None:
        if not self.loss > 0:
            raise ConfigError(
                f"margin of {self.metric!r} is {self.loss}, expected above 0",
                code="config-911",
                hint="no finite experiment can show a loss of exactly 0; 3 % is written 0.03",
            )


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric at one look.

    Attributes:
        old, new: The figure a request under each stack.
        change: New minus old a request, with its interval.
        clearance: How far the new figure lies above the worst that is accepted; the margin is part of it, so that the noise of the
            old figure counts. Not worse when all of it is above 0, worse when all of it is below.
        widened: By what factor the declared margin was widened at this step.
    """

    margin: Margin
    old: float
    new: float
    change: Interval
    clearance: Interval
    widened: float
    state: State


def read_metric(
    margin: Margin,
    old: NDArray[np.float64],
    new: NDArray[np.float64],
    requests: NDArray[np.float64],
    *,
    alpha: float = 0.05,
    looks: int = 1,
    widened: float = 1.0,
) -> Reading:
    """Is this metric not worse than declared?

    Users are the independent units; both stacks answered the same requests, so the difference is taken within each user. Each
    bound is one-sided at ``alpha`` shared over the looks (Bonferroni), so that looking again cannot turn chance into a pass.

    Args:
        margin: The margin, before widening.
        old: The sum of the metric over each user's requests under the old stack.
        new: The same under the new stack.
        requests: Requests of each user.
        alpha: Chance of passing something that is just as bad as the margin, over all looks.
        looks: How many looks were planned.
        widened: Factor on the margin at this step.

    Shapes:
        old, new, requests [users].
    """
    sign = -1.0 if margin.lower_is_better else 1.0
    allowed = margin.loss * widened * (old if margin.relative else requests)
    # One event that was not seen may still happen: a rare harm is never known better than that.
    floor = 1.0 / requests.sum() if margin.lower_is_better else 0.0
    level = 1 - 2 * alpha / looks
    clearance = _mean_a_request(sign * (new - old) + allowed, requests, level, floor)
    few = len(requests) < FEWEST_USERS
    state = NOT_WORSE if clearance.low > 0 else WORSE if clearance.high < 0 else UNDECIDED
    return Reading(
        margin,
        old=float(old.sum() / requests.sum()),
        new=float(new.sum() / requests.sum()),
        change=_mean_a_request(new - old, requests, level, floor),
        clearance=clearance,
        widened=widened,
        state=UNDECIDED if few else state,
    )


def _mean_a_request(sums: NDArray[np.float64], requests: NDArray[np.float64], level: float, floor: float) -> Interval:
    """The mean of a sum over users' requests, by the delta method for a ratio, with Student's correction for few users."""
    users, total = len(sums), requests.sum()
    mid = sums.sum() / total
    apart = sums - mid * requests
    error = np.sqrt(users / max(users - 1, 1) * (apart**2).sum()) / total
    reach = _student(level, max(users - 1, 1)) * np.hypot(error, floor)
    return Interval(float(mid - reach), float(mid), float(mid + reach), level, users, "users as clusters, delta method")


def _student(level: float, freedom: int) -> float:
    """Two-sided Student quantile by its expansion around the normal one; within .002 from 19 degrees of freedom on at .95.

    Source: Abramowitz and Stegun 26.7.5.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
