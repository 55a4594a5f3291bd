"""How much of alpha may be spent by now? Four spending functions of the share of information that has been seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from mainstem.base.errors import LaunchError, did_you_mean

ALPHA: Final = 0.05
"""One-sided chance of passing what is exactly a margin worse, for each metric."""
EXTENSION_RESERVE: Final = 0.005
"""The part of alpha that a confidence sequence holds, so that a test may go on after its last planned look."""
HSD_GAMMA: Final = -4.0


def power_spending(share: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Alpha times the square of the share; the default.

    Source: Kim and DeMets 1987, power family with exponent 2.
    """
    return alpha * share**2


def hsd_spending(share: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """The gamma family with gamma -4: little early, much late.

    Source: Hwang, Shih and De Cani 1990.
    """
    return alpha * np.expm1(-HSD_GAMMA * share) / math.expm1(-HSD_GAMMA)


def obf_spending(share: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Almost nothing early; its bounds are close to those of O'Brien and Fleming.

    Source: Lan and DeMets 1983.
    """
    with np.errstate(divide="ignore"):
        return 2 * ndtr(ndtri(alpha / 2) / np.sqrt(share))


def pocock_spending(share: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Much early; its bounds are close to Pocock's constant one.

    Source: Lan and DeMets 1983.
    """
    return alpha * np.log1p((math.e - 1) * share)


Spend = Callable[[NDArray[np.float64], float], NDArray[np.float64]]
SPENDING: Final[dict[str, Spend]] = {
    "t2": power_spending,
    "hsd": hsd_spending,
    "obf": obf_spending,
    "pocock": pocock_spending,
}
"""By the names that a plan uses."""


def spent(share: ArrayLike, alpha: float = ALPHA, spending: str = "t2") -> NDArray[np.float64]:
    """How much of alpha may have been spent at each share of information; all of it from 1 on.

    Args:
        share: Information over the planned maximum, 0 or above.
        alpha: All there is to spend.
        spending: ``t2``, ``hsd``, ``obf`` or ``pocock``.

    Raises:
        LaunchError: The function is unknown (``launch-001``), or alpha is not between 0 and one half (``launch-002``).

    Shapes: share ``[looks]``, answer ``[looks]``.
    """
    check_share_of_error("alpha", alpha)
    if spending not in SPENDING:
        raise LaunchError(
            f"found the spending function {spending!r}, expected one of {', '.join(SPENDING)}",
            code="launch-001",
            hint=did_you_mean(spending, SPENDING),
        )
    return SPENDING[spending](np.clip(np.asarray(share, np.float64), 0.0, 1.0), alpha)


def check_share_of_error(name: str, value: float) -> None:
    """Refuses an error rate that is not between 0 and one half.

    Raises:
        LaunchError: It is not (``launch-002``).
    """
    if not 0 < value < 0.5:
        raise LaunchError(
            f"found {name} of {value}, expected a chance between 0 and .5",
            code="launch-002",
            hint="5 % is written 0.05",
        )
