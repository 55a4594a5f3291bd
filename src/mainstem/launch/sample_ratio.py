"""Did assignment give each arm its share? An e-value that may be read after every user without a false alarm too many.

Under the declared shares the e-value is a martingale that starts at 1: the chance that it ever reaches 1,000 is at most
1/1,000, over all looks. So a fault of assignment or of logging is seen on the day it shows, and a healthy test stays valid.

Source: Lindon and Malek 2020 (arXiv 2011.03567), Dirichlet mixture over multinomial shares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from mainstem.base.errors import LaunchError

ALARM_AT: Final = 1_000.0
STRENGTH: Final = 20_000.0
"""How many users' worth the mixture is drawn to the declared shares; two equal arms get 10,000 each."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """One segment's counts against its declared shares.

    Attributes:
        segment: ``all``, or a surface, platform or day.
        log_e: Natural logarithm of the e-value.
        p: An always-valid p-value, 1 over the largest e-value.
        alarm: Whether it has ever reached its threshold.
        observed: Share of each arm.
    """

    segment: str
    log_e: float
    p: float
    alarm: bool
    observed: tuple[float, ...]


def log_e_value(counts: ArrayLike, shares: ArrayLike, strength: float = STRENGTH) -> NDArray[np.float64]:
    """The logarithm of the e-value of counts so far against declared shares; two arms are the beta-binomial case.

    Args:
        counts: Users of each arm, cumulative.
        shares: What was declared; they sum to 1.
        strength: See ``STRENGTH``.

    Raises:
        LaunchError: Counts are negative or not finite, or shares are not chances that sum to 1 (``launch-011``).

    Shapes: counts ``[..., arms]``, shares ``[arms]``, answer ``[...]``.
    """
    x, declared = np.asarray(counts, np.float64), np.asarray(shares, np.float64)
    good = declared.ndim == 1 and len(declared) > 1 and (declared > 0).all() and abs(declared.sum() - 1) < 1e-9
    if not good or x.shape[-1:] != declared.shape or not np.isfinite(x).all() or (x < 0).any():
        raise LaunchError(
            f"found counts of shape {x.shape} against shares {declared.tolist()}, expected counts of 0 or above, one for "
            "each arm, and shares above 0 that sum to 1",
            code="launch-011",
            hint="leave out arms that get no traffic, and divide shares by their sum",
        )
    prior = strength * declared
    mixed = gammaln(prior + x).sum(-1) - gammaln(strength + x.sum(-1)) - gammaln(prior).sum() + gammaln(strength)
    return mixed - x @ np.log(declared)


def check_sample_ratio(
    counts: ArrayLike, shares: ArrayLike, *, segment: str = "all", alarm_at: float = ALARM_AT
) -> SampleRatio:
    """Is the ratio broken, at any of the looks so far?

    Args:
        counts: Cumulative users of each arm at each look; one row if there was one look.
        shares: Declared shares.
        segment: What is counted.
        alarm_at: E-value that is an alarm.

    Shapes: counts ``[looks, arms]`` or ``[arms]``.
    """
    x = np.atleast_2d(np.asarray(counts, np.float64))
    path = log_e_value(x, shares)
    most = float(path.max())
    total = float(x[-1].sum())
    observed = tuple(float(one) / total if total else 0.0 for one in x[-1])
    return SampleRatio(
        segment, float(path[-1]), min(1.0, math.exp(-max(most, 0.0))), most >= math.log(alarm_at), observed
    )


def check_segments(
    counts: Mapping[str, ArrayLike], shares: ArrayLike, *, alarm_at: float = ALARM_AT
) -> tuple[SampleRatio, ...]:
    """The same by surface, platform or day.

    The threshold grows with the number of segments, so that the chance of a false alarm does not.
    """
    return tuple(
        check_sample_ratio(one, shares, segment=name, alarm_at=alarm_at * len(counts)) for name, one in counts.items()
    )
