"""The pilot: reads evidence, takes each surface forward, holds it, pauses it or takes it back, and writes down why.

One pass looks at every surface once: the log is followed, each gate is seen, one rule decides, and the act is one transaction in
the book. The pilot keeps nothing: killed at any point, the next pass of whoever sits down next goes on from the book and the log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.clock import Clock
from mainstem.base.errors import MainstemError
from mainstem.launch.daily import Daily, Day
from mainstem.launch.decide import ENDED, HALF, Decision, GateSeen, Place, Seen, ShadowSeen, decide
from mainstem.launch.exposure import MS_PER_DAY
from mainstem.launch.gate import Gate, Hour, Phase, phases_of
from mainstem.launch.latency_told import latency_parts
from mainstem.launch.plan_file import Plan
from mainstem.launch.served_log import ServedLog
from mainstem.launch.standing import LayerPart, Standing
from mainstem.launch.told import SurfaceSeen, standing_of_launch
from mainstem.store.launch_book import PILOT, DayLook, Entry, LaunchBook, Move, Placement, Seat, Started

LOG = logging.getLogger("mainstem.pilot")
SEAT_MS: Final = 30_000
"""How long a seat is kept without a sign of life, at least: a successor on another machine waits so long."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the pilot is told by others.

    Attributes:
        before: Covariates of a surface's units; None where the plan names none.
        large: Items of large creators, ascending; None where nobody knows.
        shadow: What mirrored traffic showed of a surface.
        risks: Named risks of the assessment that are not met.
        tell: Is given the standing after each pass, and the acts that were done in it.
        layers: What arms with layers swapped one by one have shown of a surface.
        gone: Whether another pilot is known to be dead.
        made: Whether the traffic is a made world's.
    """

    before: Callable[[str], pl.DataFrame | None] = lambda surface: None
    large: Callable[[], NDArray[np.int64] | None] = lambda: None
    shadow: Callable[[str], ShadowSeen | None] = lambda surface: None
    risks: Callable[[Sequence[str]], tuple[str, ...]] = lambda names: ()
    tell: Callable[[Standing, Sequence[Decision]], object] = lambda standing, done: None
    layers: Callable[[str], tuple[LayerPart, ...]] = lambda surface: ()
    gone: Callable[[str], bool] = lambda holder: False
    made: bool = False


@dataclass(slots=True)
class Pilot:
    """One launch's pilot.

    Args:
        book: Where launches stand.
        started: The launch.
        plan: What was promised.
        log: What was served and answered.
        clock: The launch's own time.
        holder: The name under which the seat is taken; another for each process.
        outside: What others tell.
        kept_ms: How long the seat is kept from one pass to the next.
    """

    book: LaunchBook
    started: Started
    plan: Plan
    log: ServedLog
    clock: Clock
    holder: str
    outside: Outside = field(default_factory=Outside)
    kept_ms: int = SEAT_MS
    _gates: dict[str, tuple[Daily, ...]] = field(default_factory=dict)
    _last: dict[str, SurfaceSeen] = field(default_factory=dict)
    _at: tuple[int, int, int] = (0, 0, 0)

    def fly(self, stop: threading.Event, every_s: float) -> None:
        """Passes for ever, until told to stop or every surface has ended. A pass that fails is logged and made again.

        Raises:
            StoreError: Another pilot has the seat (``store-093``).
        """
        self.keep(every_s)
        seat = self.sit()
        try:
            while not stop.is_set():
                try:
                    if self.once(seat):
                        return
                    seat = self.sit()
                except MainstemError as error:
                    if error.code == "store-093":
                        raise
                    LOG.warning("a pass failed and is made again: %s", error)
                stop.wait(every_s)
        finally:
            self.book.rise(seat)

    def keep(self, every_s: float) -> None:
        """Keeps the seat from each pass well over the next one."""
        self.kept_ms = max(SEAT_MS, int(3_000 * every_s))

    def sit(self) -> Seat:
        """Takes the pilot's seat, or shows that it is still taken by us."""
        return self.book.sit(self.plan.name, self.holder, int(time.time() * 1000), self.kept_ms, self.outside.gone)

    def once(self, seat: Seat) -> bool:
        """One pass over every surface; True when all have ended. Nothing is read again while nothing is new.

        Raises:
            StoreError: The seat is another's (``store-093``), or the disk failed; whatever was done by then stands.
        """
        self.log.follow()
        now_ms = self.clock.now_ms()
        at = (now_ms, self.log.offset, self.book.version())
        if at == self._at:
            return False
        done = [act for place in self.book.placements(self.plan.name) if (act := self._surface(place, seat))]
        places = self.book.placements(self.plan.name)
        self.book.saw(seat, now_ms)
        self.outside.tell(self.standing(places, now_ms), done)
        self._at = (*at[:2], self.book.version())
        return all(place.state in ENDED for place in places)

    def standing(self, places: Sequence[Placement], now_ms: int) -> Standing:
        """Where the launch stands, as far as this pilot has seen it."""
        return standing_of_launch(
            self.started,
            self.plan,
            places,
            self._last,
            self.book.acts(self.plan.name),
            now_ms,
            self.holder,
            self.outside.made,
        )

    def _surface(self, placement: Placement, seat: Seat) -> Decision | None:
        """Sees one surface, decides, and acts; what was done, or None."""
        surface, launch, now_ms = placement.surface, self.plan.name, self.clock.now_ms()
        phases = phases_of(self.book.acts(launch), surface)
        taken = self.book.looks(launch, surface)
        if placement.state in ENDED:
            if surface not in self._last:
                ended = self.log.offset_at(placement.since_ms)
                self._last[surface] = self._see(surface, phases, taken, placement.since_ms, ended)
            return None
        look = _due(phases, taken, now_ms, self.log.offset) if placement.share > 0 else None
        looks = [*taken, look] if look else taken
        seen = self._see(surface, phases if placement.share > 0 else [], looks, now_ms)
        place = Place(placement.step, placement.share, placement.state, placement.since_ms)  # type: ignore[arg-type]
        found = decide(self.plan, place, now_ms, seen.seen)
        self._last[surface] = replace(seen, reason=found.reason)
        if found.action == "wait":
            if look:
                self.book.take_look(launch, surface, look, seat)
            return None
        # Whoever came while this was decided was served by the step before: an act is dated when it is done.
        self.log.follow()
        move = Move(
            surface, PILOT, found.action, self.clock.now_ms(), placement.number, found.step, found.share, found.state, found.reason,
            _evidence(seen), look,
        )  # fmt: skip
        return found if self.book.act(launch, move, seat) else None

    def _see(
        self, surface: str, phases: Sequence[Phase], looks: Sequence[DayLook], now_ms: int, offset: int | None = None
    ) -> SurfaceSeen:
        """What there is to be seen of a surface: mirrored traffic before anybody is served, then every gate by itself.

        Past one half the rule goes by harm alone; what is shown stays the verdict that let it pass.
        """
        shadow = self.outside.shadow(surface)
        if not phases:
            return SurfaceSeen(Seen((), shadow, self.outside.risks(self.plan.risks) if self.plan.risks else ()))
        now, gates, judged = phases[-1], {}, []
        acts = [one for one in self.book.acts(self.plan.name) if one.surface == surface]
        left = looks_left(self.plan, looks, acts)
        for daily in self._gates_of(surface):
            legacy, hour = daily.gate.legacy, daily.gate.hour(now, now_ms, offset)
            if now.share > HALF:
                judged.append(GateSeen(legacy, hour.invalid, hour.harmed, None, left))
                if not (hour.invalid or hour.harmed) and looks and len(phases) > 1:
                    hour = daily.gate.hour(phases[0], looks[-1].at_ms, looks[-1].seen)
                    gates[legacy] = (hour, daily.verdict(phases[0], looks, hour))
                    continue
                gates[legacy] = (hour, None)
                continue
            day = daily.verdict(now, looks, hour)
            judged.append(GateSeen(legacy, hour.invalid, hour.harmed, day.verdict if day else None, left))
            gates[legacy] = (hour, day)
        latency = latency_parts(self.plan, surface, self.log, phases[0], now_ms)
        return SurfaceSeen(Seen(judged, shadow), gates, "", latency, self.outside.layers(surface))

    def _gates_of(self, surface: str) -> tuple[Daily, ...]:
        if surface not in self._gates:
            audience: Mapping[str, int] = self.started.facts.get("audience", {}).get(surface, {})
            before, large = self.outside.before(surface), self.outside.large()
            self._gates[surface] = tuple(
                Daily(Gate(self.plan, surface, legacy, self.log, before, int(audience.get(legacy, 0)), large))
                for legacy in self.plan.carried(surface)
            )
        return self._gates[surface]


