"""How far a mean of few independent parts may stray: quantiles of Student's t, without a statistics library."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

_STEPS: Final = 300
_SMALL: Final = 1e-300


@lru_cache(maxsize=4_096)
def student_t_quantile(p: float, freedom: float) -> float:
    """The t that a share ``p`` (above one half) of draws with so many degrees of freedom lie below.

    Source: by halving over the distribution function, 1 - I(freedom / (freedom + t^2); freedom / 2, 1/2) / 2.
    """
    low, high = 0.0, 1.0
    while _above(high, freedom) > 1 - p:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if high - low <= 1e-13 * high:
            break
        low, high = (middle, high) if _above(middle, freedom) > 1 - p else (low, middle)
    return (low + high) / 2


def _above(t: float, freedom: float) -> float:
    """The share of draws above ``t``."""
    return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction.

    Source: Abramowitz and Stegun 26.5.8.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)) / a
    c, d = 1.0, 0.0
    found = 1.0
    for step in range(_STEPS):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / _kept(1.0 + term * d)
        c = _kept(1.0 + term / c)
        found *= c * d
        if step and abs(c * d - 1) < 1e-15:
            break
    return front * (found - 1.0)


def _kept(value: float) -> float:
    return value if abs(value) > _SMALL else _SMALL
