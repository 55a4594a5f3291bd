"""How a pool's room by week moves launches: the program levelled to what the old stacks leave, and what that does to capacity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ProgramError
from mainstem.capacity.timeline import Timeline, timeline
from mainstem.capacity.worlds import draw_worlds, pools
from mainstem.program.critical_path import Schedule, schedule_network
from mainstem.program.network import calendar_of, network_of
from mainstem.workspace.transition import (
    WEEK,
    WORKING_DAYS,
    Joined,
    capacity_worlds,
    first_stages,
    timed_tasks,
    weeks_of,
)
from mainstem.workspace.transition_order import one_by_one
from mainstem.workspace.transition_returns import (
    GivenBack,
    given_back,
    held_after,
    landing_weeks,
    level_holding,
    with_returns,
)

SLACK = 1e-9
WORLDS = 400
ROUNDS = 12
"""How often landings and room are brought together at most; a launch that waits for another is one round."""


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
        weeks: Room (with what these landings give back) and use by pool and week: use is never above room.
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
    return {pool: np.maximum(weeks, 0.0) for pool, weeks in _left(held, caps, seed).items()}


def _left(held: Joined, caps: Mapping[str, Mapping[int, float]] | None, seed: int) -> dict[str, NDArray[np.float64]]:
    """As `room`, below zero where the old stacks alone have too little: what is given back fills that first."""
    limits = pools(held.capacity)
    names = [one.name for one in held.capacity.resources]
    base = np.median(draw_worlds(held.capacity, WORLDS, seed).baseline, axis=2)
    found = {}
    for pool, link in held.joining.pools.items():
        at = names.index(link.resource)
        free = limits[at] - base[at]
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
    held: Joined,
    caps: Mapping[str, Mapping[int, float]] | None = None,
    *,
    worlds: int = 1_000,
    seed: int = 0,
    returns: bool = True,
) -> LevelledTransition:
    """The program levelled to its pools week by week.

    What a launch gives back depends on when it lands, and when it lands on the room. So the plan is levelled to the room that the
    last landings left, at most ``ROUNDS`` times, until the schedule's own landings leave the room that it takes: that is checked
    on every week of the schedule that is answered. Where that finds none, launches are made to wait for one another in the order
    that asks for the least room (`transition_order`).

    Args:
        held: The migration.
        caps: As for `room`.
        worlds: Of the timeline.
        seed: Same seed, same schedule.
        returns: Whether earlier launches give room back, and hold both stacks until then; without, all old stacks stay, and a
            launch holds nothing once it has landed.

    Raises:
        ProgramError: ``program-091`` when a task needs more than its pool leaves in the last week with all that others give
            back, ``program-093`` when no schedule was found in which what is given back comes in time, ``program-090`` for a cap
            on a pool that is not joined.
    """
    rooms = _left(held, caps, seed)
    back = given_back(held, sorted(rooms), seed) if returns else ()
    _fits(held, rooms, back)
    free = schedule_network(network_of(held.program))
    try:
        done, left = _settled(held, rooms, back, _landed(held, free), seed)
    except ProgramError as no:
        done, left = _in_order(held, rooms, back, seed, no)
    landed, unbound = _landed(held, done), _landed(held, free)
    lasted = {name: np.full(worlds, days) for name, days in _lasted(held, done).items()}
    starts = first_stages(held, {name: np.full(worlds, days) for name, days in landed.items()}, lasted)
    return LevelledTransition(
        _order(held, landed),
        _order(held, unbound),
        _dates(held, landed),
        _dates(held, unbound),
        _bars(held, done),
        tuple(_use(held, done, left, back)),
        timeline(capacity_worlds(held, starts, worlds, seed, lasted)),
    )


def _in_order(
    held: Joined, rooms: Mapping[str, NDArray[np.float64]], back: tuple[GivenBack, ...], seed: int, no: ProgramError
) -> tuple[Schedule, dict[str, NDArray[np.float64]]]:
    """`_settled` of launches one by one, or the refusal that there was without an order."""
    try:
        told = one_by_one(held, back)
        return _settled(told, rooms, back, _landed(told, schedule_network(network_of(told.program))), seed)
    except ProgramError:
        raise no from None


def _settled(
    held: Joined,
    rooms: Mapping[str, NDArray[np.float64]],
    back: tuple[GivenBack, ...],
    landed: Mapping[str, float],
    seed: int,
) -> tuple[Schedule, dict[str, NDArray[np.float64]]]:
    """A schedule that keeps to the room that its own landings leave, and that room.

    It begins with the most room there can be: all that is given back as soon as without pools, nothing taken. A return is never
    assumed sooner again than it was found, so the rounds go one way.
    """
    gains = np.array([one.gains for one in back], np.bool_)
    assumed = np.where(gains, landing_weeks(held, back, landed), np.inf)
    # A landing in the middle of a week is followed by what is left of it.
    longer = {one.task: WORKING_DAYS * (1 + max(_waits(back, one.task))) for one in back}
    for _ in range(ROUNDS):
        sizes = {pool: _by_day(held, weeks) for pool, weeks in with_returns(rooms, back, assumed).items()}
        done = level_holding(held, _ending_wide(held, sizes), longer, seed)
        weeks = landing_weeks(held, back, _landed(held, done))
        left = with_returns(*_far_enough(held, rooms, back, done), weeks)
        if _kept(held, done, left, back):
            return done, {pool: there[: len(rooms[pool])] for pool, there in left.items()}
        after = np.where(gains, np.maximum(assumed, weeks), weeks)
        needed = _longer(held, back, done, weeks)
        if np.array_equal(after, assumed) and all(needed[task] <= days for task, days in longer.items()):
            break
        assumed, longer = after, {task: max(days, needed[task]) for task, days in longer.items()}
    raise ProgramError(
        f"found no schedule in {ROUNDS} rounds in which what launches give back comes before it is needed",
        code="program-093",
        hint="enlarge a pool for some weeks, or order the launches with `after`; --keep-old judges without returns",
    )


def _waits(back: tuple[GivenBack, ...], task: str) -> list[int]:
    return [one.after for one in back if one.task == task]


def _longer(held: Joined, back: tuple[GivenBack, ...], done: Schedule, weeks: NDArray[np.float64]) -> dict[str, int]:
    """Days between the end of a surface's last task and the return of its old stack."""
    ends = dict(zip(done.network.names, done.finish.tolist(), strict=True))
    return {task: max(0, until - int(ends[task])) for task, until in held_after(held, back, weeks).items()}


