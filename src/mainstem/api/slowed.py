"""How long is an answer held back? Arms that wait on purpose, so that latency can be told from ranking.

The matched arm waits until it is as slow as the new stack is at the same rank, by latencies of both that this process measured
lately; before there are enough of them a unit of that arm is in no arm. What is measured is the time until the answer was ready,
without what was added here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mainstem.api.arms import Call
from mainstem.launch.assignment import TREATMENT
from mainstem.launch.slowed import MATCHED

if TYPE_CHECKING:
    from mainstem.launch.delay import DelayCoupling

KEPT: Final = 2_000
"""Latencies of each stack and surface that are kept."""
LEAST: Final = 100
"""So many of both are needed before anybody is matched."""
LATE_STEP_MS: Final = 0.01
"""How fast what is known of a loop that wakes late moves."""
RENEWED: Final = 200
"""New latencies after which the coupling is made again."""


class Slowing:
    """What this process measured of both stacks, and how the slower is matched. Belongs to the event loop."""

    def __init__(self) -> None:
        self._old: dict[tuple[str, str, str], deque[float]] = {}
        self._new: dict[tuple[str, str], deque[float]] = {}
        self._coupled: dict[tuple[str, str, str], tuple[int, DelayCoupling]] = {}
        self._seen = 0
        self._overslept_ms = 0.0

    def took(self, call: Call, ms: float) -> None:
        """Takes in how long an undisturbed answer took: the new stack's to its own arm, or the legacy stack's to anybody."""
        self._seen += 1
        if call.arm == TREATMENT:
            self._new.setdefault((call.launch, call.surface), deque(maxlen=KEPT)).append(ms)
        else:
            self._old.setdefault((call.launch, call.surface, call.legacy), deque(maxlen=KEPT)).append(ms)

    def placed(self, call: Call) -> Call:
        """The call itself; in no arm when its arm would have to be matched and too little was measured yet."""
        return replace(call, arm="") if call.arm == MATCHED and self._coupling(call) is None else call

    def hold_ms(self, call: Call, took_ms: float) -> float:
        """How long an answer that was ready after ``took_ms`` is held back."""
        if call.arm != MATCHED:
            return call.dose_ms
        coupling = self._coupling(call)
        return 0.0 if coupling is None else max(0.0, float(coupling.delay_ms(took_ms)) - self._overslept_ms)

    def held(self, wanted_ms: float, held_ms: float) -> None:
        """Takes in how long a wait really was: an event loop wakes late as a rule, and the next matched answer waits less for it.

        What is kept is the median, found step by step: a loop that was held up once is held up for the new stack's answers too.
        """
        late = held_ms - wanted_ms > self._overslept_ms
        self._overslept_ms = max(0.0, self._overslept_ms + (LATE_STEP_MS if late else -LATE_STEP_MS))

    def _coupling(self, call: Call) -> DelayCoupling | None:
        key = (call.launch, call.surface, call.legacy)
        old, new = self._old.get(key, ()), self._new.get(key[:2], ())
        if min(len(old), len(new)) < LEAST:
            return None
        made = self._coupled.get(key)
        if made is None or self._seen - made[0] >= RENEWED:
            from mainstem.launch.delay import DelayCoupling  # only who slows anybody pays for it

            made = self._coupled[key] = (self._seen, DelayCoupling.of_samples(list(old), list(new)))
        return made[1]
