"""Reports that write themselves: every sentence carries the record it rests on and the value, what is absent is said.

A report is sentences under headings. Markdown and HTML are two ways to print the same sentences.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from mainstem.base.errors import ProgramError, did_you_mean
from mainstem.program.critical_path import schedule_network
from mainstem.program.evidence import NO_DOUBTS, Evidence, GateState, escalations, gate_states, milestone_colours
from mainstem.program.moved import Moved
from mainstem.program.network import calendar_of, network_of
from mainstem.program.records import Program
from mainstem.program.worlds import Worlds, chance_by, landing_dates

FORMS: Final = ("weekly", "one-pager", "launch-note")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence, the record it rests on (``kind.id``) and the value it states; an absent value is ``absent``."""

    text: str
    record: str
    value: str


@dataclass(frozen=True, slots=True)
class Report:
    """A report: its title, and sentences by heading."""

    title: str
    parts: tuple[tuple[str, tuple[Sentence, ...]], ...]

    def sentences(self) -> list[Sentence]:
        """All sentences in order."""
        return [one for _, held in self.parts for one in held]

    def as_markdown(self) -> str:
        """The report as Markdown; each sentence ends with its record."""
        lines = [f"# {_marked(self.title)}"]
        for heading, held in self.parts:
            lines += ["", f"## {heading}", "", *(f"- {_marked(one.text)} `[{one.record}]`" for one in held)]
        return "\n".join(lines) + "\n"

    def as_html(self) -> str:
        """The report as a page that loads nothing from elsewhere."""
        title = html.escape(self.title)
        body = "".join(
            f"<h2>{html.escape(heading)}</h2><ul>"
            + "".join(
                f'<li data-record="{html.escape(one.record)}">{html.escape(one.text)} <code>{html.escape(one.record)}</code></li>'
                for one in held
            )
            + "</ul>"
            for heading, held in self.parts
        )
        style = "body{font:1rem/1.5 system-ui;max-width:48rem;margin:2rem auto;padding:0 1rem}"
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{style}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>\n"
        )


