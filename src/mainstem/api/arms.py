"""Who serves this request, and as which arm is it counted? The book of launches as a server reads it, request by request.

While the book cannot be read, what was last known holds for a declared time; after that nobody is on the new stack any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec

from mainstem.api.outside_flags import OutsideFlags
from mainstem.base.errors import MainstemError
from mainstem.launch.assignment import TREATMENT, Launch, Segment, ramp
from mainstem.launch.one_unit import Line, OneArm, OneOrigin
from mainstem.launch.openfeature import Allotted
from mainstem.launch.plan_file import Plan
from mainstem.launch.slowed import DOSE, MS_PER_DAY, slowed_arms
from mainstem.store.launch_book import Placement

PATIENCE_S: Final = 60.0
"""How long what was last known of a book holds after it could be read for the last time."""
RETRY_S: Final = 0.1
"""How long a book that could not be read is left alone: waiting for it must not hold requests up."""
LANDED: Final = "landed"
NO_PROVIDER: Final = "[serve] flags names no provider, so nobody is on the new stack"
OVER: Final = frozenset({LANDED, "rolled back", "stopped"})


@dataclass(frozen=True, slots=True)
class Call:
    """How one request of a launched surface is served.

    Attributes:
        arm: What its impression is counted as; empty for a unit in no arm.
        legacy: The legacy stack that carries the unit; empty when no legacy stack is known.
        ours: Whether the unified stack answers; else the legacy stack does.
        shadow: Whether nobody is served by the unified stack yet, and a share of requests is mirrored to it.
        dose_ms: How long the answer is held back on purpose; 0 for arms that are not a dose.
        reason: Why it is served otherwise than the launch says; empty when it is not.
        flag: The outside flag that must be asked first (``Arms.asked``); until then the unit is in no arm.
    """

    launch: str
    surface: str
    arm: str
    legacy: str
    ours: bool = False
    shadow: bool = False
    dose_ms: float = 0.0
    reason: str = ""
    flag: str = ""

    @property
    def label(self) -> str:
        """The arm as impressions carry it: launch and arm."""
        return f"{self.launch}.{self.arm}" if self.arm else ""


@dataclass(frozen=True, slots=True)
class Flag:
    """A launch on one surface as a feature flag: ``launch.surface``, and ``launch`` alone where it has one surface.

    Attributes:
        share: Share of units on the new stack.
        landed: Whether everybody is on it for good.
    """

    key: str
    launch: str
    surface: str
    share: float
    landed: bool = False


class Watched(Protocol):
    """The book as it is followed."""

    def look(self) -> tuple[Placement, ...]:
        """Every placement as of now; the same tuple while nothing was written."""
        ...

    def first_served_ms(self, launch: str, surface: str) -> int | None:
        """When units of a surface were first put on the new stack."""
        ...


class _Placed:
    """One surface of one launch, ready to be asked for units."""

    __slots__ = (
        "_arm",
        "_dose_ms",
        "_flag",
        "_name",
        "_origin",
        "_outside",
        "_shadow",
        "_share",
        "_slow",
        "_slow_from_ms",
        "_slow_until_ms",
        "_surface",
    )

    def __init__(self, place: Placement, plan: Plan, first_ms: int | None, outside: OutsideFlags | None) -> None:
        share = 0.0 if place.state in OVER else place.share

        def arms(slowed: tuple[Segment, ...]) -> OneArm:
            return OneArm(Launch(plan.name, (*ramp(share), *slowed), layer=plan.layer))

        self._name, self._surface, self._share = place.launch, place.surface, share
        self._flag, self._outside = plan.flag_of(place.surface), outside
        self._origin = OneOrigin(plan, place.surface)
        self._shadow = share == 0 and place.state not in OVER
        self._arm = arms(()) if share > 0 else None
        slowed = slowed_arms(share, plan.latency, first_ms, first_ms or 0)
        self._slow = arms(slowed) if slowed else None
        self._slow_from_ms = first_ms or 0
        self._slow_until_ms = self._slow_from_ms + plan.latency.days * MS_PER_DAY
        self._dose_ms = plan.latency.dose_ms

    def call(self, unit: int, now_ms: int, reason: str) -> Call:
        legacy = self._origin.of(unit)
        if reason or self._arm is None:
            return Call(self._name, self._surface, "", legacy, shadow=self._shadow and not reason, reason=reason)
        if self._flag:
            return self._flagged(unit, legacy)
        slowing = self._slow is not None and self._slow_from_ms <= now_ms < self._slow_until_ms
        arm = (self._slow if slowing and self._slow is not None else self._arm).of(unit) or ""
        dose_ms = self._dose_ms if arm == DOSE else 0.0
        return Call(self._name, self._surface, arm, legacy, ours=arm == TREATMENT, dose_ms=dose_ms)

    def _flagged(self, unit: int, legacy: str) -> Call:
        """The arm that the outside flag gives; in none while it is not known or cannot be."""
        call = Call(self._name, self._surface, "", legacy)
        if self._outside is None:
            return replace(call, reason=f"flag: {self._flag}: {NO_PROVIDER}")
        told = self._outside.known(self._flag, unit)
        return replace(call, flag=self._flag) if told is None else allotted(call, self._flag, told)

    def legacy(self) -> tuple[str, ...]:
        return self._origin.names

    def flagged(self) -> list[str]:
        """What is wrong with the flag that splits units here, in words."""
        if not self._flag or self._arm is None:
            return []
        if self._outside is None:
            return [f"flag {self._flag!r} splits a launched surface: {NO_PROVIDER}"]
        told = self._outside.step(self._flag, self._share)
        return [f"{self._surface}: {told}"] if told else []


class Arms:
    """Which arm is each request in? Belongs to the event loop.

    Args:
        watch: The book.
        now_ms: The platform's time.
        remotes: Legacy stacks that can be asked: what is left when a book was there and could never be read.
        outside: Asks the outside flags that plans name; None can ask none, which puts their units in no arm.
        patience_s: See ``PATIENCE_S``.
        monotonic: Seconds that only go forward.
    """

    def __init__(
        self,
        watch: Watched,
        now_ms: Callable[[], int],
        remotes: Iterable[str] = (),
        *,
        outside: OutsideFlags | None = None,
        patience_s: float = PATIENCE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watch, self._now_ms, self._monotonic = watch, now_ms, monotonic
        self._remotes = tuple(sorted(remotes))
        self._outside = outside
        self._patience_s = patience_s
        self._known: tuple[Placement, ...] | None = None
        self._placed: Mapping[str, _Placed] = {}
        self._flags: Mapping[str, Flag] = {}
        self._failed_since: float | None = None
        self._retry_s = 0.0
        self.trouble = ""
        """Why the book cannot be read; empty while it can."""

    def of(self, surface: str, unit: int) -> Call | None:
        """How a request is served; None where no launch has a say. Never raises."""
        reason = self._follow()
        placed = self._placed.get(surface)
        if placed is not None:
            return placed.call(unit, self._now_ms(), reason)
        return self._blind(surface, unit, reason) if self._known is None else None

    async def asked(self, call: Call, unit: int, named: str) -> Call | None:
        """The call once its outside flag was asked; the book is read again, so that an act of meanwhile holds.

        Args:
            call: From ``of``, with a flag.
            unit: The unit's number.
            named: The unit as it was given.
        """
        if self._outside is None or not call.flag:
            return call
        told = await self._outside.ask(call.flag, unit, named)
        again = self.of(call.surface, unit)
        if again is None or not again.flag:
            return again
        if again.flag != call.flag:
            told = Allotted(None, "another launch has the surface since it was asked")
        return allotted(replace(again, flag=""), again.flag, told)

    @property
    def blind(self) -> bool:
        """Whether a book is there and could not be read since the start."""
        self._follow()
        return self._known is None

    @property
    def flags(self) -> Mapping[str, Flag]:
        """Every launch that has a surface, by the key of its flag."""
        self._follow()
        return self._flags

    def legacy(self) -> tuple[str, ...]:
        """Every legacy stack that carries a surface of a launch that is not landed."""
        self._follow()
        return tuple(sorted({name for placed in self._placed.values() for name in placed.legacy()}))

    def health(self) -> list[str]:
        """What is wrong with the book, in words; empty when nothing is."""
        reason = self._follow()
        flags = sorted({told for one in self._placed.values() for told in one.flagged()})
        flags += [] if self._outside is None else self._outside.health()
        if not self.trouble:
            return flags
        return [*flags, reason or f"the book of launches cannot be read, what was last known holds: {self.trouble}"]

    def _follow(self) -> str:
        """Takes in what changed; answers why nobody may be on the new stack, or nothing."""
        if self._failed_since is not None and self._monotonic() < self._retry_s:
            return self._reason(self._failed_since)
        try:
            known = self._watch.look()
            if known is not self._known:
                last = _last(known)
                placed = {surface: self._compile(one) for surface, one in last.items() if one.state != LANDED}
                self._placed, self._flags, self._known = placed, _flags(last.values()), known
        except (MainstemError, msgspec.MsgspecError, OSError) as error:
            return self._failed(error)
        self._failed_since, self.trouble = None, ""
        return ""

    def _compile(self, place: Placement) -> _Placed:
        plan = msgspec.json.decode(place.plan, type=Plan)
        slows = plan.latency.share > 0 and place.share > 0
        first_ms = self._watch.first_served_ms(place.launch, place.surface) if slows else None
        return _Placed(place, plan, first_ms, self._outside)

    def _failed(self, error: Exception) -> str:
        now = self._monotonic()
        if self._failed_since is None:
            self._failed_since = now
        self.trouble, self._retry_s = str(error), now + RETRY_S
        return self._reason(self._failed_since)

    def _reason(self, failed_since: float) -> str:
        """Empty while what was last known still holds."""
        if self._known is not None and self._monotonic() - failed_since < self._patience_s:
            return ""
        return f"launches: the book cannot be read, so nobody is on the new stack: {self.trouble}"[:200]

    def _blind(self, surface: str, unit: int, reason: str) -> Call:
        """A book is there and was never read: who carries the unit is not known, only that it is not the new stack."""
        if not self._remotes:
            return Call("", surface, "", "", ours=True, reason=reason)
        at = Line(f"mainstem/origin/{surface}").at(unit)
        return Call("", surface, "", self._remotes[int(at * len(self._remotes))], reason=reason)


def allotted(call: Call, flag: str, told: Allotted) -> Call:
    """A call of a unit in no arm with the arm that its flag gives, or with why it gives none."""
    if told.failed:
        return replace(call, reason=f"flag: {flag}: {told.failed}"[:200])
    return replace(call, arm=told.arm or "", ours=told.arm == TREATMENT)


def _last(known: tuple[Placement, ...]) -> dict[str, Placement]:
    """By surface, the launch that has it: one that is not over, else the last one. What has landed is ours wholly."""
    last: dict[str, Placement] = {}
    for one in sorted(known, key=lambda one: one.state not in OVER):
        last[one.surface] = one
    return last


def _flags(places: Iterable[Placement]) -> dict[str, Flag]:
    found: dict[str, Flag] = {}
    alone: dict[str, Flag] = {}
    for one in places:
        landed = one.state == LANDED
        share = 0.0 if one.state in OVER else one.share
        key = f"{one.launch}.{one.surface}"
        found[key] = Flag(key, one.launch, one.surface, share, landed)
        if len(msgspec.json.decode(one.plan, type=_Surfaces).surfaces) == 1:
            alone[one.launch] = Flag(one.launch, one.launch, one.surface, share, landed)
    return found | alone  # a launch's own name goes before a name with its surface


class _Surfaces(msgspec.Struct):
    surfaces: list[str]
