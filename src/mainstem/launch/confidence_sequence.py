"""How sure may one be at any moment, however often one looks? One-sided normal-mixture confidence sequences.

Source: Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021 (arXiv 1810.08240), the closed form of the one-sided mixture;
Waudby-Smith et al. (arXiv 2103.06476) for means of anything with a variance, when users are many.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.base.errors import LaunchError
from mainstem.launch.spending import check_share_of_error


def mixture_bound(information: ArrayLike, alpha: float, best_at: float) -> NDArray[np.float64]:
    """What a z statistic must exceed, at any look whatever; infinite where there is no information yet.

    With no effect the chance that it ever does is at most ``alpha``, over all looks together.

    Args:
        information: Users, or share of the planned maximum; the same measure as ``best_at``.
        alpha: One-sided chance.
        best_at: The information at which the bound is tightest.

    Raises:
        LaunchError: alpha is out of bounds (``launch-002``), or information is negative or not finite (``launch-003``).

    Shapes: information ``[looks]``, answer ``[looks]``.
    """
    check_share_of_error("alpha", alpha)
    at = np.asarray(information, np.float64)
    if not (np.isfinite(at).all() and (at >= 0).all() and 0 < best_at < math.inf):
        raise LaunchError(
            f"found information {information} with the best at {best_at}, expected finite numbers, 0 or above",
            code="launch-003",
            hint="information is users, or their share of the planned maximum",
        )
    log = -2 * math.log(2 * alpha)
    grown = at * (log + math.log1p(log)) / best_at + 1
    with np.errstate(divide="ignore"):
        return np.sqrt(2 * grown / (grown - 1) * np.log1p(np.sqrt(grown) / (2 * alpha)))


def half_width(users: ArrayLike, deviation: float, alpha: float, best_at: float) -> NDArray[np.float64]:
    """How far below (or above) an estimate its true value may lie, at every sample size at once.

    Args:
        users: How many users the estimate rests on.
        deviation: Standard deviation of one user, so that the estimate's error is ``deviation / sqrt(users)``.
        alpha: One-sided chance that it is ever farther.
        best_at: Users at which the sequence is tightest.

    Shapes: users ``[looks]``, answer ``[looks]``.
    """
    at = np.asarray(users, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(at > 0, deviation / np.sqrt(at) * mixture_bound(at, alpha, best_at), np.inf)
