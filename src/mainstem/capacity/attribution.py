"""Which driver moved a total by how much, so that the parts add up to the whole without a rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations

from mainstem.base.errors import CapacityError


def log_mean(a: float, b: float) -> float:
    """The logarithmic mean of two positive numbers, steady where they are nearly equal.

    Source: Ang, Energy Policy 32 (2004), LMDI-I.
    """
    apart = (a - b) / b
    if apart == 0.0:
        return b
    return b * apart / (math.log1p(apart) if abs(apart) < 0.5 else math.log(a / b))


def attribute(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Each driver's part of the change of their product; the parts sum to the change.

    Args:
        before: Every driver's value, positive.
        after: The same drivers later.

    Raises:
        CapacityError: ``capacity-030`` for other drivers after than before, or a value that is not positive and finite.
    """
    values = (*before.values(), *after.values())
    if set(before) != set(after) or not before or not all(math.isfinite(x) and x > 0.0 for x in values):
        raise CapacityError(
            f"found drivers {dict(before)} and {dict(after)}, expected the same names with positive numbers",
            code="capacity-030",
            hint="a driver that falls to nothing has no logarithm; shapley() takes any function",
        )
    start, end = math.prod(before.values()), math.prod(after.values())
    if start == end:
        return _balanced(before, after, start, 0.0)
    return _balanced(before, after, log_mean(end, start), end - start)


def _balanced(before: Mapping[str, float], after: Mapping[str, float], mean: float, change: float) -> dict[str, float]:
    """The parts with the rounding of their sum, some units of the last place, given to the largest."""
    parts = {name: mean * math.log(after[name] / before[name]) for name in before}
    largest = max(parts, key=lambda name: abs(parts[name]))
    parts[largest] += change - math.fsum(parts.values())
    return parts


def shapley(
    total: Callable[[Mapping[str, float]], float], before: Mapping[str, float], after: Mapping[str, float]
) -> dict[str, float]:
    """Each driver's part of the change of any function of them, averaged over every order in which they could move.

    Args:
        total: What the drivers make.
        before: Every driver's value.
        after: The same drivers later; at most 12.

    Raises:
        CapacityError: ``capacity-030`` for other drivers after than before, none, or too many to try every order.
    """
    names = list(before)
    if set(before) != set(after) or not 1 <= len(names) <= 12:
        raise CapacityError(
            f"found drivers {names} and {list(after)}, expected the same names, one to twelve",
            code="capacity-030",
            hint="group drivers before they are attributed",
        )
    count = len(names)
    parts = dict.fromkeys(names, 0.0)
    for size in range(count):
        weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
        for name in names:
            for moved in combinations([other for other in names if other != name], size):
                held = {other: (after if other in moved else before)[other] for other in names}
                parts[name] += weight * (total(held | {name: after[name]}) - total(held))
    return parts
