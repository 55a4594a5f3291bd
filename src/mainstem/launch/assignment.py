"""Which arm does a unit belong to? A pure function of names and the unit, so that any process gives the same answer.

Two salted positions in [0, 1) do it. The first, of the layer, says which launch of the layer a unit may see: slices of one
layer never overlap. The second, of the launch, says which arm: the new stack's arm grows from 0 upwards, and the control
of equal size stands at the other end, so a unit that is in at 5 % is in at 25 %.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import LaunchError
from mainstem.base.seeds import uniforms
from mainstem.launch.plan_file import Plan

TREATMENT: Final = "treatment"
CONTROL: Final = "control"
OUTSIDE: Final = -1
"""The code of a unit that is in no arm: it gets what everybody had before, and is not counted."""

_CLOSE = 1e-12


@dataclass(frozen=True, slots=True)
class Segment:
    """Which stretch of a launch's line an arm holds: ``low`` included, ``high`` not."""

    arm: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch on the assignment's lines.

    Args:
        name: The salt of its arms.
        segments: Its arms; see ``ramp``, ``shares`` and ``same_on_both``.
        namespace: Whose units these are; namespaces are independent of each other.
        layer: Launches of one layer share its line; layers are independent of each other.
        low, high: Its slice of the layer's line.

    Raises:
        LaunchError: Segments overlap or leave [0, 1], or the slice is empty (``launch-046``).
    """

    name: str
    segments: tuple[Segment, ...]
    namespace: str = "mainstem"
    layer: str = "launches"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise _bad(f"launch {self.name!r} has the slice {self.low} to {self.high} of its layer")
        ordered = sorted(self.segments, key=lambda one: one.low)
        for one in ordered:
            if not 0 <= one.low <= one.high <= 1:
                raise _bad(f"arm {one.arm!r} of launch {self.name!r} has the stretch {one.low} to {one.high}")
        for first, second in pairwise(one for one in ordered if one.high > one.low):
            if first.high > second.low + _CLOSE:
                raise _bad(f"arms {first.arm!r} and {second.arm!r} of launch {self.name!r} overlap")

    @property
    def arms(self) -> tuple[str, ...]:
        """The names behind the codes of ``assign``, in order."""
        return tuple(dict.fromkeys(one.arm for one in self.segments))

    def assign(self, units: Sequence[str] | Sequence[int] | NDArray[np.generic]) -> NDArray[np.int8]:
        """The arm of each unit as a place in ``arms``; ``OUTSIDE`` where it is in none.

        Shapes: units ``[n]``, answer ``[n]``.
        """
        keys = unit_keys(units)
        within = positions(f"{self.namespace}/{self.layer}", keys)
        at = positions(f"{self.namespace}/{self.layer}/{self.name}", keys)
        codes = np.full(len(keys), OUTSIDE, np.int8)
        for one in self.segments:
            codes[(at >= one.low) & (at < one.high)] = self.arms.index(one.arm)
        codes[(within < self.low) | (within >= self.high)] = OUTSIDE
        return codes

    def arm_of(self, unit: str | int) -> str | None:
        """The arm of one unit, or None."""
        keys = [str(unit)] if isinstance(unit, str) else np.array([unit], np.int64)
        code = int(self.assign(keys)[0])
        return None if code == OUTSIDE else self.arms[code]


def ramp(share: float, *, control: float | None = None) -> tuple[Segment, ...]:
    """The arms of a ramp's step: ``share`` on the new stack, and a control beside it, as large as the share where there is room.

    Past one half the control is all that is left: at 95 % a holdback of 5 %, made of units that were control in every step.

    Args:
        share: Share of the launch's units on the new stack.
        control: Another size of the control.
    """
    least = min(share, 1.0 - share) if control is None else control
    if not (0 <= share <= 1 and 0 <= least <= 1 and share + least <= 1 + _CLOSE):
        raise _bad(f"a step has {share} on the new stack and a control of {least}")
    return Segment(TREATMENT, 0.0, share), Segment(CONTROL, max(1.0 - least, share), 1.0)


def launch_of(plan: Plan, step: int, *, namespace: str = "mainstem", low: float = 0.0, high: float = 1.0) -> Launch:
    """A plan's launch at one of its steps, the first being 0.

    Raises:
        LaunchError: The plan has no such step, or the slice is empty (``launch-046``).
    """
    if not 0 <= step < len(plan.steps):
        raise _bad(f"step {step} of launch {plan.name!r}, which has {len(plan.steps)}")
    return Launch(plan.name, ramp(plan.steps[step].share), namespace, plan.layer, low, high)


def origins_of(
    plan: Plan,
    surface: str,
    units: Sequence[str] | Sequence[int] | NDArray[np.generic],
    *,
    namespace: str = "mainstem",
) -> NDArray[np.int8]:
    """Which legacy stack carries each unit on a surface today, as a place in ``plan.carried(surface)``.

    Independent of the arms, and the same for every launch of the namespace: who is served by one stack stays with it.

    Shapes: units ``[n]``, answer ``[n]``.
    """
    carried = plan.carried(surface)
    at = positions(f"{namespace}/origin/{surface}", unit_keys(units))
    ends = np.cumsum(list(carried.values()))[:-1]
    return np.searchsorted(ends, at, side="right").astype(np.int8)


def shares(arms: dict[str, float]) -> tuple[Segment, ...]:
    """Arms of fixed shares side by side, such as those of a latency split; what is left over is in no arm."""
    ends = np.concatenate([[0.0], np.cumsum(list(arms.values()))])
    if any(not 0 <= one <= 1 for one in arms.values()) or ends[-1] > 1 + _CLOSE:
        raise _bad(f"the shares {arms} of a launch's arms")
    return tuple(
        Segment(arm, float(a), min(float(b), 1.0)) for arm, a, b in zip(arms, ends[:-1], ends[1:], strict=True)
    )


def same_on_both() -> tuple[Segment, ...]:
    """The arms of an A/A run: two halves, both on the old stack; whoever serves gives both the same."""
    return shares({"a": 0.5, "b": 0.5})


def check_layers(launches: Iterable[Launch]) -> None:
    """Do launches of one layer keep apart?

    Raises:
        LaunchError: Two slices overlap, or two launches have one name (``launch-047``).
    """
    lines: dict[tuple[str, str], list[Launch]] = {}
    for one in launches:
        lines.setdefault((one.namespace, one.layer), []).append(one)
    for (namespace, layer), found in lines.items():
        ordered = sorted(found, key=lambda one: one.low)
        for first, second in pairwise(ordered):
            if first.high > second.low + _CLOSE or first.name == second.name:
                raise LaunchError(
                    f"launches {first.name!r} ({first.low} to {first.high}) and {second.name!r} ({second.low} to "
                    f"{second.high}) overlap in layer {layer!r} of {namespace!r}, expected slices apart",
                    code="launch-047",
                    hint="give one of them another slice, or another layer when a unit may see both",
                )


def unit_keys(units: Sequence[str] | Sequence[int] | NDArray[np.generic]) -> NDArray[np.int64]:
    """Units as 64-bit numbers: whole numbers as they are, text by its hash (BLAKE2b over UTF-8, 8 bytes, little-endian).

    Raises:
        LaunchError: A unit is missing, or neither a whole number nor text (``launch-048``).
    """
    array = np.asarray(units)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype.kind == "U" or (array.dtype == object and all(isinstance(one, str) for one in array)):
        told = b"".join(hashlib.blake2b(str(one).encode(), digest_size=8).digest() for one in array)
        return np.frombuffer(told, dtype="<i8").astype(np.int64)
    raise LaunchError(
        f"found units of type {array.dtype}, expected whole numbers or text, and none missing",
        code="launch-048",
        hint="cast the id column to a whole number or to text before units are assigned",
    )


def positions(salt: str, keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where units stand on the line of a salt: even over [0, 1), and independent between salts.

    Shapes: keys ``[n]``, answer ``[n]``.
    """
    number = int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest(), "little", signed=True)
    return uniforms(number, keys)


def block_keys(
    time_ms: NDArray[np.int64], block_ms: int, *, start_ms: int = 0, place: NDArray[np.int64] | int = 0
) -> NDArray[np.int64]:
    """Time blocks as units, for switchbacks: block number and place (surface, region, market) mixed into one key.

    Shapes: time_ms ``[n]``, answer ``[n]``.
    """
    if block_ms <= 0:
        raise _bad(f"a time block of {block_ms} ms")
    number = (np.asarray(time_ms, np.int64) - start_ms) // block_ms
    return (uniforms(np.asarray(place, np.int64), number) * 2.0**53).astype(np.int64)


def _bad(what: str) -> LaunchError:
    return LaunchError(
        f"found {what}, expected stretches of [0, 1] that keep apart", code="launch-046", hint="5 % is written 0.05"
    )