def write_report(
    program: Program,
    form: str,
    today: date,
    found: Worlds,
    evidence: Iterable[Evidence] = (),
    moved: Moved | None = None,
    milestone: str = "",
    doubts: Mapping[str, str] = NO_DOUBTS,
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

    Raises:
        ProgramError: No such form (``program-050``), or no such milestone (``program-005``).
    """
    if form not in FORMS:
        raise ProgramError(f"{form!r} is no form of report", code="program-050", hint=did_you_mean(form, FORMS))
    if form == "launch-note" and milestone not in program.milestones:
        raise ProgramError(
            f"{milestone!r} is no milestone", code="program-005", hint=did_you_mean(milestone, program.milestones)
        )
    states = gate_states(program, evidence, today, doubts)
    only = (milestone,) if form == "launch-note" else tuple(sorted(program.milestones))
    parts = [
        ("When it lands", _landings(program, found, only)),
        ("What has been shown", _gates(states, only)),
    ]
    if form != "launch-note":
        parts += [("Goals", _goals(program)), ("Who has to act", _acts(program, states, today))]
    if form == "weekly":
        parts += [
            ("What moved", _moves(moved)),
            ("What decides the end", _chain(program, found)),
            ("Done", _done(program)),
        ]
    if form == "launch-note":
        parts += [("What it waits for", _waits(program, milestone)), ("Risks", _risks(program))]
    name = f" · {milestone}" if form == "launch-note" else ""
    title = f"{program.program.name}: {form.replace('-', ' ')}{name}, {today}"
    return Report(title, tuple((heading, tuple(held)) for heading, held in parts))


def _landings(program: Program, found: Worlds, only: tuple[str, ...]) -> list[Sentence]:
    dates = landing_dates(program, found)
    out = []
    for name in only:
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
    return out or [Sentence("No milestone is in the plan.", "program", "absent")]


def _gates(found: list[GateState], only: tuple[str, ...]) -> list[Sentence]:
    states = [one for one in found if one.milestone in only]
    colours = milestone_colours(states)
    out = [Sentence(f"{name} is {colours[name]}.", f"milestones.{name}", colours[name]) for name in sorted(colours)]
    for one in states:
        record = f"evidence.{one.record}" if one.record else f"milestones.{one.milestone}"
        out.append(Sentence(one.sentence, record, "absent" if one.value is None else f"{one.value:g}"))
    out += [
        Sentence(f"{name} has no gate, so nothing has to be shown for it.", f"milestones.{name}", "absent")
        for name in only
        if name not in colours
    ]
    return out


def _goals(program: Program) -> list[Sentence]:
    out = []
    for name, one in sorted(program.goals.items()):
        actual = "absent: nobody has measured it" if one.actual is None else f"{one.actual:g} {one.unit}"
        value = "absent" if one.actual is None else f"{one.actual:g}"
        out.append(
            Sentence(
                f"{name} ({one.half}) wants {one.target:g} {one.unit}; measured: {actual}.", f"goals.{name}", value
            )
        )
    return out or [Sentence("No goal is in the plan.", "program", "absent")]


def _acts(program: Program, states: list[GateState], today: date) -> list[Sentence]:
    held = escalations(program, states, today)
    out = [Sentence(f"{one.to or 'Nobody'} hears: {one.sentence}", one.what, str(one.age_days)) for one in held]
    return out or [Sentence("Nothing has to be escalated today.", "program", "0")]


def _moves(moved: Moved | None) -> list[Sentence]:
    if moved is None:
        return [Sentence("What moved is absent: no earlier plan was given.", "program", "absent")]
    out = [
        Sentence(f"{one.what} went from {one.was} to {one.now}.", one.what.split(" ")[0], f"{one.by:g}")
        for one in moved.moves
    ]
    for one in moved.edits:
        who = f", by {one.who}: {one.why}" if one.who else "; who and why are absent"
        text = f"{one.record} {one.field} went from {one.was or 'absent'} to {one.now or 'absent'}{who}."
        out.append(Sentence(text, one.record, one.now or "absent"))
    return out or [Sentence("Nothing moved.", "program", "0")]


def _chain(program: Program, found: Worlds) -> list[Sentence]:
    ranked = sorted(program.tasks, key=lambda name: (-found.critical[name] * max(found.crucial[name], 0.0), name))[:5]
    return [
        Sentence(
            f"{name} is critical in {found.critical[name]:.0%} of the worlds, and moves the end with {found.crucial[name]:.2f}.",
            f"tasks.{name}",
            f"{found.critical[name]:.4f}",
        )
        for name in ranked
        if found.critical[name] > 0
    ] or [Sentence("No open task decides the end.", "program", "absent")]


def _done(program: Program) -> list[Sentence]:
    done = [name for name, one in program.tasks.items() if one.done is not None]
    return [Sentence(f"{len(done)} of {len(program.tasks)} tasks are done.", "program", str(len(done)))]


def _waits(program: Program, milestone: str) -> list[Sentence]:
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
    ] or [Sentence(f"{milestone} waits for nothing.", f"milestones.{milestone}", "absent")]


def _risks(program: Program) -> list[Sentence]:
    held = [(name, one) for name, one in sorted(program.risks.items()) if one.closed is None]
    return [
        Sentence(
            f"{name} happens with {one.chance:.0%} and moves {', '.join(one.tasks)}.",
            f"risks.{name}",
            f"{one.chance:g}",
        )
        for name, one in held
    ] or [Sentence("No open risk is in the plan.", "program", "absent")]


def _marked(text: str) -> str:
    """Text in which Markdown sees nothing but words."""
    return "".join(f"\\{one}" if one in "\\`*_[]<>#|" else one for one in text.replace("\n", " "))
