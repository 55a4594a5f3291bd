"""Reports that write themselves: every sentence carries the record it rests on and the value, what is absent is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from mainstem.base.errors import ProgramError, did_you_mean
from mainstem.program.critical_path import schedule_network
from mainstem.program.evidence import (
    GREY,
    NO_DOUBTS,
    RED,
    Evidence,
    GateState,
    escalations,
    gate_states,
    milestone_colours,
)
from mainstem.program.moved import Moved
from mainstem.program.network import calendar_of, network_of
from mainstem.program.records import FORMS, Program
from mainstem.program.sentences import ABSENT, Report, Sentence
from mainstem.program.worlds import Worlds, chance_by, landing_dates

__all__ = ("FORMS", "Report", "Sentence", "write_report")

_ON_A_SLIDE: Final = 10
"""How many milestones a steering deck shows: the open ones that are promised soonest."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a report is told from; ``owner`` is empty for everybody's."""

    program: Program
    found: Worlds
    states: tuple[GateState, ...]
    today: date
    moved: Moved | None
    only: tuple[str, ...]
    owner: str

    def mine(self, name: str) -> bool:
        """Whether a record belongs into the report."""
        return not self.owner or self.program.owner_of(name) == self.owner

    def nothing(self, what: str) -> list[Sentence]:
        """The sentence that says that there is none of something."""
        if self.owner:
            return [Sentence(f"{self.owner} answers for no {what}.", f"owners.{self.owner}", ABSENT)]
        return [Sentence(f"No {what} is in the plan.", "program", ABSENT)]


def write_report(
    program: Program,
    form: str,
    today: date,
    found: Worlds,
    evidence: Iterable[Evidence] = (),
    moved: Moved | None = None,
    milestone: str = "",
    doubts: Mapping[str, str] = NO_DOUBTS,
    owner: str = "",
) -> Report:
    """The report of one form.

    Args:
        program: The plan.
        form: One of ``FORMS``.
        today: The day it is written for.
        found: The plan's worlds.
        evidence: What has been shown.
        moved: What moved since the last one; None is stated as absent.
        milestone: Which milestone a launch note is about.
        doubts: By a record's id, why it no longer counts.
        owner: Only what this owner answers for; everybody's when empty.

    Raises:
        ProgramError: No such form (``program-050``), or no such milestone or owner (``program-005``).
    """
    if form not in FORMS:
        raise ProgramError(f"{form!r} is no form of report", code="program-050", hint=did_you_mean(form, FORMS))
    if form == "launch-note" and milestone not in program.milestones:
        raise ProgramError(
            f"{milestone!r} is no milestone", code="program-005", hint=did_you_mean(milestone, program.milestones)
        )
    if owner and owner not in program.owners:
        raise ProgramError(f"{owner!r} is no owner", code="program-005", hint=did_you_mean(owner, program.owners))
    states = tuple(gate_states(program, evidence, today, doubts))
    told = _Told(program, found, states, today, moved, _about(program, form, milestone, owner), owner)
    parts = tuple((heading, tuple(write(told))) for heading, write in _PARTS[form])
    about = f" · {milestone}" if form == "launch-note" else f" · {owner}" if owner else ""
    return Report(f"{program.program.name}: {_TITLES.get(form, form)}{about}, {today}", parts)


def _about(program: Program, form: str, milestone: str, owner: str) -> tuple[str, ...]:
    """Which milestones a report tells of."""
    if form == "launch-note":
        return (milestone,)
    held = [name for name in sorted(program.milestones) if not owner or program.owner_of(name) == owner]
    if form != "deck":
        return tuple(held)
    still = [name for name in held if program.milestones[name].done is None]
    return tuple(sorted(still, key=lambda name: (program.milestones[name].due or date.max, name))[:_ON_A_SLIDE])