def _ending_wide(held: Joined, sizes: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Sizes by day that end with room for any task, so that what never fits stands behind the weeks that are looked at."""
    needs = [task.needs for task in held.program.tasks.values()]
    most = {pool: max((one.get(pool, 0.0) for one in needs), default=0.0) for pool in sizes}
    return {
        pool: np.append(days, days[-1] if days[-1] >= most[pool] else sum(one.get(pool, 0.0) for one in needs))
        for pool, days in sizes.items()
    }


def _far_enough(
    held: Joined, rooms: Mapping[str, NDArray[np.float64]], back: tuple[GivenBack, ...], done: Schedule
) -> tuple[dict[str, NDArray[np.float64]], tuple[GivenBack, ...]]:
    """Rooms and what is given back until all is over: what lands behind the weeks looked at takes from their last one's room."""
    until = int(weeks_of(held, np.array([done.end]))[0]) + max((one.after for one in back), default=0) + 1

    def longer(weeks: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.pad(weeks, (0, max(0, until - len(weeks))), mode="edge")

    wide = tuple(replace(one, net=longer(one.net)) for one in back)
    return {pool: longer(weeks) for pool, weeks in rooms.items()}, wide


def _kept(held: Joined, done: Schedule, left: Mapping[str, NDArray[np.float64]], back: tuple[GivenBack, ...]) -> bool:
    """Whether no day of the schedule takes more than its week's room; after the weeks looked at, the last one's."""
    for pool, weeks in left.items():
        used, begun = _used(held, done, pool, back), _used(held, done, pool, back, facts=True)
        there = np.append(weeks, np.full(max(0, len(used) - len(weeks)), weeks[-1]))[: len(used)]
        # What has begun is a fact, whatever the pool says; nothing may be put on top of it.
        if (used > np.maximum(there, begun) + SLACK).any():
            return False
    return True


def _fits(held: Joined, rooms: Mapping[str, NDArray[np.float64]], back: tuple[GivenBack, ...]) -> None:
    whose = {task: name for name, link in held.joining.surfaces.items() for task in link.holds}
    for name, task in sorted(held.program.tasks.items()):
        for pool, weeks in rooms.items():
            others = (one for one in back if one.pool == pool and one.surface != whose.get(name))
            more = sum(max(0.0, float(one.net[-1])) for one in others)
            needed, left = task.needs.get(pool, 0.0), float(weeks[-1]) + more
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


def _use(
    held: Joined, done: Schedule, rooms: Mapping[str, NDArray[np.float64]], back: tuple[GivenBack, ...]
) -> list[PoolWeek]:
    """The most held on a day of each week."""
    out = []
    for pool, weeks in sorted(rooms.items()):
        used = np.append(_used(held, done, pool, back), np.zeros(len(weeks)))
        out += [PoolWeek(pool, week, float(weeks[week]), float(used[week])) for week in range(len(weeks))]
    return out


def _used(
    held: Joined, done: Schedule, pool: str, back: tuple[GivenBack, ...], *, facts: bool = False
) -> NDArray[np.float64]:
    """The most held of a pool on a day of each week; of ``facts`` only by what has begun.

    A surface's last task holds on until its old stack is returned.
    """
    own = [one for one in back if one.pool == pool]
    after = held_after(held, own, landing_weeks(held, own, _landed(held, done)))
    days = np.zeros(max([int(done.end), *after.values()]) + 1)
    for at, name in enumerate(done.network.names):
        if facts and done.network.begun[at] < 0 and done.network.ended[at] < 0:
            continue
        needs = held.program.tasks[name].needs if name in held.program.tasks else {}
        days[int(done.start[at]) : max(int(done.finish[at]), after.get(name, 0))] += needs.get(pool, 0.0)
    dated = calendar_of(held.program).ends(np.arange(1.0, len(days) + 1.0))
    week_of = (dated - np.datetime64(held.monday)).astype(np.int64) // WEEK
    used = np.zeros(int(week_of.max()) + 1)
    np.maximum.at(used, week_of, days)
    return used
