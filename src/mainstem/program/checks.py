"""Whether a plan can be meant: ids, links, quantiles, dates and pools, each refusal with the record it is in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from mainstem.base.errors import ProgramError, did_you_mean
from mainstem.program.durations import three_points
from mainstem.program.records import TABLES, Program

ID: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
"""What an id may be."""
_LINK: Final = re.compile(r"^(?P<id>.+?)(?P<lag>[+-]\d+(?:\.\d+)?)?$")


def check_program(program: Program, where: str) -> None:
    """Refuses what has no one meaning.

    Raises:
        ProgramError: An id is malformed or held twice (``program-004``), a link leads nowhere (``program-005``), quantiles
            are negative or swapped (``program-007``) or of two units (``program-011``), something ends before it starts
            (``program-008``), a number is out of bounds (``program-009``), or a task needs more than a pool has
            (``program-010``). Cycles are found where the network is made (``program-006``).
    """
    _check_ids(program, where)
    _check_links(program, where)
    _check_durations(program, where)
    _check_dates(program, where)
    _check_bounds(program, where)
    _check_pools(program, where)


def link_parts(link: str, known: Mapping[str, object]) -> tuple[str, float]:
    """A link as the id it names and the days it waits: ``"a+3"`` is ``("a", 3.0)``; an id that is known is itself."""
    if link in known:
        return link, 0.0
    found = _LINK.match(link)
    if found is None or found["lag"] is None:
        return link, 0.0
    return found["id"], float(found["lag"])


def _check_ids(program: Program, where: str) -> None:
    seen: dict[str, str] = {}
    for kind in TABLES:
        for name in getattr(program, kind):
            if not ID.match(name):
                raise ProgramError(
                    f"{where}: [{kind}.{name}] is no id, expected letters, digits, '-', '_' and '.'",
                    code="program-004",
                    hint="rename it",
                )
            if name in seen:
                raise ProgramError(
                    f"{where}: [{kind}.{name}] has the id of [{seen[name]}.{name}], expected one record an id",
                    code="program-004",
                    hint="rename one of them",
                )
            seen[name] = kind


def _check_links(program: Program, where: str) -> None:
    nodes = program.tasks.keys() | program.milestones.keys()
    both = dict.fromkeys(nodes)
    for kind in TABLES:
        for name, one in getattr(program, kind).items():
            place = f"{where}: {kind}.{name}"
            _known(getattr(one, "owner", ""), program.owners, f"{place}.owner")
            _known(getattr(one, "escalates_to", ""), program.owners, f"{place}.escalates_to")
            _known(getattr(one, "workstream", ""), program.workstreams, f"{place}.workstream")
            for link in getattr(one, "after", ()):
                _listed(link_parts(link, both)[0], both, f"{place}.after")
            for field, table in (("tasks", program.tasks), ("blocks", both), ("milestones", program.milestones)):
                for link in getattr(one, field, ()):
                    _listed(link, table, f"{place}.{field}")
            for pool in getattr(one, "needs", ()):
                _known(pool, program.pools, f"{place}.needs")


def _known(name: str, table: Iterable[str], place: str) -> None:
    """Nobody is an owner too; in a list of ids an empty one names nothing."""
    if name:
        _listed(name, table, place)


def _listed(name: str, table: Iterable[str], place: str) -> None:
    if name not in table:
        raise ProgramError(
            f"{place} names {name!r}, which is not in the plan", code="program-005", hint=did_you_mean(name, table)
        )


def _check_durations(program: Program, where: str) -> None:
    for name, task in program.tasks.items():
        three_points(task.duration, f"{where}: tasks.{name}.duration")
    for name, risk in program.risks.items():
        three_points(risk.delay, f"{where}: risks.{name}.delay")


def _check_dates(program: Program, where: str) -> None:
    first = program.program.start
    ended = [*program.tasks.items(), *program.milestones.items()]
    pairs = [
        *((f"tasks.{name}", "done", one.done, "started", one.started) for name, one in program.tasks.items()),
        *((f"tasks.{name}", "started", one.started, "program's start", first) for name, one in program.tasks.items()),
        *((f"record {name}", "done", one.done, "program's start", first) for name, one in ended),
        *((f"freezes.{name}", "last", one.last, "first", one.first) for name, one in program.freezes.items()),
        *((f"blockers.{name}", "closed", one.closed, "since", one.since) for name, one in program.blockers.items()),
    ]
    for place, late, ends, early, starts in pairs:
        if ends is not None and starts is not None and ends < starts:
            raise ProgramError(
                f"{where}: {place} has {late} {ends} before its {early} {starts}",
                code="program-008",
                hint="swap them, or mend the year",
            )


def _check_bounds(program: Program, where: str) -> None:
    bounded = [
        ("program.correlation", program.program.correlation, 0.0, 1.0),
        *((f"risks.{name}.chance", one.chance, 0.0, 1.0) for name, one in program.risks.items()),
        *((f"pools.{name}.size", one.size, 0.0, 1e12) for name, one in program.pools.items()),
        *((f"messages.{name}.every_days", one.every_days, 0.0, 3650.0) for name, one in program.messages.items()),
        *(
            (f"blockers.{name}.escalate_after_days", one.escalate_after_days, 0.0, 3650.0)
            for name, one in program.blockers.items()
        ),
        # An age limit that is no number would let stale evidence be green.
        *(
            (f"milestones.{name}.gates: max_age_days of {gate.kind}", gate.max_age_days, 0.0, 3650.0)
            for name, one in program.milestones.items()
            for gate in one.gates
        ),
    ]
    for place, value, low, high in bounded:
        if not low <= value <= high:
            raise ProgramError(
                f"{where}: {place} is {value}, expected {low:g} to {high:g}",
                code="program-009",
                hint="shares are 0 to 1",
            )


def _check_pools(program: Program, where: str) -> None:
    for name, task in program.tasks.items():
        for pool, amount in task.needs.items():
            size = program.pools[pool].size
            if not 0 <= amount <= size:
                raise ProgramError(
                    f"{where}: tasks.{name} needs {amount:g} of {pool}, which has {size:g}: it could never run",
                    code="program-010",
                    hint=f"raise pools.{pool}.size, or split the task",
                )
