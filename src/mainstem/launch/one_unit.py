"""Which arm is this one unit in? The twin of ``assignment`` for a server, which asks for one unit at a time.

Arrays of one element cost tens of microseconds; whole numbers of Python cost one. Tests hold both to the same answer.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from itertools import accumulate
from typing import Final

from mainstem.launch.assignment import Launch
from mainstem.launch.plan_file import Plan

_ALL: Final = (1 << 64) - 1


class Line:
    """Where a unit stands on the line of a salt: ``assignment.positions`` for one.

    Source: SplitMix64, as in ``base.seeds``.
    """

    __slots__ = ("_state",)

    def __init__(self, salt: str) -> None:
        self._state = _mix(int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest(), "little"))

    def at(self, key: int) -> float:
        """A place in [0, 1)."""
        return (_mix(self._state ^ (key & _ALL)) >> 11) * 2.0**-53


class OneArm:
    """The arms of a launch: ``Launch.arm_of`` for whole numbers.

    Args:
        launch: Whose arms.
    """

    __slots__ = ("_arms", "_at", "_high", "_low", "_within")

    def __init__(self, launch: Launch) -> None:
        self._low, self._high = launch.low, launch.high
        whole = launch.low <= 0 and launch.high >= 1
        self._within = None if whole else Line(f"{launch.namespace}/{launch.layer}")
        self._at = Line(f"{launch.namespace}/{launch.layer}/{launch.name}")
        self._arms = tuple((one.low, one.high, one.arm) for one in launch.segments if one.high > one.low)

    def of(self, unit: int) -> str | None:
        """The arm, or None."""
        if self._within is not None and not self._low <= self._within.at(unit) < self._high:
            return None
        at = self._at.at(unit)
        for low, high, arm in self._arms:
            if low <= at < high:
                return arm
        return None


class OneOrigin:
    """Which legacy stack carries a unit on a surface: ``assignment.origins_of`` for one.

    Args:
        plan: Which stacks carry the surface, and what share of it each.
        surface: Which surface.
        namespace: As in ``origins_of``.
    """

    __slots__ = ("_ends", "_line", "names")

    def __init__(self, plan: Plan, surface: str, *, namespace: str = "mainstem") -> None:
        carried = plan.carried(surface)
        self.names = tuple(carried)
        self._ends = list(accumulate(carried.values()))[:-1]
        self._line = Line(f"{namespace}/origin/{surface}")

    def of(self, unit: int) -> str:
        """The stack's name."""
        return self.names[bisect_right(self._ends, self._line.at(unit))]


def _mix(key: int) -> int:
    z = (key + 0x9E3779B97F4A7C15) & _ALL
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _ALL
    return z ^ (z >> 31)