def _landings(told: _Told) -> list[Sentence]:
    program, found = told.program, told.found
    dates = landing_dates(program, found)
    out = []
    for name in told.only:
        one, at = program.milestones[name], f"milestones.{name}"
        if one.done is not None:
            out.append(Sentence(f"{name} was reached on {one.done}.", at, str(one.done)))
            continue
        held = dates[name]
        text = f"{name} lands by {held[0.5]} in half of the worlds and by {held[0.8]} in eight of ten"
        if one.due is None:
            out.append(Sentence(f"{text}; no day is promised.", at, str(held[0.8])))
        else:
            chance = chance_by(program, found, name, one.due)
            out.append(Sentence(f"{text}; {one.due} is promised and kept in {chance:.0%}.", at, f"{chance:.4f}"))
    return out or told.nothing("milestone")


def _more(told: _Told) -> list[Sentence]:
    """What a deck leaves out is counted."""
    held = [name for name, one in told.program.milestones.items() if told.mine(name) and one.done is None]
    left = len(held) - len(told.only)
    text = f"{left} further open milestones are in the weekly report."
    return [*_landings(told), *([Sentence(text, "program", str(left))] if left else [])]


def _colours(told: _Told) -> list[Sentence]:
    """Milestones with their colour, and the gates that hold one back."""
    colours = milestone_colours(one for one in told.states if one.milestone in told.only)
    out = [Sentence(f"{name} is {colours[name]}.", f"milestones.{name}", colours[name]) for name in sorted(colours)]
    out += [_state(one) for one in told.states if one.milestone in told.only and one.colour == RED]
    grey = sum(one.colour == GREY for one in told.states if one.milestone in told.only)
    if grey:
        out.append(Sentence(f"{grey} gates are grey: nothing is shown, or it is too old.", "program", str(grey)))
    return out or told.nothing("milestone with a gate")


def _state(one: GateState) -> Sentence:
    record = f"evidence.{one.record}" if one.record else f"milestones.{one.milestone}"
    return Sentence(one.sentence, record, ABSENT if one.value is None else f"{one.value:g}")


def _gates(told: _Told) -> list[Sentence]:
    states = [one for one in told.states if one.milestone in told.only]
    colours = milestone_colours(states)
    out = [Sentence(f"{name} is {colours[name]}.", f"milestones.{name}", colours[name]) for name in sorted(colours)]
    out += [_state(one) for one in states]
    out += [
        Sentence(f"{name} has no gate, so nothing has to be shown for it.", f"milestones.{name}", ABSENT)
        for name in told.only
        if name not in colours
    ]
    return out or told.nothing("gate")


def _goals(told: _Told) -> list[Sentence]:
    out = []
    for name, one in sorted(told.program.goals.items()):
        if not told.mine(name):
            continue
        actual = "absent: nobody has measured it" if one.actual is None else f"{one.actual:g} {one.unit}"
        value = ABSENT if one.actual is None else f"{one.actual:g}"
        out.append(
            Sentence(
                f"{name} ({one.half}) wants {one.target:g} {one.unit}; measured: {actual}.", f"goals.{name}", value
            )
        )
    return out or told.nothing("goal")


def _acts(told: _Told) -> list[Sentence]:
    held = escalations(told.program, told.states, told.today)
    held = [one for one in held if not told.owner or told.owner in (one.to, one.owner)]
    out = [Sentence(f"{one.to or 'Nobody'} hears: {one.sentence}", one.what, str(one.age_days)) for one in held]
    return out or [Sentence("Nothing has to be escalated today.", "program", "0")]


def _effects(told: _Told) -> list[Sentence]:
    """What moved as dates and pools, without the edits behind it."""
    moved = told.moved
    if moved is None:
        return [Sentence("What moved is absent: no earlier plan was given.", "program", ABSENT)]
    out = [
        Sentence(f"{one.what} went from {one.was} to {one.now}.", one.what.split(" ")[0], f"{one.by:g}")
        for one in moved.moves
        if not told.owner or told.mine(one.what.split(" ")[0].partition(".")[2])
    ]
    return out or [Sentence("No date and no pool's peak moved.", "program", "0")]


