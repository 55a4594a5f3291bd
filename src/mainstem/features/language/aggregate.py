"""What can be kept of a key's events: counts, sums, extremes, latest and most frequent values, fading sums.

Each aggregate is a *monoid* over whole numbers (so that order, batches and engines cannot change a bit) and a *finish*: an
expression over what was kept, computed when it is read. Values that are no whole numbers are kept in fixed point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Monoid = Literal["add", "min", "max", "registers"]

FIXED: Final = float(2**20)
"""Kept per unit of a value that is no whole number: six decimals."""
_WHOLE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Kept:
    """One accumulator: what an event adds to it, how two combine, how many steps a unit has."""

    value: str
    monoid: Monoid = "add"
    scale: float = _WHOLE


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A monoid and its finish.

    Attributes:
        parts: The accumulators by a short name.
        finish: The value as an expression over the parts; NaN is "known to be empty".
        half_life: Of a fading sum; its parts are weighted by age when they are read.
        distinct: The expression whose different values are counted, with ``registers`` one-byte registers.
    """

    kind: str
    parts: Mapping[str, Kept]
    finish: str
    half_life: str = ""
    registers: int = 0


@dataclass(frozen=True, slots=True)
class Latest:
    """The last ``keep`` events of a key, newest first; each field is an expression and becomes the list ``name.field``.

    Attributes:
        by_time: Late events are put where their time belongs; else the order of arrival counts.
        scale: Steps per unit of fields that are no whole numbers, by field.
    """

    keep: int
    fields: Mapping[str, str]
    by_time: bool = True
    where: str = ""
    scale: Mapping[str, float] = field(default_factory=dict)


def _if(value: str, where: str) -> str:
    return f"where({where}, {value}, 0)" if where else value


def _held(where: str) -> str:
    return where or "1"


def count(where: str = "") -> Aggregate:
    """How many events there were. Empty is zero, and known."""
    return Aggregate("count", {"n": Kept(_held(where))}, "n")


def total(value: str, where: str = "", scale: float = FIXED) -> Aggregate:
    """The sum of a value; events whose value is empty add nothing. Without events: zero, and known."""
    return Aggregate("sum", {"sum": Kept(_if(f"coalesce({value}, 0)", where), scale=scale)}, "sum")


def mean(value: str, where: str = "", scale: float = FIXED) -> Aggregate:
    """The mean of a value over the events in which it is known; empty without any."""
    known = f"known({value})" if not where else f"({where}) and known({value})"
    parts = {"sum": Kept(_if(f"coalesce({value}, 0)", where), scale=scale), "n": Kept(known)}
    return Aggregate("mean", parts, "sum / n")


def ratio(above: str, below: str, where: str = "", scale: float = FIXED) -> Aggregate:
    """The sum of one value by the sum of another; empty when that is zero."""
    parts = {
        "above": Kept(_if(f"coalesce({above}, 0)", where), scale=scale),
        "below": Kept(_if(f"coalesce({below}, 0)", where), scale=scale),
    }
    return Aggregate("ratio", parts, "above / below")


def smallest(value: str, where: str = "", scale: float = FIXED) -> Aggregate:
    """The smallest value; empty without events."""
    return Aggregate("min", {"min": Kept(_or_empty(value, where), "min", scale)}, "min")


def largest(value: str, where: str = "", scale: float = FIXED) -> Aggregate:
    """The largest value; empty without events."""
    return Aggregate("max", {"max": Kept(_or_empty(value, where), "max", scale)}, "max")


def time_since(where: str = "") -> Aggregate:
    """How many seconds ago the latest event was; empty without one. Events without a time are none."""
    return Aggregate("time since", {"at": Kept(_or_empty("time_ms", where), "max")}, "(now_ms - at) / 1000")


def distinct(value: str, where: str = "", registers: Literal[64, 256] = 256) -> Aggregate:
    """About how many different values there were (HyperLogLog): standard error 6.5 % with 256 registers, 13 % with 64.

    Source:
        Flajolet, Fusy, Gandouet, Meunier, HyperLogLog, 2007.
    """
    return Aggregate("distinct", {"registers": Kept(_or_empty(value, where), "registers")}, "", registers=registers)


def fading(value: str, half_life: str, where: str = "", scale: float = FIXED) -> Aggregate:
    """A sum whose parts lose half their weight every half life; ages are counted in the window's tiles."""
    part = Kept(_if(f"coalesce({value}, 0)", where), scale=scale)
    return Aggregate("fading sum", {"sum": part}, "sum", half_life=half_life)


def last(keep: int, by_time: bool = True, where: str = "", **fields: str) -> Latest:
    """The last ``keep`` events, with one list for each named expression."""
    return Latest(keep, fields, by_time, where)


def _or_empty(value: str, where: str) -> str:
    return f"where({where}, {value}, empty)" if where else value
