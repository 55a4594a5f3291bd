"""Which milestones have been shown, by records with a value, a time and an age limit; never by opinion.

A gate is **green** when its newest record is young enough and within its bounds, **red** when it is young enough and is not,
and **grey** when there is none, it is too old, it is dated after today, or it is in doubt: the file it rests on changed since.
Stale is never green, and neither is a record in doubt: an older one does not stand in for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from mainstem.base.errors import ProgramError
from mainstem.base.evidence import Evidence
from mainstem.base.evidence_chain import read_records
from mainstem.program.checks import link_parts
from mainstem.program.records import Gate, Program

__all__ = (
    "NO_DOUBTS",
    "Evidence",
    "GateState",
    "escalations",
    "gate_states",
    "milestone_colours",
    "read_evidence",
    "waiting_on",
)

GREEN: Final = "green"
RED: Final = "red"
GREY: Final = "grey"
NO_DOUBTS: Final[Mapping[str, str]] = MappingProxyType({})
"""Every record counts."""


@dataclass(frozen=True, slots=True)
class GateState:
    """How one gate of a milestone stands, and the record that says so (empty when there is none)."""

    milestone: str
    kind: str
    about: str
    colour: str
    record: str
    value: float | None
    age_days: int | None
    owner: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Escalation:
    """Somebody who has to hear of something today, by rule."""

    what: str
    owner: str
    to: str
    age_days: int
    exposure: tuple[str, ...]
    sentence: str


def read_evidence(file: Path) -> list[Evidence]:
    """The records of a file: a workspace's ``records.jsonl``, or lines that another tool wrote, one JSON object each.

    A line of another tool may say ``on`` (a day, taken as its beginning in UTC) where ours say ``at``.

    Raises:
        ProgramError: The file is not there, or a line is no record (``program-040``), or an id comes twice (``program-041``).
        EvidenceError: A workspace's file was tampered with (``evidence-020``, ``evidence-021``).
    """
    if not file.is_file():
        raise ProgramError(f"found no {file}, expected evidence", code="program-040", hint="one JSON record a line")
    lines = file.read_text(encoding="utf-8").splitlines()
    if lines and lines[0].startswith('{"n":0,"previous":'):
        return list(read_records(file).records)
    out: dict[str, Evidence] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        one = _outside(line, f"{file}:{number}")
        if one.id in out:
            raise ProgramError(
                f"{file}:{number}: the id {one.id!r} comes twice", code="program-041", hint="records are never replaced"
            )
        out[one.id] = one
    return list(out.values())


def _outside(line: str, where: str) -> Evidence:
    """A record as another tool writes it."""
    try:
        told: Any = msgspec.json.decode(line)
        if isinstance(told, dict) and "on" in told and "at" not in told:
            day = msgspec.convert(told.pop("on"), date)
            told["at"] = datetime(day.year, day.month, day.day, tzinfo=UTC)
        one = msgspec.convert(told, Evidence)
        if not one.id:
            raise msgspec.ValidationError("found no id")
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ProgramError(
            f"{where}: {error}", code="program-040", hint="expected id, kind, about, value and at (or on)"
        ) from None
    return one


def gate_states(
    program: Program, evidence: Iterable[Evidence], today: date, doubts: Mapping[str, str] = NO_DOUBTS
) -> list[GateState]:
    """How each gate of each milestone stands today.

    Args:
        program: The plan.
        evidence: What was measured; of equal times the later in this order counts.
        today: The day.
        doubts: By a record's id, why it no longer counts, such as that its file changed since.
    """
    records = sorted(evidence, key=lambda one: one.at)
    return [
        _state(program, name, gate, records, today, doubts)
        for name, one in sorted(program.milestones.items())
        for gate in one.gates
    ]


def milestone_colours(states: Iterable[GateState]) -> dict[str, str]:
    """A milestone is as its worst gate: red, else grey, else green. One without gates is not listed."""
    worst: dict[str, str] = {}
    for one in states:
        rank = (GREEN, GREY, RED).index
        worst[one.milestone] = max(worst.get(one.milestone, GREEN), one.colour, key=rank)
    return worst


def _state(
    program: Program, milestone: str, gate: Gate, records: list[Evidence], today: date, doubts: Mapping[str, str]
) -> GateState:
    what = f"{gate.kind} of {gate.about}" if gate.about else gate.kind
    owner = program.owner_of(milestone)
    fitting = [one for one in records if one.kind == gate.kind and one.about == gate.about]
    known = [one for one in fitting if one.day <= today]
    if not known:
        ahead = f", but {fitting[-1].id} is dated {fitting[-1].day}, after today" if fitting else ""
        told = f"milestones.{milestone}: no evidence of {what}{ahead}."
        return GateState(milestone, gate.kind, gate.about, GREY, "", None, None, owner, told)
    newest = known[-1]
    age = (today - newest.day).days
    colour, judged = _judged(gate, newest, age, doubts.get(newest.id, ""))
    told = f"milestones.{milestone}: {what} is {newest.value:g} ({newest.id}), {judged}."
    return GateState(milestone, gate.kind, gate.about, colour, newest.id, newest.value, age, owner, told)


def _judged(gate: Gate, newest: Evidence, age: int, doubt: str) -> tuple[str, str]:
    """The colour of a gate by its newest record, and why."""
    bounds, made = _bounds(gate), ", in a made world" if newest.made else ""
    if doubt:
        return GREY, f"in doubt: {doubt}"
    if age > gate.max_age_days:
        return GREY, f"stale: {age} days old, {gate.max_age_days:g} allowed"
    if gate.real and newest.made:
        return GREY, "measured in a made world, and the gate asks for a real log"
    if not math.isfinite(newest.value) or not _within(newest.value, gate):
        return RED, f"not {bounds}{made}"
    return GREEN, f"{bounds}, {age} days old{made}"


def _bounds(gate: Gate) -> str:
    low, high = _limits(gate)
    if low is not None and low == high:
        return f"{low:g}"
    named = (("at least", low), ("at most", high))
    return " and ".join(f"{name} {limit:g}" for name, limit in named if limit is not None)


def _limits(gate: Gate) -> tuple[float | None, float | None]:
    """A gate without bounds is a yes or no: at least 1."""
    return (1.0, None) if gate.at_least is None and gate.at_most is None else (gate.at_least, gate.at_most)


def _within(value: float, gate: Gate) -> bool:
    low, high = _limits(gate)
    return (low is None or value >= low) and (high is None or value <= high)


def escalations(program: Program, states: Iterable[GateState], today: date) -> list[Escalation]:
    """Who has to hear today: open blockers, risks whose review is over, and gates that are red or grey near their day.

    A blocker goes to its owner, and after ``escalate_after_days`` to the owner's ``escalates_to``. A gate goes to its
    milestone's owner from fourteen days before ``due``, and from that day on one step higher.
    """
    return [*_blockers(program, today), *_reviews(program, today), *_gates(program, states, today)]


def _up(program: Program, owner: str, *, higher: bool) -> str:
    above = program.owners[owner].escalates_to if owner in program.owners else ""
    return above if higher and above else owner


def _blockers(program: Program, today: date) -> list[Escalation]:
    out = []
    for name, one in sorted(program.blockers.items()):
        if one.since > today or (one.closed is not None and one.closed <= today):
            continue
        age = (today - one.since).days
        to = _up(program, one.owner, higher=age >= one.escalate_after_days)
        exposed = tuple(waiting_on(program, one.blocks))
        told = f"blockers.{name}: open {age} days, holds up {', '.join(one.blocks)} and {len(exposed)} after; to {to}."
        out.append(Escalation(f"blockers.{name}", one.owner, to, age, exposed, told))
    return out


def _reviews(program: Program, today: date) -> list[Escalation]:
    records = [
        (f"{kind}.{name}", one)
        for kind in ("risks", "assumptions")
        for name, one in sorted(getattr(program, kind).items())
    ]
    out = []
    for what, one in records:
        if one.review is None or one.review >= today or getattr(one, "closed", None) is not None:
            continue
        age = (today - one.review).days
        to = _up(program, one.owner, higher=age >= 7)
        exposed = tuple(getattr(one, "tasks", ()))
        out.append(
            Escalation(what, one.owner, to, age, exposed, f"{what}: review is {age} days over; to {to or 'nobody'}.")
        )
    return out


def _gates(program: Program, states: Iterable[GateState], today: date) -> list[Escalation]:
    out = []
    for one in states:
        due, done = program.milestones[one.milestone].due, program.milestones[one.milestone].done
        if one.colour == GREEN or due is None or done is not None or (due - today).days > 14:
            continue
        to = _up(program, one.owner, higher=today >= due)
        out.append(
            Escalation(f"milestones.{one.milestone}", one.owner, to, (today - due).days, (one.milestone,), one.sentence)
        )
    return out


def waiting_on(program: Program, names: Iterable[str]) -> list[str]:
    """What comes, directly or not, after some tasks and milestones."""
    nodes = program.tasks | program.milestones
    held, found = set(names), set()
    follow: dict[str, list[str]] = {}
    for name, one in nodes.items():
        for link in one.after:
            follow.setdefault(link_parts(link, nodes)[0], []).append(name)
    while held:
        held = {one for name in held for one in follow.get(name, ())} - found
        found |= held
    return sorted(found)
