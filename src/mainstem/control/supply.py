"""How a group of items gets its declared share of a surface's places over a day: a small stable controller, not a quota a slate.

Each closed window of places moves the boost once. The boost is told in spreads of value (the deviation of the candidates'
values), so that one gain fits every surface. Shortfalls are read as differences of logits, in which a boost's effect is nearly the
same everywhere. A level adds up the windows' shortfalls (the integral part) and stays between no boost and ``MOST``, so that it
is never wound up; what the day still owes moves the share aimed at, a little and at once (the proportional part, on the day's sum).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Pool, Request, Rows

WINDOW: Final = 500
"""Places between two moves of a boost."""
GAIN: Final = 0.4
"""Share of a window's shortfall that the next windows are to make up for."""
PLANT: Final = 2.5
"""What one spread of boost adds to the logit of a group's share, about: 2 to 3 where a twentieth of the candidates is shown."""
HORIZON: Final = 4_000
"""Places over which the day's debt is paid back."""
CATCH_UP: Final = 0.2
"""The debt moves the share aimed at by this part of the floor at most."""
MOST: Final = 6.0
"""Spreads of value that a boost never goes beyond."""
STEP: Final = 0.5
"""Spreads of value by which the level moves at most in one window."""
HOLD_MS: Final = 3_600_000
"""A boost is held this long after the last count."""
HALF_LIFE_MS: Final = 6 * 3_600_000
"""Then half of it goes in this time."""


class Supply(msgspec.Struct, frozen=True):
    """What the controller of one group remembers. Places are counted since the day began, and since the last move."""

    day: int = -1
    places: int = 0
    hits: int = 0
    window_places: int = 0
    window_hits: int = 0
    level: float = 0.0
    boost: float = 0.0
    counted_ms: int = 0
    gaps: int = 0
    """Times that counts were missing for longer than a boost is held."""

    @property
    def share(self) -> float:
        """Share of the day's places."""
        return self.hits / self.places if self.places else math.nan


def boost_at(state: Supply, now_ms: int) -> float:
    """The boost in spreads of value: the last one, held for a while without counts and then let go by halves."""
    return state.boost * _kept(now_ms - state.counted_ms)


def counted(state: Supply, floor: float, day: int, now_ms: int, places: int, hits: int) -> Supply:
    """The state after more places were served. Pure; a process may apply it to what another one left.

    Args:
        floor: The share the group should have.
        day: Names the surface's day; another one starts the day's counts anew and keeps the boost.
        places: Places served now.
        hits: Those of them that the group got.
    """
    silent_ms = now_ms - state.counted_ms if state.counted_ms else 0
    if silent_ms > HOLD_MS:
        kept = _kept(silent_ms)
        state = msgspec.structs.replace(
            state,
            level=state.level * kept,
            boost=state.boost * kept,
            window_places=0,
            window_hits=0,
            gaps=state.gaps + 1,
        )
    fresh = day != state.day
    state = msgspec.structs.replace(
        state,
        day=day,
        places=places if fresh else state.places + places,
        hits=hits if fresh else state.hits + hits,
        window_places=state.window_places + places,
        window_hits=state.window_hits + hits,
        counted_ms=max(now_ms, state.counted_ms),
    )
    return _moved(state, floor) if state.window_places >= WINDOW else state


def _moved(state: Supply, floor: float) -> Supply:
    """One move of the boost, from a closed window."""
    owed = (floor * state.places - state.hits) / HORIZON
    target = floor + max(-CATCH_UP * floor, min(CATCH_UP * floor, owed))
    got = (state.window_hits + target) / (state.window_places + 1)  # one place of prior: no window is 0 or 1
    ahead = (_logit(target) - _logit(floor)) / PLANT
    step = max(-STEP, min(STEP, GAIN * (_logit(target) - _logit(got)) / PLANT))
    level = max(0.0, min(MOST, state.level + step))  # never wound up beyond what a boost may be
    boost = max(0.0, min(MOST, level + ahead))
    return msgspec.structs.replace(state, level=level, boost=boost, window_places=0, window_hits=0)


def _logit(share: float) -> float:
    share = min(max(share, 1e-4), 1 - 1e-4)
    return math.log(share / (1 - share))


def _kept(silent_ms: int) -> float:
    return 1.0 if silent_ms <= HOLD_MS else 0.5 ** ((silent_ms - HOLD_MS) / HALF_LIFE_MS)


@dataclass(slots=True)
class Floors:
    """The floors of one surface as this process knows them: who belongs to each group, and the last state of each.

    Args:
        floors: Group = share of places.
        members: Group = which of these catalog rows belong to it at a time.
    """

    floors: dict[str, float]
    members: dict[str, Callable[[Rows, int], NDArray[np.bool_]]]
    states: dict[str, Supply] = field(default_factory=dict)

    def read(self, kept: bytes | None) -> None:
        """Takes in the state that another process, or an earlier run, left."""
        self.states = _DECODE(kept) if kept else {}

    def after(self, kept: bytes | None, day: int, now_ms: int, shown: Rows) -> bytes:
        """The next state to keep once these rows are served; also what this process knows from now on."""
        self.read(kept)
        before = self.states
        self.states = {
            name: counted(
                self.states.get(name, Supply()),
                floor,
                day,
                now_ms,
                len(shown),
                int(self.members[name](shown, now_ms).sum()),
            )
            for name, floor in self.floors.items()
        }
        for name, state in self.states.items():
            if name in before and state.gaps > before[name].gaps:
                silent_h = (now_ms - before[name].counted_ms) / 3_600_000
                LOG.warning("floor %s: no counts for %.1f h; its boost was held, then let go by halves", name, silent_h)
        return msgspec.json.encode(self.states)


class FloorBoost:
    """Lifts the candidates of groups with a floor, each by its controller's boost times the spread of the candidates' values.

    Args:
        floors: What is known; the day's memory moves it.
    """

    name = "floor"

    def __init__(self, floors: Floors) -> None:
        self._floors = floors

    def boost(self, request: Request, user: Any, pool: Pool, values: Floats) -> Floats:
        """What each candidate gets on top, in units of value. Shapes: [n]."""
        lift = np.zeros(len(values))
        for name, state in self._floors.states.items():
            height = boost_at(state, request.now_ms)
            if height > 0 and name in self._floors.members:
                lift[self._floors.members[name](pool.rows, request.now_ms)] += height
        spread = _spread(values) if lift.any() else 0.0
        return lift * spread


def _spread(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.std()) if len(finite) > 1 else 0.0


LOG = logging.getLogger("mainstem.supply")
_DECODE = msgspec.json.Decoder(dict[str, Supply]).decode
