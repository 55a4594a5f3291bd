"""How a pool's room by week moves launches: the program levelled to what the old stacks leave, and what that does to capacity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ProgramError
from mainstem.capacity.timeline import Timeline, timeline
from mainstem.capacity.worlds import draw_worlds, pools
from mainstem.program.critical_path import Schedule, schedule_network
from mainstem.program.levelling import level_program, levelled_schedule
from mainstem.program.network import calendar_of, network_of
from mainstem.workspace.transition import WEEK, Joined, capacity_worlds, first_stages, timed_tasks

SLACK = 1e-9
WORLDS = 400


@dataclass(frozen=True, slots=True)
class Bar:
    """One task of a levelled schedule: its days, how much later it may end, and whether it decides the end."""

    name: str
    starts: date
    ends: date
    latest: date
    slack: float
    kind: str

    def as_row(self) -> dict[str, str]:
        """A row of `report.task_bars`."""
        days = {"starts": str(self.starts), "ends": str(self.ends), "latest": str(self.latest)}
        return {"label": self.name, "kind": self.kind, **days}


@dataclass(frozen=True, slots=True)
class PoolWeek:
    """One pool in one week: the room there is for launches, the most that tasks hold of it on a day, in the order of weeks."""

    pool: str
    week: int
    room: float
    held: float


@dataclass(frozen=True, slots=True)
class LevelledTransition:
    """Launches that fit the pools.

    Args:
        order: Surfaces by landing, levelled.
        free_order: The same without pools.
        lands: The day each surface lands, levelled.
        free_lands: The same without pools.
        bars: Every task, soonest first.
        weeks: Room and use by pool and week: use is never above room.
        timeline: Capacity where surfaces land as levelled, all else in doubt as before.
    """

    order: tuple[str, ...]
    free_order: tuple[str, ...]
    lands: dict[str, date]
    free_lands: dict[str, date]
    bars: tuple[Bar, ...]
    weeks: tuple[PoolWeek, ...]
    timeline: Timeline


def room(
    held: Joined, caps: Mapping[str, Mapping[int, float]] | None = None, *, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Units by week that each joined pool leaves for launches: the resource's pool less the old stacks' median need.

    Args:
        held: The migration.
        caps: By pool, room from a week on where it is said instead.
        seed: Of the worlds whose median it is.
    """
    limits = pools(held.capacity)
    names = [one.name for one in held.capacity.resources]
    base = np.median(draw_worlds(held.capacity, WORLDS, seed).baseline, axis=2)
    found = {}
    for pool, link in held.joining.pools.items():
        at = names.index(link.resource)
        free = np.maximum(limits[at] - base[at], 0.0)
        if np.isfinite(free).all():
            found[pool] = free
    for pool, steps in (caps or {}).items():
        if pool not in held.joining.pools:
            raise ProgramError(
                f"found a cap of {pool!r}", code="program-090", hint=f"there are {', '.join(held.joining.pools)}"
            )
        weeks = found.get(pool, np.full(held.capacity.weeks, np.inf)).copy()
        for week, units in sorted(steps.items()):
            weeks[max(week, 0) :] = units
        found[pool] = weeks
    return found


def level_transition(
    held: Joined, caps: Mapping[str, Mapping[int, float]] | None = None, *, worlds: int = 1_000, seed: int = 0
) -> LevelledTransition:
    """The program levelled to its pools week by week.

    Raises:
        ProgramError: ``program-091`` when a task needs more than its pool leaves in the last week, ``program-090`` for a cap
            on a pool that is not joined.
    """
    rooms = room(held, caps, seed=seed)
    _fits(held, rooms)
    sizes = {pool: _by_day(held, weeks) for pool, weeks in rooms.items()}
    network, found = level_program(held.program, sizes=sizes, seed=seed)
    done, free = levelled_schedule(network, found), schedule_network(network_of(held.program))
    landed, unbound = _landed(held, done), _landed(held, free)
    lasted = {name: np.full(worlds, days) for name, days in _lasted(held, done).items()}
    starts = first_stages(held, {name: np.full(worlds, days) for name, days in landed.items()}, lasted)
    return LevelledTransition(
        _order(held, landed),
        _order(held, unbound),
        _dates(held, landed),
        _dates(held, unbound),
        _bars(held, done),
        tuple(_use(held, done, rooms)),
        timeline(capacity_worlds(held, starts, worlds, seed, lasted)),
    )


