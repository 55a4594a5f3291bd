"""What a slip does: a surface that lands later, or whose ramp takes longer, and the dual running that is on paper for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from mainstem.base.errors import CapacityError, ProgramError, did_you_mean
from mainstem.program.durations import three_points
from mainstem.workspace.transition import WORKING_DAYS, Joined
from mainstem.workspace.transition_file import FILE, SurfaceLink


def delayed(held: Joined, surface: str, weeks: int) -> Joined:
    """The migration with one surface's landing so many weeks of five working days later, and all that waits for it.

    Raises:
        CapacityError: ``capacity-082`` for a surface that does not move.
    """
    name = _link(held, surface).lands
    one = held.program.milestones[name]
    later = [_later(link, WORKING_DAYS * weeks) for link in one.after]
    milestones = held.program.milestones | {name: msgspec.structs.replace(one, after=later)}
    return replace(held, program=msgspec.structs.replace(held.program, milestones=milestones))


def stretched(held: Joined, surface: str, weeks: int) -> Joined:
    """The migration in which one surface's ramp takes so many weeks more, or below zero less; its landing moves with it.

    Raises:
        CapacityError: ``capacity-082`` for a surface that does not move.
        ProgramError: ``program-092`` where no task is its ramp, or nothing of it would be left.
    """
    task = _link(held, surface).ramp
    given = three_points(held.program.tasks[task].duration, f"tasks.{task}.duration") if task else ()
    points = [days + WORKING_DAYS * weeks for days in given]
    if not points or min(points) <= 0:
        raise ProgramError(
            f"found {'no days left of' if task else 'no task that is'} the ramp of {surface!r}, {weeks} weeks longer",
            code="program-092",
            hint=f"ramp = TASK in surfaces.{surface} of {FILE}, and fewer weeks than it takes",
        )
    tasks = held.program.tasks | {task: msgspec.structs.replace(held.program.tasks[task], duration=points)}
    return replace(held, program=msgspec.structs.replace(held.program, tasks=tasks))


def _link(held: Joined, surface: str) -> SurfaceLink:
    links: Mapping[str, SurfaceLink] = held.joining.surfaces
    if surface not in links:
        raise CapacityError(
            f"found surface {surface!r}, which does not move", code="capacity-082", hint=did_you_mean(surface, links)
        )
    return links[surface]


def _later(link: str, days: int) -> str:
    name, _, wait = link.partition("+")
    return f"{name}+{int(wait or 0) + days}"


def late_dual_running(weeks: float, old: float, new: float) -> float:
    """Unit-weeks of dual running that so many weeks of delay add on paper, once capacity was ordered.

    The old stack stays that much longer beside a new one that is there already. Of two that differ, the smaller one is
    doubled: what the new stack needs beyond the old one it would have needed afterwards too.
    """
    return weeks * min(old, new)


def longer_ramp_dual_running(more: Sequence[tuple[float, int]], old: float, new: float, reserve: float = 0.0) -> float:
    """Unit-weeks of dual running that a longer ramp adds on paper, once all of its capacity was there.

    A week more at a stage is a week less of the end. What is above the old stack alone is what the new one holds less what the
    old one has let go of, and never below zero.

    Args:
        more: By stage its share of traffic, and by how many weeks it is longer (below zero: shorter).
        old, new: Units of either stack with all traffic.
        reserve: The share of traffic the old stack must be able to take back.
    """
    end = max(0.0, new - old)
    return sum(weeks * (max(0.0, new - old * min(share, 1.0 - reserve)) - end) for share, weeks in more)
