"""What three elicited points say about a duration: a distribution that passes through them exactly."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from mainstem.base.errors import ProgramError
from mainstem.program.records import Days

Z90: Final = 1.2815515655446004
"""The standard normal's 90 % quantile."""

_WITH_UNIT = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([dw])\s*$")
_UNIT_DAYS = {"d": 1.0, "w": 5.0}


def three_points(given: Sequence[Days], place: str) -> tuple[float, float, float]:
    """Working days as the 10, 50 and 90 % quantiles; one number is certain.

    Raises:
        ProgramError: Units that differ within one record (``program-011``), or quantiles that are negative, swapped, or not
            one or three (``program-007``).
    """
    read = [_with_unit(one, place) for one in given]
    if len({unit for _, unit in read}) > 1:
        raise ProgramError(
            f"{place} is {list(given)}, which mixes units", code="program-011", hint="write all three in days"
        )
    days = [value for value, _ in read]
    points = days * 3 if len(days) == 1 else days
    good = len(points) == 3 and all(math.isfinite(one) for one in points) and 0 <= points[0] <= points[1] <= points[2]
    if not good or (points[0] == 0 and points[2] > 0):
        raise ProgramError(
            f"{place} is {list(given)}, expected one number of days, or three above 0 that rise",
            code="program-007",
            hint="the three are beaten one time in ten, half the time, and nine times in ten",
        )
    return points[0], points[1], points[2]


def quantile_at(points: tuple[float, float, float], score: float) -> float:
    """How many days at a standard normal score: two half lognormals that meet in the median.

    At the scores of 10, 50 and 90 % this is exactly what was elicited; between and beyond, the logarithm goes straight.

    Source: the two-piece (split) lognormal; elicited points as in ``three_points``.
    """
    low, middle, high = points
    if low == high:
        return middle
    ratio = math.log(high / middle) if score > 0 else math.log(middle / low)
    return middle * math.exp(ratio * score / Z90)


def _with_unit(value: Days, place: str) -> tuple[float, str]:
    if not isinstance(value, str):
        return float(value), "d"
    found = _WITH_UNIT.match(value)
    if found is None:
        raise ProgramError(
            f"{place} holds {value!r}, expected days as a number, or such as '8d' or '2w'",
            code="program-011",
            hint="a week is five working days",
        )
    return float(found[1]) * _UNIT_DAYS[found[2]], found[2]
