"""One model of a migration, both ways: a program's landings drive capacity by week, and a pool's room moves the launches.

Records, for pages: `Joined` is what was read. `Outcome` is what its worlds say: ``timeline`` (P10, P50, P90 of peak, dual running,
break-even), ``resources`` (`ResourceWeeks`, as the page of capacity shows them) and ``surfaces`` (`SurfaceLanding`). Levelled
schedules are in `transition_level`, what moved since a revision in `transition_moved`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import CapacityError, ProgramError, did_you_mean
from mainstem.capacity.calibration import Calibration, predict
from mainstem.capacity.plan_file import read_plan
from mainstem.capacity.timeline import Band, Timeline, timeline
from mainstem.capacity.transition import Need, SurfaceMove, Transition
from mainstem.capacity.worlds import Worlds, draw_worlds, pools, stage_begins
from mainstem.program.network import calendar_of
from mainstem.program.plan_file import read_program
from mainstem.program.records import Program
from mainstem.program.worlds import Worlds as Landings
from mainstem.program.worlds import simulate
from mainstem.workspace.capacity_desk import PLAN, ResourceWeeks, WeekLine
from mainstem.workspace.transition_file import FILE, Joining, SurfaceWork, read_joining

WORLDS: Final = 10_000
WEEK: Final = 7
WORKING_DAYS: Final = 5
"""Of a week: so many days of a task are a week of a ramp."""

Lasted = Mapping[str, NDArray[np.float64]]
"""Working days that tasks take in each world."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A program and a capacity plan that agree, with needs from measured seconds where ``transition.toml`` names work."""

    program: Program
    capacity: Transition
    joining: Joining

    @property
    def monday(self) -> date:
        """The first day of week 0: the Monday of the program's first week."""
        start = self.program.program.start
        return start - timedelta(days=start.weekday())


