"""Program: when each milestone lands, which gates are open, what decides the end, who has to hear, and what moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request

from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.table import Column, Table
from mainstem.web.page import Missing, Page
from mainstem.web.site import Site

if TYPE_CHECKING:  # the desk brings compiled kernels: loaded by the first who opens the page
    from mainstem.workspace.program_desk import MilestoneLine, ProgramPicture

COMMAND: Final = "mainstem program new"
MOVED: Final = "mainstem program moved --since REV"
MOST_BARS: Final = 30
LIKELY: Final = 0.8
"""A promised day that is kept in fewer worlds is called at risk."""
_ORDER: Final = ("red", "grey", "green")


async def page(site: Site, request: Request) -> Page:
    """The page from ``program.toml`` of the workspace and its evidence."""
    found = await site.off_loop(lambda: _picture(site))
    if found is None:
        missing = Missing("This workspace has no program.toml yet.", COMMAND)
        return Page("program", "No program is planned yet", missing=missing)
    return await site.off_loop(lambda: told(found))


def _picture(site: Site) -> ProgramPicture | None:
    from mainstem.workspace.program_desk import program_picture

    return program_picture(site.workspace)


def told(found: ProgramPicture) -> Page:
    """The whole page."""
    milestones, tasks = _milestones(found), _tasks(found)
    counts = {colour: sum(one.colour == colour for one in found.gates) for colour in _ORDER}
    worst = next((colour for colour in _ORDER if counts[colour]), "")
    facts: dict[str, Any] = {
        "path": list(found.path),
        "beside": found.tight - len(found.path),
        "head": found.head,
        "records": found.records,
        "problem": found.problem,
        "worlds": found.worlds,
        "today": str(found.today),
        "moved": {"since": found.moved["since"], "until": found.moved["until"]} if found.moved else None,
        "command": MOVED,
    }
    return Page(
        "program",
        _heading(found, counts),
        _lead(found),
        worst,
        "made" if found.made else "",
        (milestones, _gates(found), _escalations(found), tasks, *_moved(found.moved), _risks(found)),
        (*_figure(found, milestones), *_bars(found, tasks)),
        facts,
        again="mainstem program gates",
        mark=f"{counts[worst]} of {len(found.gates)} gates {worst}" if worst else "",
    )


def _heading(found: ProgramPicture, counts: Mapping[str, int]) -> str:
    promised = [one for one in found.milestones if one.kept is not None]
    safe = sum((one.kept or 0.0) >= LIKELY for one in promised)
    parts = []
    if promised:
        parts.append(f"{safe} of {len(promised)} promised days are kept in eight of ten worlds or better")
    if found.gates:
        parts.append(f"{counts['green']} of {len(found.gates)} gates are green")
    text = "; ".join(parts) or "No day is promised and nothing has to be shown"
    return text[:1].upper() + text[1:]


def _lead(found: ProgramPicture) -> str:
    evidence = f"{found.records} records of evidence" if found.records else "No evidence is recorded yet"
    if found.problem:
        evidence = "No record counts"
    made = f", {found.made} of those that gates go by from a made world" if found.made else ""
    return (
        f"{found.name}, as of {found.today}. {evidence}{made}. Stale, absent or changed evidence is grey, never green."
    )


def _milestones(found: ProgramPicture) -> Table:
    rows = tuple(
        {
            "name": one.name,
            "gates": one.colour or "no gate",
            "due": _day(one.due),
            "kept": one.kept,
            "p10": str(one.p10),
            "p50": str(one.p50),
            "p80": str(one.p80),
            "p90": str(one.p90),
            "done": _day(one.done),
            "owner": one.owner,
        }
        for one in found.milestones
    )
    columns = (
        Column("name", "Milestone"),
        Column("gates", "Gates", "verdict"),
        Column("due", "Promised", "id"),
        Column("kept", "Kept in", "share"),
        Column("p10", "P10", "id"),
        Column("p50", "P50", "id"),
        Column("p80", "P80", "id"),
        Column("p90", "P90", "id"),
        Column("done", "Reached", "id"),
        Column("owner", "Owner"),
    )
    note = f"{numbers.count(found.worlds)} worlds in which tasks of a workstream are late together and risks happen."
    return Table("milestones", "When each milestone lands", columns, rows, note)


def _day(day: Any) -> str:
    return "" if day is None else str(day)


def _gates(found: ProgramPicture) -> Table:
    order = {one.name: at for at, one in enumerate(found.milestones)}
    held = sorted(found.gates, key=lambda one: (_ORDER.index(one.colour), order[one.milestone], one.kind, one.about))
    rows = tuple(
        {
            "colour": one.colour,
            "milestone": one.milestone,
            "needs": f"{one.kind} of {one.about}" if one.about else one.kind,
            "value": one.value,
            "age": one.age_days,
            "why": one.sentence.removeprefix(f"milestones.{one.milestone}: "),
            "record": one.record,
            "owner": one.owner,
        }
        for one in held
    )
    columns = (
        Column("colour", "Gate", "verdict"),
        Column("milestone", "Milestone"),
        Column("needs", "Needs"),
        Column("value", "Found", "value"),
        Column("age", "Days old", "count"),
        Column("why", "Why"),
        Column("record", "Record", "id"),
        Column("owner", "Owner"),
    )
    note = "Green: young and within its bounds. Red: young and not. Grey: none, stale, in doubt, or dated ahead."
    return Table("gates", "What has been shown", columns, rows, note)


def _escalations(found: ProgramPicture) -> Table:
    rows = tuple(
        {
            "to": one.to or "nobody",
            "what": one.what,
            "age": f"in {-one.age_days}" if one.age_days < 0 else str(one.age_days),
            "holds": ", ".join(one.exposure),
            "why": one.sentence.removeprefix(f"{one.what}: "),
            "owner": one.owner,
        }
        for one in found.escalations
    )
    columns = (
        Column("to", "Hears today"),
        Column("what", "Of"),
        Column("age", "Days", "id"),
        Column("holds", "Holds up"),
        Column("why", "Why"),
        Column("owner", "Owner"),
    )
    return Table("blockers", "Blockers, reviews and gates that somebody has to hear of", columns, rows)


def _tasks(found: ProgramPicture) -> Table:
    rows = tuple(
        {
            "name": one.name,
            "starts": str(one.starts),
            "ends": str(one.ends),
            "slack": None if one.state == "done" else one.slack,
            "latest": str(one.latest),
            "critical": one.critical,
            "crucial": one.crucial,
            "state": one.state,
            "workstream": one.workstream,
            "owner": one.owner,
        }
        for one in found.tasks
    )
    columns = (
        Column("name", "Task"),
        Column("starts", "Starts", "id"),
        Column("ends", "Ends", "id"),
        Column("slack", "Slack, days", "value"),
        Column("latest", "At the latest", "id"),
        Column("critical", "Critical in", "share"),
        Column("crucial", "Moves the end", "difference"),
        Column("state", "State"),
        Column("workstream", "Workstream"),
        Column("owner", "Owner"),
    )
    note = "Dates and slack at the medians; critical in so many of the worlds; correlation of a task's length with the end."
    return Table("tasks", "Every task, by its start; done ones last", columns, rows, note)


def _moved(moved: Mapping[str, Any] | None) -> Iterator[Table]:
    """What moved, as it was stored; the effect first."""
    if moved is None:
        return
    effects = (
        Column("what", "What"), Column("was", "Was", "id"), Column("now", "Is", "id"), Column("by", "By", "value"),
        Column("unit", "Unit"),
    )  # fmt: skip
    yield Table("moves", "What it did to P80 and to the peak of pools", effects, tuple(moved["moves"]))
    edits = (
        Column("record", "Record"), Column("field", "Field"), Column("was", "Was"), Column("now", "Is"), Column("who", "Who"),
        Column("why", "Why"),
    )  # fmt: skip
    yield Table("edits", "What was changed, by whom and why", edits, tuple(moved["edits"]))


def _risks(found: ProgramPicture) -> Table:
    rows = tuple({**one, "delay": " / ".join(map(str, one["delay"]))} for one in found.risks)
    columns = (
        Column("name", "Risk"),
        Column("chance", "Chance", "share"),
        Column("delay", "Adds days"),
        Column("tasks", "To"),
        Column("owner", "Owner"),
    )
    return Table("risks", "Open risks, the likeliest first", columns, rows)


def _figure(found: ProgramPicture, table: Table) -> Iterator[Figure]:
    from mainstem.report.landings import landings

    drawn = [_drawn(one) for one in found.milestones if one.done is None]
    if not drawn:
        return
    late = [row["label"] for row in drawn if row["answer"] == "does not hold"]
    title = "Every promised day is likely to be kept" if not late else f"Rather late than not: {numbers.listed(late)}"
    if not any(row["due"] for row in drawn):
        title = "When each milestone lands"
    yield Figure(
        "landings",
        title,
        "One row a milestone: a line from P10 to P90, a mark at P50, a bar at the promised day. A circle is kept in eight of ten "
        "worlds or better, a triangle in half or better, a square in fewer.",
        landings(drawn, narrow=False),
        landings(drawn, narrow=True),
        table,
    )


def _drawn(one: MilestoneLine) -> dict[str, Any]:
    kept = one.kept
    answer = "" if kept is None else "holds" if kept >= LIKELY else "undecided" if kept >= 0.5 else "does not hold"
    told = f"P50 {one.p50}, " + ("no day promised" if kept is None else f"kept in {numbers.share(kept)}")
    return {
        "label": one.name, "p10": str(one.p10), "p50": str(one.p50), "p90": str(one.p90),
        "due": str(one.due) if one.due else None, "answer": answer, "told": told,
    }  # fmt: skip


def _bars(found: ProgramPicture, table: Table) -> Iterator[Figure]:
    """The schedule at the medians; of a large plan the open tasks with the least slack."""
    from mainstem.report.task_bars import task_bars

    chosen = sorted(found.tasks, key=lambda one: (one.state == "done", one.slack, one.starts, one.name))[:MOST_BARS]
    names = {one.name for one in chosen}
    rows = [
        {
            "label": one.name, "starts": str(one.starts), "ends": str(one.ends), "latest": str(one.latest),
            "kind": "done" if one.state == "done" else "has slack" if one.slack > 0 else "decides the end",
        }
        for one in sorted(found.tasks, key=lambda one: (one.starts, one.ends, one.name))
        if one.name in names
    ]  # fmt: skip
    if not rows:
        return
    ahead = [one for one in found.tasks if one.state != "done"]
    end = max((one.ends for one in ahead), default=None)
    of = (
        f"{len(rows)} of {len(found.tasks)} tasks, those with the least slack"
        if len(rows) < len(found.tasks)
        else "All tasks"
    )
    yield Figure(
        "schedule",
        f"The last task ends on {end}, at the medians" if end else "Every task is done",
        f"{of}: a bar from start to end, a thin line as far as the end may slip, a dashed line at {found.today}. Strong bars "
        "decide the end, pale ones are done.",
        task_bars(rows, str(found.today), narrow=False),
        task_bars(rows, str(found.today), narrow=True),
        table,
    )