def _moves(told: _Told) -> list[Sentence]:
    out = _effects(told)
    edits = [] if told.moved is None else told.moved.edits
    for one in edits:
        if not told.mine(one.record.partition(".")[2]):
            continue
        who = f", by {one.who}: {one.why}" if one.who else "; who and why are absent"
        text = f"{one.record} {one.field} went from {one.was or 'absent'} to {one.now or 'absent'}{who}."
        out.append(Sentence(text, one.record, one.now or ABSENT))
    return out


def _chain(told: _Told) -> list[Sentence]:
    program, found = told.program, told.found
    ranked = sorted(
        filter(told.mine, program.tasks), key=lambda name: (-found.critical[name] * max(found.crucial[name], 0.0), name)
    )[:5]
    return [
        Sentence(
            f"{name} is critical in {found.critical[name]:.0%} of the worlds, and moves the end with {found.crucial[name]:.2f}.",
            f"tasks.{name}",
            f"{found.critical[name]:.4f}",
        )
        for name in ranked
        if found.critical[name] > 0
    ] or told.nothing("open task that decides the end")


def _done(told: _Told) -> list[Sentence]:
    held = [one for name, one in told.program.tasks.items() if told.mine(name)]
    done = sum(one.done is not None for one in held)
    return [Sentence(f"{done} of {len(held)} tasks are done.", "program", str(done))]


def _waits(told: _Told) -> list[Sentence]:
    program, milestone = told.program, told.only[0]
    network = network_of(program)
    done, calendar = schedule_network(network), calendar_of(program)
    at = network.names.index(milestone)
    return [
        Sentence(
            f"{network.names[one]} ends on {calendar.ends_on(float(done.finish[one]))} at the medians.",
            f"{'tasks' if network.names[one] in program.tasks else 'milestones'}.{network.names[one]}",
            str(calendar.ends_on(float(done.finish[one]))),
        )
        for one, _ in network.links_into(at)
    ] or [Sentence(f"{milestone} waits for nothing.", f"milestones.{milestone}", ABSENT)]


def _risks(told: _Told) -> list[Sentence]:
    held = [(name, one) for name, one in sorted(told.program.risks.items()) if one.closed is None and told.mine(name)]
    return [
        Sentence(
            f"{name} happens with {one.chance:.0%} and moves {', '.join(one.tasks)}.",
            f"risks.{name}",
            f"{one.chance:g}",
        )
        for name, one in held
    ] or told.nothing("open risk")


def _decisions(told: _Told) -> list[Sentence]:
    """What is still to be decided, which is what a steering meeting is for."""
    held = [
        (name, one)
        for name, one in sorted(told.program.decisions.items())
        if one.status == "proposed" and (not told.owner or one.owner == told.owner)
    ]
    return [
        Sentence(f"To decide: {one.title} ({one.owner or 'nobody'} decides).", f"decisions.{name}", one.status)
        for name, one in held
    ] or [Sentence("No decision is waiting.", "program", "0")]


_Part = tuple[str, Callable[[_Told], list[Sentence]]]
_LANDS: Final[_Part] = ("When it lands", _landings)
_SHOWN: Final[_Part] = ("What has been shown", _gates)
_ACT: Final[_Part] = ("Who has to act", _acts)
_PARTS: Final[dict[str, tuple[_Part, ...]]] = {
    "weekly": (
        _LANDS,
        _SHOWN,
        ("Goals", _goals),
        _ACT,
        ("What moved", _moves),
        ("What decides the end", _chain),
        ("Done", _done),
    ),
    "one-pager": (_LANDS, _SHOWN, ("Goals", _goals), _ACT),
    "launch-note": (_LANDS, _SHOWN, ("What it waits for", _waits), ("Risks", _risks)),
    "deck": (
        ("When it lands", _more),
        ("What has been shown", _colours),
        ("What moved", _effects),
        ("What decides the end", _chain),
        ("Risks", _risks),
        ("What is asked of you", lambda told: [*_decisions(told), *_acts(told)]),
        ("Goals", _goals),
    ),
}
_TITLES: Final = {"launch-note": "launch note", "deck": "steering deck"}
