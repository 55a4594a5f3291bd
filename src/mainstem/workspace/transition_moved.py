"""What moved in a migration since a revision, with its effect on each P80 and on what capacity peaks at and costs.

Both states are drawn with the same random numbers and judged with the same measured seconds, so that only what was edited moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec

from mainstem.capacity.calibration import Calibration
from mainstem.capacity.plan_file import parse_plan
from mainstem.capacity.transition import Transition
from mainstem.program.moved import Edit, Move, Moved, program_at, text_at, what_moved
from mainstem.workspace.capacity_desk import PLAN
from mainstem.workspace.transition import Joined, join, outcome, with_work
from mainstem.workspace.transition_file import FILE, parse_joining

WORLDS = 4_000
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class CapacityMove:
    """A figure of capacity then and now, its median over the same worlds."""

    what: str
    was: float
    now: float
    unit: str

    @property
    def by(self) -> float:
        """How far it moved."""
        return self.now - self.was


@dataclass(frozen=True, slots=True)
class TransitionMoved:
    """What moved.

    Args:
        program: Edits of the program and of the capacity plan, with who and why where a change record says so, and what
            they did to each milestone's P80.
        capacity: Peaks, dual running by surface, and its cost, where they moved.
    """

    program: Moved
    capacity: tuple[CapacityMove, ...]


def transition_at(folder: Path, revision: str, held: Calibration | None = None, *, today: date | None = None) -> Joined:
    """The migration of a git revision, judged with the constants that are given.

    Raises:
        ProgramError: ``program-030`` for no repository, no such revision or no such file in it.
    """
    joining = parse_joining(text_at(folder, revision, FILE), f"{revision}:{FILE}")
    capacity = parse_plan(text_at(folder, revision, PLAN), f"{revision}:{PLAN}")
    return join(program_at(folder, revision), with_work(capacity, joining, held, today), joining)


def what_moved_both(was: Joined, now: Joined, *, worlds: int = WORLDS, seed: int = 0) -> TransitionMoved:
    """What moved from one state of a migration to another?"""
    found = what_moved(was.program, now.program, worlds=worlds, seed=seed)
    edits = (*found.edits, *_capacity_edits(was.capacity, now.capacity))
    return TransitionMoved(Moved(edits, found.moves), tuple(_moves(was, now, worlds, seed)))


def _moves(was: Joined, now: Joined, worlds: int, seed: int) -> list[CapacityMove]:
    before, after = (_figures(one, worlds, seed) for one in (was, now))
    return [
        CapacityMove(what, before[what][0], value, unit)
        for what, (value, unit) in after.items()
        if what in before and abs(before[what][0] - value) > _SAME * max(1.0, abs(value))
    ]


def _figures(held: Joined, worlds: int, seed: int) -> dict[str, tuple[float, str]]:
    """Every figure that may move, with its unit."""
    told = outcome(held, worlds=worlds, seed=seed).timeline
    found: dict[str, tuple[float, str]] = {}
    for line in told.resources:
        found[f"{line.name} peak P50"] = (line.peak.p50, line.unit)
        found[f"{line.name} peak P90"] = (line.peak.p90, line.unit)
        for surface, dual in told.dual.items():
            found[f"{line.name} dual running of {surface} P50"] = (dual[line.name].p50, f"{line.unit}-weeks")
    found["dual running costs P50"] = (told.money.p50, "money")
    return found


def _capacity_edits(was: Transition, now: Transition) -> list[Edit]:
    """Fields of resources and surfaces that are not what they were; a need that was measured is none of a file."""
    out = []
    for kind in ("resources", "surfaces"):
        old, new = (
            {one.name: msgspec.to_builtins(one, str_keys=True) for one in getattr(plan, kind)} for plan in (was, now)
        )
        for name in sorted(old.keys() | new.keys()):
            if name not in old or name not in new:
                there = name in old
                out.append(Edit(f"{kind}.{name}", "", "there" if there else "", "" if there else "there", "", ""))
                continue
            out += [
                Edit(f"{kind}.{name}", key, str(old[name][key]), str(value), "", "")
                for key, value in sorted(new[name].items())
                if old[name][key] != value
            ]
    return out


def moves_of(found: TransitionMoved) -> tuple[Move, ...]:
    """Both desks' moves as one list, for a report that knows the program's only."""
    told = tuple(Move(one.what, f"{one.was:.1f}", f"{one.now:.1f}", one.by, one.unit) for one in found.capacity)
    return (*found.program.moves, *told)
