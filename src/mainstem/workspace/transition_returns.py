"""What a launch gives back to its pool, and from when: the old stack's units, once nobody may need to go back to them.

From its landing to then a surface holds both stacks, so that levelling has its last task hold the new one's units as long. After
it the old ones are returned and the new ones stay, and later launches find the difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mainstem.capacity.transition import Need, SurfaceMove, Transition
from mainstem.capacity.worlds import draw_worlds
from mainstem.program.critical_path import Schedule
from mainstem.program.levelling import level, levelled_schedule, pooled_of
from mainstem.program.network import calendar_of, network_of
from mainstem.workspace.transition import WEEK, WORKING_DAYS, Joined, weeks_of

WORLDS = 400
"""Of which the median is taken."""


@dataclass(frozen=True, slots=True)
class GivenBack:
    """What one surface changes in one pool after its landing.

    Args:
        surface: Whose.
        pool: Of the program.
        task: The surface's last task in the schedule, which holds all of the new stack.
        holds: Units of the new stack beside the old one until then.
        after: Whole weeks from the first week after the landing until the old stack's units are back.
        net: Units by week that the pool then has more (below zero: fewer): the old stack's median less the new one's.
    """

    surface: str
    pool: str
    task: str
    holds: float
    after: int
    net: NDArray[np.float64]

    @property
    def gains(self) -> bool:
        """Whether the pool has more in the end."""
        return float(self.net[-1]) >= 0.0


def given_back(held: Joined, pools: Sequence[str], seed: int = 0) -> tuple[GivenBack, ...]:
    """What each surface that holds capacity in the schedule gives back to each of these pools.

    Args:
        held: The migration.
        pools: The program's pools whose room is judged.
        seed: Of the worlds whose median the old stacks' need is.
    """
    found = []
    for one in held.capacity.surfaces:
        for pool in pools if held.joining.surfaces[one.name].holds else ():
            name = held.joining.pools[pool].resource
            old, new = (side.get(name, Need()) for side in (one.old, one.new))
            base = _median(held.capacity, one, name, seed)
            units, whole = old.by_traffic + old.whole, new.by_traffic + new.whole
            later = whole * base / units if units > 0.0 else np.full(len(base), whole)
            kept = next(line.retention for line in held.capacity.resources if line.name == name) if old.whole else 0
            wait = max(one.reserve_weeks, one.holdback_weeks) + math.ceil(one.lag.middle) + kept
            task = held.joining.surfaces[one.name].holds[-1]
            found.append(GivenBack(one.name, pool, task, whole, wait, base - later))
    return tuple(found)


def _median(plan: Transition, one: SurfaceMove, resource: str, seed: int) -> NDArray[np.float64]:
    """What the old stack of one surface would need by week."""
    at = [line.name for line in plan.resources].index(resource)
    loadings = {name: of for name, of in plan.loadings.items() if name.startswith(f"{one.name}.")}
    alone = replace(plan, surfaces=(one,), loadings=loadings)
    return np.median(draw_worlds(alone, WORLDS, seed).baseline[at], axis=1)


def level_holding(
    held: Joined, sizes: Mapping[str, NDArray[np.float64]], longer: Mapping[str, int], seed: int
) -> Schedule:
    """The program levelled, where tasks hold what they hold for some days after their end.

    Args:
        held: The migration.
        sizes: Each pool by working day.
        longer: By task, how many days.
        seed: Same seed, same schedule.
    """
    network = network_of(held.program)
    plain = pooled_of(held.program, network, dict(sizes))
    more = np.array([longer.get(name, 0) for name in network.names], np.int64)
    # What follows a task waits for its end, not for the end of what it holds.
    lags = plain.lags - more[plain.before]
    room = np.vstack([plain.capacity, np.repeat(plain.capacity[-1:], int(more.sum()), axis=0)])
    found = level(replace(plain, days=plain.days + more, lags=lags, capacity=room), seed=seed)
    finish = found.finish - more
    return levelled_schedule(network, replace(found, finish=finish, end=int(finish.max(initial=0))))


def held_after(held: Joined, back: Sequence[GivenBack], weeks: NDArray[np.float64]) -> dict[str, int]:
    """By task, the first working day on which it holds nothing more: of the week in which the old stack is returned.

    Args:
        held: The migration.
        back: What is given back.
        weeks: From `landing_weeks`.
    """
    days = np.arange(
        1.0, WORKING_DAYS * (float(weeks.max(initial=0.0)) + max((one.after for one in back), default=0) + 2)
    )
    dated = (calendar_of(held.program).ends(days) - np.datetime64(held.monday)).astype(np.int64) // WEEK
    found: dict[str, int] = {}
    for one, week in zip(back, weeks.tolist(), strict=True):
        until = int(np.searchsorted(dated, int(week) + one.after))
        found[one.task] = max(found.get(one.task, 0), until)
    return found


def landing_weeks(held: Joined, back: Sequence[GivenBack], landed: Mapping[str, float]) -> NDArray[np.float64]:
    """For each of these, the first whole week after its surface landed."""
    days = [landed[held.joining.surfaces[one.surface].lands] for one in back]
    return weeks_of(held, np.array(days, np.float64)) if back else np.zeros(0)


def with_returns(
    rooms: Mapping[str, NDArray[np.float64]], back: Sequence[GivenBack], weeks: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Room by pool and week if surfaces land in these weeks, never below none."""
    found = {pool: room.copy() for pool, room in rooms.items()}
    for one, week in zip(back, weeks.tolist(), strict=True):
        if math.isfinite(week):
            first = int(week) + one.after
            found[one.pool][first:] += one.net[first:]
    return {pool: np.maximum(room, 0.0) for pool, room in found.items()}