def looks_left(plan: Plan, looks: Sequence[DayLook], acts: Sequence[Entry]) -> int:
    """How many daily looks may still come: the least that any metric that must pass was given, from now on.

    A person who resumes after the last of them has extended the test: there is always one more, by what alpha was kept for it.
    """
    planned = min(one.looks for one in plan.must_pass().values())
    over_ms = next((one.at_ms for one in looks if one.number >= planned), None)
    if over_ms is not None and any(
        one.action == "resume" and one.actor != PILOT and one.at_ms >= over_ms for one in acts
    ):
        return 1
    return max(planned - (looks[-1].number if looks else 0), 0)


def _due(phases: Sequence[Phase], taken: Sequence[DayLook], now_ms: int, offset: int) -> DayLook | None:
    """The daily look of today, when it is not taken yet. A day on which nobody looked is not looked at afterwards."""
    if not phases or phases[-1].share > HALF:
        return None
    day = (now_ms - phases[-1].start_ms) // MS_PER_DAY
    last = taken[-1].number if taken else 0
    return DayLook(int(day), now_ms, offset) if day > last else None


def _evidence(seen: SurfaceSeen) -> dict[str, Any]:
    """What an act was decided by, as plain values for the audit."""
    shadow = seen.seen.shadow
    return {
        "shadow": asdict(shadow) if shadow else None,
        "risks": list(seen.seen.risks),
        "gates": {legacy: _gate_evidence(hour, day) for legacy, (hour, day) in seen.gates.items()},
    }


def _gate_evidence(hour: Hour, day: Day | None) -> dict[str, Any]:
    return {
        "invalid": list(hour.invalid),
        "harmed": list(hour.harmed),
        "verdict": str(day.verdict.verdict) if day else None,
        "reasons": list(day.verdict.reasons) if day else [],
        "changes": {
            name: {"relative": one.relative, "old": one.control.mean, "new": one.treatment.mean,
                   "units": [one.control.units, one.treatment.units]}
            for name, one in hour.effects.items()
        },
        "rollback": {name: [one.statistic, one.bound] for name, one in hour.spent.items()},
    }  # fmt: skip
