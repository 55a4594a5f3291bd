"""How the program of a workspace stands today: its plan, the evidence, the forecast and what moved, as one record to show.

The plan is ``program.toml`` of the workspace's folder (and ``program/*.toml``); nothing here writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from mainstem.base.errors import EvidenceError
from mainstem.program.critical_path import Schedule, schedule_network, why_critical
from mainstem.program.evidence import Escalation, GateState, escalations, gate_states, milestone_colours
from mainstem.program.network import calendar_of, network_of
from mainstem.program.plan_file import FILE, read_program
from mainstem.program.records import Program
from mainstem.program.workdays import WorkCalendar
from mainstem.program.worlds import Worlds, chance_by, landing_dates, simulate
from mainstem.workspace.evidence_log import Held, held_evidence
from mainstem.workspace.layout import Workspace

WORLDS: Final = 4_000
"""For a page; ``mainstem program forecast`` draws more."""
MOVED: Final = "program_moved"
"""The evidence that ``mainstem program moved`` leaves in a workspace."""
NO_GATE: Final = ""
TIGHT: Final = 1e-9
"""Less slack than this, in working days, is none."""


@dataclass(frozen=True, slots=True)
class MilestoneLine:
    """One milestone: the colour of its gates, and when it lands in one, five, eight and nine worlds of ten."""

    name: str
    owner: str
    colour: str
    due: date | None
    done: date | None
    p10: date
    p50: date
    p80: date
    p90: date
    kept: float | None


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One task at the medians: its dates, its slack in working days and the latest end; how often it is critical in the worlds."""

    name: str
    workstream: str
    owner: str
    starts: date
    ends: date
    slack: float
    latest: date
    critical: float
    crucial: float
    state: str


@dataclass(frozen=True, slots=True)
class ProgramPicture:
    """All that a page of the program shows.

    Attributes:
        gates: As ``mainstem program gates`` tells them.
        path: The chain that ends last at the medians, from its first cause on.
        tight: How many tasks and milestones have no slack, on that chain or beside it.
        moved: What ``mainstem program moved`` stored last, as plain values; None before it ran.
        head, records: Of the evidence; ``problem`` says why none of it counts, and all gates are grey then.
    """

    name: str
    today: date
    milestones: tuple[MilestoneLine, ...]
    gates: tuple[GateState, ...]
    escalations: tuple[Escalation, ...]
    tasks: tuple[TaskLine, ...]
    path: tuple[str, ...]
    tight: int
    risks: tuple[dict[str, Any], ...]
    moved: dict[str, Any] | None
    worlds: int
    head: str
    records: int
    made: int
    problem: str


def program_picture(
    workspace: Workspace, today: date | None = None, *, worlds: int = WORLDS, seed: int = 0
) -> ProgramPicture | None:
    """The program of a workspace as it stands; None where there is no plan.

    Args:
        workspace: Whose.
        today: The day; None takes the plan's ``as_of``, else the system's day in UTC.
        worlds: How many are drawn.
        seed: Which.

    Raises:
        ProgramError: The plan cannot be meant.
        DataError: What moved was stored and cannot be read (``data-070``).
    """
    if not (workspace.folder / FILE).is_file():
        return None
    program = read_program(workspace.folder)
    day = today or program.program.as_of or datetime.now(UTC).date()
    held, problem = _evidence(workspace)
    states = gate_states(program, held.records, day, held.doubts)
    drawn, schedule = simulate(program, worlds=worlds, seed=seed), schedule_network(network_of(program))
    used = {one.record for one in states}
    return ProgramPicture(
        name=program.program.name,
        today=day,
        milestones=_milestones(program, drawn, milestone_colours(states)),
        gates=tuple(states),
        escalations=tuple(escalations(program, states, day)),
        tasks=_tasks(program, drawn, schedule),
        path=_path(schedule),
        tight=len(schedule.critical()),
        risks=_risks(program),
        moved=workspace.read_evidence(MOVED),
        worlds=worlds,
        head=held.head,
        records=len(held.records),
        made=sum(one.made for one in held.records if one.id in used),
        problem=problem,
    )


def _evidence(workspace: Workspace) -> tuple[Held, str]:
    """The evidence; nothing of it, and why, when it was tampered with."""
    try:
        return held_evidence(workspace), ""
    except EvidenceError as error:
        return Held(), f"{error.message} ({error.code})"


def _milestones(program: Program, drawn: Worlds, colours: dict[str, str]) -> tuple[MilestoneLine, ...]:
    lines = []
    for name, days in landing_dates(program, drawn).items():
        if not name:  # the whole plan
            continue
        one = program.milestones[name]
        kept = chance_by(program, drawn, name, one.due) if one.due and not one.done else None
        p10, p50, p80, p90 = days[0.1], days[0.5], days[0.8], days[0.9]
        owner, colour = program.owner_of(name), colours.get(name, NO_GATE)
        lines.append(MilestoneLine(name, owner, colour, one.due, one.done, p10, p50, p80, p90, kept))
    return tuple(sorted(lines, key=lambda one: (one.p50, one.name)))


def _tasks(program: Program, drawn: Worlds, schedule: Schedule) -> tuple[TaskLine, ...]:
    calendar, names = calendar_of(program), schedule.network.names
    lines = [_task(program, drawn, schedule, calendar, at) for at, name in enumerate(names) if name in program.tasks]
    return tuple(sorted(lines, key=lambda one: (one.state == "done", one.starts, one.ends, one.name)))


def _task(program: Program, drawn: Worlds, schedule: Schedule, calendar: WorkCalendar, at: int) -> TaskLine:
    name = schedule.network.names[at]
    one = program.tasks[name]
    state = "done" if one.done else "begun" if one.started else "open"
    slack = float(schedule.slack[at])
    slack = 0.0 if one.done or slack <= TIGHT else slack
    starts, ends = calendar.starts_on(float(schedule.start[at])), calendar.ends_on(float(schedule.finish[at]))
    latest = calendar.ends_on(float(schedule.finish[at]) + slack) if slack else ends
    owner, critical, crucial = program.owner_of(name), drawn.critical[name], drawn.crucial[name]
    return TaskLine(name, one.workstream, owner, starts, ends, slack, latest, critical, crucial, state)


def _path(schedule: Schedule) -> tuple[str, ...]:
    """The chain behind what ends last; of several, the one first by name."""
    held = zip(schedule.network.names, schedule.finish.tolist(), schedule.slack.tolist(), strict=True)
    last = min(((-finish, name) for name, finish, slack in held if slack <= TIGHT), default=None)
    return why_critical(schedule, last[1]).path if last else ()


def _risks(program: Program) -> tuple[dict[str, Any], ...]:
    """Open risks, the likeliest first."""
    return tuple(
        {"name": name, "owner": one.owner, "chance": one.chance, "delay": list(one.delay), "tasks": list(one.tasks)}
        for name, one in sorted(program.risks.items(), key=lambda held: (-held[1].chance, held[0]))
        if one.closed is None
    )
