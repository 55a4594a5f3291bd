"""How long is an answer held back? Arms that wait on purpose, so that latency can be told from ranking.

The matched arm waits until it is as slow as the new stack is at the same rank, by latencies of both that this process measured
lately; before there are enough of them a unit of that arm is in no arm. What is measured is the time until the answer was ready,
without what was added here; what the matched arm met in the end moves what is added next.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from mainstem.api.arms import Call
from mainstem.launch.assignment import TREATMENT
from mainstem.launch.slowed import MATCHED

if TYPE_CHECKING:
    from mainstem.launch.delay import DelayCoupling, LongRun

KEPT: Final = 500
"""Latencies of each stack and surface that are kept."""
LEAST: Final = 100
"""So many of both are needed before anybody is matched."""
RENEWED: Final = 100
"""New latencies after which the coupling is made again."""


class _Matching(NamedTuple):
    """How one legacy stack is made as slow as the new one: made at that count of latencies, and what is added to it."""

    seen: int
    coupling: DelayCoupling
    added: LongRun


class Slowing:
    """What this process measured of both stacks, and how the slower is matched. Belongs to the event loop."""

    def __init__(self) -> None:
        self._old: dict[tuple[str, str, str], deque[float]] = {}
        self._new: dict[tuple[str, str], deque[float]] = {}
        self._matchings: dict[tuple[str, str, str], _Matching] = {}
        self._seen = 0

    def took(self, call: Call, ms: float) -> None:
        """Takes in how long an undisturbed answer took: the new stack's to its own arm, or the legacy stack's to anybody."""
        self._seen += 1
        if call.arm == TREATMENT:
            self._new.setdefault((call.launch, call.surface), deque(maxlen=KEPT)).append(ms)
            for (launch, surface, _), matching in self._matchings.items():
                if (launch, surface) == (call.launch, call.surface):
                    matching.added.took(ms)
        else:
            self._old.setdefault((call.launch, call.surface, call.legacy), deque(maxlen=KEPT)).append(ms)

    def placed(self, call: Call) -> Call:
        """The call itself; in no arm when its arm would have to be matched and too little was measured yet."""
        return replace(call, arm="") if call.arm == MATCHED and self._matching(call) is None else call

    def hold_ms(self, call: Call, took_ms: float) -> float:
        """How long an answer that was ready after ``took_ms`` is held back."""
        if call.arm != MATCHED:
            return call.dose_ms
        matching = self._matching(call)
        return 0.0 if matching is None else matching.added.delay_ms(matching.coupling, took_ms)

    def held(self, call: Call, total_ms: float) -> None:
        """Takes in how long an answer took in the end, its wait with it: the next matched ones wait as much more or less."""
        if call.arm == MATCHED and (matching := self._matching(call)) is not None:
            matching.added.met(total_ms)

    def _matching(self, call: Call) -> _Matching | None:
        key = (call.launch, call.surface, call.legacy)
        old, new = self._old.get(key, ()), self._new.get(key[:2], ())
        if min(len(old), len(new)) < LEAST:
            return None
        made = self._matchings.get(key)
        if made is None or self._seen - made.seen >= RENEWED:
            from mainstem.launch.delay import DelayCoupling, LongRun  # only who slows anybody pays for it

            added = LongRun() if made is None else made.added
            made = _Matching(self._seen, DelayCoupling.of_samples(list(old), list(new)), added)
            added.aim(made.coupling, list(new)[-LEAST:])
            self._matchings[key] = made
        return made