@dataclass(frozen=True, slots=True)
class SurfaceLanding:
    """One surface: when its last stage begins, how many weeks its capacity waits for it, and its dual running.

    Args:
        name: The surface.
        lands: P10, P50 and P90 of the day its milestone is reached.
        first_stage: The week of its first stage.
        ordered: The week for which its capacity was ordered.
        waits: Weeks by which the launch misses that week; below zero it comes sooner, at most by the lead.
        dual: Unit-weeks above the old stacks alone, by resource.
    """

    name: str
    lands: tuple[date, date, date]
    first_stage: Band
    ordered: int
    waits: Band
    dual: dict[str, Band]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the worlds of both desks say together."""

    timeline: Timeline
    resources: tuple[ResourceWeeks, ...]
    surfaces: tuple[SurfaceLanding, ...]


def read_transition(folder: Path, held: Calibration | None = None, *, today: date | None = None) -> Joined:
    """The migration in a folder: ``program.toml``, ``program/*.toml``, ``capacity.toml`` and ``transition.toml``.

    Args:
        folder: Where it is.
        held: Measured constants, for surfaces whose work is named.
        today: The day; constants that have expired predict nothing.

    Raises:
        CapacityError, ProgramError: What reading the files, `join` or `calibration.predict` refuse.
    """
    joining = read_joining(folder / FILE)
    return join(read_program(folder), with_work(read_plan(folder / PLAN), joining, held, today), joining)


def join(program: Program, capacity: Transition, joining: Joining) -> Joined:
    """The two plans together, if they are of one migration.

    Raises:
        CapacityError: ``capacity-082`` for a surface on one side only.
        ProgramError: ``program-090`` for a milestone, task, pool or resource that is not there.
    """
    names = {one.name for one in capacity.surfaces}
    for name in sorted(names ^ set(joining.surfaces)):
        side = f"{PLAN} and not in {FILE}" if name in names else f"{FILE} and not in {PLAN}"
        raise CapacityError(
            f"found surface {name!r} in {side}, expected it in both",
            code="capacity-082",
            hint=did_you_mean(name, names | set(joining.surfaces)),
        )
    resources = {one.name for one in capacity.resources}
    for name, link in sorted(joining.surfaces.items()):
        _there("milestone", link.lands, program.milestones, f"surfaces.{name}.lands")
        for task in link.holds:
            _there("task", task, program.tasks, f"surfaces.{name}.holds")
        for task in link.timed:
            _there("task", task, program.tasks, f"surfaces.{name}")
    for name, link in sorted(joining.pools.items()):
        _there("pool", name, program.pools, "pools")
        _there("resource", link.resource, resources, f"pools.{name}.resource")
    return _one_need(Joined(program, _pools_over_old(capacity, joining), joining))


def _there(kind: str, name: str, known: Mapping[str, object] | set[str], where: str) -> None:
    if name not in known:
        raise ProgramError(
            f"found {kind} {name!r} at {where} of {FILE}, which is in neither plan",
            code="program-090",
            hint=did_you_mean(name, known),
        )


def with_work(plan: Transition, joining: Joining, held: Calibration | None, today: date | None) -> Transition:
    """The capacity plan with needs of the rankers that each request asks: requests x measured seconds / busy."""
    if not joining.work:
        return plan
    if held is None or today is None:
        raise CapacityError(
            f"found no measured constants for the work in {FILE}",
            code="capacity-053",
            hint="mainstem transition run measures them, as mainstem capacity calibrate does",
        )
    names = {one.name for one in plan.surfaces}
    for name in joining.work:
        if name not in names:
            raise CapacityError(
                f"found work of {name!r} in {FILE} and no such surface in {PLAN}",
                code="capacity-082",
                hint=did_you_mean(name, names),
            )
    return replace(plan, surfaces=tuple(_worked(one, joining, held, today) for one in plan.surfaces))


def _worked(one: SurfaceMove, joining: Joining, held: Calibration, today: date) -> SurfaceMove:
    work = joining.work.get(one.name)
    if work is None:
        return one

    def need(side: Mapping[str, Need], shapes: SurfaceWork, which: str) -> dict[str, Need]:
        asked = shapes.old if which == "old" else shapes.new
        seconds = sum(predict(held, "ranker", shape, today=today).seconds for shape in asked)
        before = side.get(joining.resource, Need())
        return dict(side) | {joining.resource: Need(shapes.requests * seconds / joining.busy, before.whole)}

    return replace(one, old=need(one.old, work, "old"), new=need(one.new, work, "new"))


def _pools_over_old(plan: Transition, joining: Joining) -> Transition:
    """The capacity plan with pools stated over what the old stacks hold in week 0."""
    over = {link.resource: link.over_old for link in joining.pools.values() if link.over_old}
    old = {name: sum(_units(one.old.get(name)) for one in plan.surfaces) for name in over}
    return replace(
        plan,
        resources=tuple(
            replace(one, pool={week: share * old[one.name] for week, share in over[one.name].items()})
            if one.name in over
            else one
            for one in plan.resources
        ),
    )


def _one_need(held: Joined) -> Joined:
    """The program's tasks hold what the capacity plan says: the last of a surface all of the new stack, others its shadow."""
    tasks = dict(held.program.tasks)
    moves = {one.name: one for one in held.capacity.surfaces}
    for name, link in held.joining.surfaces.items():
        for pool, of in held.joining.pools.items():
            whole = _units(moves[name].new.get(of.resource))
            for task in link.holds:
                amount = whole if task == link.holds[-1] else whole * moves[name].shadow
                tasks[task] = msgspec.structs.replace(tasks[task], needs=tasks[task].needs | {pool: amount})
    return replace(held, program=msgspec.structs.replace(held.program, tasks=tasks))


def _units(need: Need | None) -> float:
    return 0.0 if need is None else need.by_traffic + need.whole


def weeks_of(held: Joined, days: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first whole week after a number of working days."""
    ends = calendar_of(held.program).ends(np.asarray(days, np.float64))
    return ((ends - np.datetime64(held.monday)).astype(np.int64) // WEEK + 1).astype(np.float64)


def timed_tasks(held: Joined) -> tuple[str, ...]:
    """The tasks whose days in each world are the weeks of a ramp or of a shadow."""
    return tuple(sorted({task for link in held.joining.surfaces.values() for task in link.timed}))


def ramp_weeks(held: Joined, lasted: Lasted) -> dict[str, NDArray[np.float64]]:
    """By surface and world, whole weeks from the first stage to the last, where a task says them.

    A ramp that the capacity plan has no weeks for has none to stretch.
    """
    found = {}
    for one in held.capacity.surfaces:
        task = held.joining.surfaces[one.name].ramp
        if task in lasted and _planned(one):
            found[one.name] = _whole_weeks(lasted[task])
    return found


def shadow_weeks(held: Joined, lasted: Lasted) -> dict[str, NDArray[np.float64]]:
    """By surface and world, whole weeks of shadow, where a task says them."""
    links = {one.name: held.joining.surfaces[one.name] for one in held.capacity.surfaces}
    return {name: _whole_weeks(lasted[link.shadow]) for name, link in links.items() if link.shadow in lasted}


def _whole_weeks(days: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ceil(np.asarray(days, np.float64) / WORKING_DAYS - 1e-9)


def _planned(one: SurfaceMove) -> int:
    return sum(weeks for _, weeks in one.stages[:-1])


def first_stages(
    held: Joined, landed: Mapping[str, NDArray[np.float64]], lasted: Lasted | None = None
) -> dict[str, NDArray[np.float64]]:
    """By surface the week of the first stage in each world, if its last begins the week after ``landed`` working days.

    No stage begins before its capacity is there, which is the lead ahead of the week it was ordered for.

    Args:
        held: The migration.
        landed: By milestone, working days until it is reached in each world.
        lasted: By task, working days that it takes in each world; without, stages take the capacity plan's weeks.
    """
    ramps, found = ramp_weeks(held, lasted or {}), {}
    for one in held.capacity.surfaces:
        landing = weeks_of(held, landed[held.joining.surfaces[one.name].lands])
        ramp = ramps.get(one.name, np.full(len(landing), float(_planned(one))))
        found[one.name] = np.maximum(landing - ramp, one.start - one.lead + _shortened(one, ramp))
    return found


def _shortened(one: SurfaceMove, ramp: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how many weeks at most a stage would come before the one it was ordered for, in ramps of so many weeks."""
    lengths, where = np.unique(ramp, return_inverse=True)
    ordered = stage_begins(one.stages, _planned(one))
    sooner = [
        max(was - now for was, now in zip(ordered, stage_begins(one.stages, int(weeks)), strict=True))
        for weeks in lengths
    ]
    return np.array(sooner, np.float64)[where]


def capacity_worlds(
    held: Joined,
    starts: Mapping[str, NDArray[np.float64]],
    worlds: int,
    seed: int = 0,
    lasted: Lasted | None = None,
) -> Worlds:
    """Capacity by week where the first stages begin as given, and new capacity comes when it was ordered."""
    waits = {one.name: np.asarray(starts[one.name], np.float64) - one.start for one in held.capacity.surfaces}
    ramps, shadows = ramp_weeks(held, lasted or {}), shadow_weeks(held, lasted or {})
    return draw_worlds(held.capacity, worlds, seed, starts=starts, waits=waits, ramps=ramps, shadows=shadows)


def landings_of(held: Joined, worlds: int, seed: int = 0) -> Landings:
    """The program's worlds, with the days of the tasks that capacity asks for."""
    return simulate(held.program, worlds=worlds, seed=seed, timed=timed_tasks(held))


def outcome(held: Joined, *, worlds: int = WORLDS, seed: int = 0, landings: Landings | None = None) -> Outcome:
    """What all worlds of the program do to capacity.

    Args:
        held: The migration.
        worlds: How many.
        seed: Which; both desks draw of it, each unknown by its own name.
        landings: What `landings_of` drew, where it was drawn already.
    """
    found = landings or landings_of(held, worlds, seed)
    starts = first_stages(held, found.landings, found.lasted)
    drawn = capacity_worlds(held, starts, len(found.ends), seed, found.lasted)
    told = timeline(drawn)
    surfaces = tuple(_surface(held, one, found, starts[one.name], told) for one in held.capacity.surfaces)
    return Outcome(told, resource_weeks(held.capacity, told), surfaces)


def _surface(
    held: Joined, one: SurfaceMove, found: Landings, starts: NDArray[np.float64], told: Timeline
) -> SurfaceLanding:
    calendar, days = calendar_of(held.program), found.landings[held.joining.surfaces[one.name].lands]
    low, middle, high = (calendar.ends_on(float(day)) for day in np.quantile(days, (0.1, 0.5, 0.9)))
    return SurfaceLanding(
        one.name, (low, middle, high), Band.of(starts), one.start, Band.of(starts - one.start), told.dual[one.name]
    )


def resource_weeks(plan: Transition, found: Timeline) -> tuple[ResourceWeeks, ...]:
    """Each resource's weeks, as the page of capacity shows them."""
    limits = pools(plan)
    return tuple(
        ResourceWeeks(
            one.name,
            one.unit,
            tuple(
                _week(week, one.held[week], float(one.baseline[week, 1]), float(limits[at, week]))
                for week in range(plan.weeks)
            ),
            one.peak,
            one.peak_week,
            one.dual,
            one.at_end,
            one.short_chance,
        )
        for at, one in enumerate(found.resources)
    )


def _week(week: int, held: NDArray[np.float64], baseline: float, pool: float) -> WeekLine:
    p10, p50, p90 = (float(one) for one in held)
    return WeekLine(week, p10, p50, p90, baseline, pool if np.isfinite(pool) else None)
