"""Which verdict mark a single difference gets in a figure or a table row. Claims are judged in ``evaluate``; these are rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mainstem.evaluate.intervals import Interval
from mainstem.evaluate.verdicts import above_zero as _above_zero


def above_zero(difference: Mapping[str, Any] | None) -> str:
    """Whether a gain is shown, by the same rule as a claim's."""
    return _above_zero(None if difference is None else Interval(**difference))


def within_margin(difference: Mapping[str, Any] | None, margin: float) -> str:
    """Whether a difference is surely not below minus the margin: it holds when the whole interval is above that."""
    if difference is None:
        return "undecided"
    if difference["low"] >= -margin:
        return "holds"
    return "does not hold" if difference["mid"] < -margin else "undecided"