def _fits(held: Joined, rooms: Mapping[str, NDArray[np.float64]]) -> None:
    for name, task in sorted(held.program.tasks.items()):
        for pool, weeks in rooms.items():
            needed, left = task.needs.get(pool, 0.0), float(weeks[-1])
            if task.done is None and task.started is None and needed > left + SLACK:
                raise ProgramError(
                    f"found room for {left:.1f} of {pool} from week {_constant_from(weeks)} on, expected {needed:.1f} for "
                    f"{name}: {pool} is the bottleneck",
                    code="program-091",
                    hint="enlarge the pool or ramp in smaller parts; mainstem transition level --cap tries another",
                )


def _constant_from(weeks: NDArray[np.float64]) -> int:
    changes = np.flatnonzero(np.diff(weeks))
    return int(changes[-1]) + 1 if changes.size else 0


def _by_day(held: Joined, weeks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The room of each working day: that of its week."""
    calendar = calendar_of(held.program)
    days = calendar.ends(np.arange(1.0, 5.0 * len(weeks)))
    at = (days - np.datetime64(held.monday)).astype(np.int64) // WEEK
    return weeks[np.minimum(at, len(weeks) - 1)]


def _landed(held: Joined, done: Schedule) -> dict[str, float]:
    days = dict(zip(done.network.names, done.finish.tolist(), strict=True))
    return {link.lands: days[link.lands] for link in held.joining.surfaces.values()}


def _lasted(held: Joined, done: Schedule) -> dict[str, float]:
    """Working days of the tasks that are a ramp or a shadow."""
    days = dict(zip(done.network.names, (done.finish - done.start).tolist(), strict=True))
    return {name: days[name] for name in timed_tasks(held)}


def _order(held: Joined, landed: Mapping[str, float]) -> tuple[str, ...]:
    links = held.joining.surfaces
    return tuple(sorted(links, key=lambda name: (landed[links[name].lands], name)))


def _dates(held: Joined, landed: Mapping[str, float]) -> dict[str, date]:
    calendar = calendar_of(held.program)
    return {name: calendar.ends_on(landed[link.lands]) for name, link in held.joining.surfaces.items()}


def _bars(held: Joined, done: Schedule) -> tuple[Bar, ...]:
    calendar, tasks, bars = calendar_of(held.program), held.program.tasks, []
    for at, name in enumerate(done.network.names):
        if name not in tasks:
            continue
        slack = 0.0 if tasks[name].done else float(done.slack[at])
        ends = calendar.ends_on(float(done.finish[at]))
        latest = calendar.ends_on(float(done.finish[at]) + slack) if slack > SLACK else ends
        kind = "done" if tasks[name].done else "has slack" if slack > SLACK else "decides the end"
        bars.append(Bar(name, calendar.starts_on(float(done.start[at])), ends, latest, slack, kind))
    return tuple(sorted(bars, key=lambda one: (one.starts, one.ends, one.name)))


def _use(held: Joined, done: Schedule, rooms: Mapping[str, NDArray[np.float64]]) -> list[PoolWeek]:
    """The most held on a day of each week."""
    out = []
    for pool, weeks in sorted(rooms.items()):
        days = np.zeros(5 * len(weeks) + int(done.end) + 1)
        for at, name in enumerate(done.network.names):
            needs = held.program.tasks[name].needs if name in held.program.tasks else {}
            days[int(done.start[at]) : int(done.finish[at])] += needs.get(pool, 0.0)
        dated = calendar_of(held.program).ends(np.arange(1.0, len(days) + 1.0))
        week_of = (dated - np.datetime64(held.monday)).astype(np.int64) // WEEK
        used = np.zeros(int(week_of.max()) + 1)
        np.maximum.at(used, week_of, days)
        out += [PoolWeek(pool, week, float(weeks[week]), float(used[week])) for week in range(len(weeks))]
    return out
