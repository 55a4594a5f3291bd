"""What each rule costs a slate: the value given up, found by filling the same slate again without the rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mainstem.base.request import FIRST_RULE, Floats, Pool, Request, Rows, Selection
from mainstem.control.slate import SurfaceControl


@dataclass(frozen=True, slots=True)
class Price:
    """What one rule did to one slate.

    Args:
        rule: The rule; ``quota:NAME`` where a surface has several.
        given_up: Value of the slate without the rule minus value of the slate with it, every place counting 1. Below 0 for a rule
            that leaves a slate of higher value than there would be without it.
        removed: Candidates that were charged to it.
        moved: Places that show another item than they would without it.
    """

    rule: str
    given_up: float
    removed: int
    moved: int


def prices(control: SurfaceControl, request: Request, user: Any, pool: Pool, values: Floats) -> tuple[Price, ...]:
    """What each rule of the request's surface costs this slate, in the order in which rules are applied.

    Each rule is taken away alone, everything else and every draw of chance the same. Prices therefore need not add up: two rules
    that forbid the same item have each a price of 0, and both together more.

    Args:
        values: The plain values, without boosts: a price is in units of value.

    Shapes: ``values[n]`` of the n candidates in ``pool``.
    """
    shown = control.select(request, user, pool, values)
    worth = value_of(values, shown.order)
    found = []
    for rule in control.parts(request.surface):
        other = control.without(rule).select(request, user, pool, values)
        found.append(
            Price(rule, value_of(values, other.order) - worth, _removed(control, shown, rule), _moved(shown, other))
        )
    return tuple(found)


def value_of(values: Floats, order: Rows) -> float:
    """The value of a slate: its items' values added up, every place counting 1; a value that is not a number counts 0.

    Added exactly, so that the same items in another order are worth the same to the last bit.
    """
    return math.fsum(one for one in values[order].tolist() if math.isfinite(one))


def _removed(control: SurfaceControl, shown: Selection, rule: str) -> int:
    if rule not in control.rules:
        return 0
    return int((shown.removed_by == FIRST_RULE + control.rules.index(rule)).sum())


def _moved(shown: Selection, other: Selection) -> int:
    k = min(len(shown.order), len(other.order))
    longer = max(len(shown.order), len(other.order)) - k
    return int(np.count_nonzero(shown.order[:k] != other.order[:k])) + longer
