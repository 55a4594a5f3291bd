"""Plans into and out of other tools: the declared subset that survives each round trip, and a list of what does not."""

from __future__ import annotations

import json
from datetime import date
from typing import Final

import msgspec

from mainstem.base.errors import ProgramError
from mainstem.program.critical_path import schedule_network
from mainstem.program.durations import three_points
from mainstem.program.network import calendar_of, network_of
from mainstem.program.plan_file import convert_program
from mainstem.program.records import TABLES, Program


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """What every format carries of a task or milestone; a milestone has no days."""

    id: str
    name: str = ""
    owner: str = ""
    workstream: str = ""
    days: list[float] = []
    after: list[str] = []
    due: date | None = None
    started: date | None = None
    done: date | None = None

    def __post_init__(self) -> None:
        for name in ("id", "name", "owner", "workstream"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise ValueError(f"{name} is {value!r}, expected text")


SUBSET: Final = {
    "tasks": ("name", "owner", "workstream", "duration", "after", "started", "done"),
    "milestones": ("name", "owner", "workstream", "after", "due", "done"),
    "owners": (),
    "workstreams": (),
}
"""Which fields of which records survive every round trip; of owners and workstreams the ids do."""


def items_of(program: Program) -> list[Item]:
    """Tasks and milestones in the order of their ids."""
    out = []
    for name, one in program.tasks.items():
        points = list(three_points(one.duration, f"tasks.{name}.duration"))
        days = points[:1] if points[0] == points[2] else points
        out.append(
            Item(id=name, name=one.name, owner=one.owner, workstream=one.workstream, days=days, after=one.after,
                 started=one.started, done=one.done)
        )  # fmt: skip
    out += [
        Item(
            id=name,
            name=one.name,
            owner=one.owner,
            workstream=one.workstream,
            after=one.after,
            due=one.due,
            done=one.done,
        )
        for name, one in program.milestones.items()
    ]
    return sorted(out, key=lambda one: one.id)


def program_of(items: list[Item], name: str, start: date, where: str) -> Program:
    """A plan of what was read.

    Raises:
        ProgramError: An id comes twice (``program-004``), or what ``convert_program`` raises.
    """
    tables: dict[str, dict] = {"owners": {}, "workstreams": {}, "tasks": {}, "milestones": {}}
    for one in items:
        if one.id in tables["tasks"] or one.id in tables["milestones"]:
            raise ProgramError(f"{where} holds {one.id!r} twice", code="program-004", hint="rename one of them")
        plain = {
            key: value for key, value in msgspec.structs.asdict(one).items() if value and key not in ("id", "days")
        }
        tables["owners"] |= {one.owner: {}} if one.owner else {}
        tables["workstreams"] |= {one.workstream: {}} if one.workstream else {}
        if one.days:
            plain.pop("due", None)
            tables["tasks"][one.id] = plain | {"duration": one.days}
        else:
            plain.pop("started", None)
            tables["milestones"][one.id] = plain
    return convert_program({"program": {"name": name, "start": start}} | tables, where)


def losses(program: Program) -> list[str]:
    """What a plan holds outside the declared subset, and so would lose: ``kind.id.field``, or ``kind.id`` for a whole record."""
    plain = msgspec.to_builtins(program)
    out = [f"program.{key}" for key in plain["program"] if key not in ("name", "start")]
    for kind in TABLES:
        for name, record in sorted(plain.get(kind, {}).items()):
            if kind not in SUBSET:
                out.append(f"{kind}.{name}")
                continue
            out += [f"{kind}.{name}.{key}" for key in record if key not in SUBSET[kind]]
    return out


def as_mermaid(program: Program) -> str:
    """The plan at its medians as a Mermaid Gantt chart, critical tasks marked."""
    network = network_of(program)
    done, calendar = schedule_network(network), calendar_of(program)
    lines = ["gantt", f"  title {_plain(program.program.name)}", "  dateFormat YYYY-MM-DD"]
    for i, name in enumerate(network.names):
        landing = name in program.milestones
        marks = (
            ["milestone"] * landing + ["crit"] * bool(done.slack[i] <= 1e-9) + ["done"] * bool(network.ended[i] >= 0)
        )
        starts = calendar.ends_on(done.finish[i]) if landing else calendar.starts_on(done.start[i])
        ends = "0d" if landing else f"{max((calendar.ends_on(done.finish[i]) - starts).days + 1, 1)}d"
        lines.append(f"  {_plain(name)} :{', '.join([*marks, name, str(starts), ends])}")
    return "\n".join(lines) + "\n"


def as_calendar(program: Program) -> str:
    """Milestones at their medians, promised days and freeze windows as an iCalendar file (RFC 5545)."""
    network = network_of(program)
    done, calendar = schedule_network(network), calendar_of(program)
    stamp = f"{program.program.as_of or program.program.start:%Y%m%d}T000000Z"
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Mainstem//program//EN"]
    for name, one in sorted(program.milestones.items()):
        lands = calendar.ends_on(float(done.finish[network.names.index(name)]))
        lines += _event(name, one.name or name, lands, lands, stamp)
        lines += _event(f"{name}-due", f"{one.name or name} (promised)", one.due, one.due, stamp) if one.due else []
    for name, window in sorted(program.freezes.items()):
        lines += _event(name, f"freeze: {window.why or name}", window.first, window.last, stamp)
    return "\r\n".join(_folded([*lines, "END:VCALENDAR"])) + "\r\n"


def _event(uid: str, title: str, first: date, last: date, stamp: str) -> list[str]:
    until = date.fromordinal(last.toordinal() + 1)
    text = title.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")
    return [
        "BEGIN:VEVENT",
        f"UID:{uid}@mainstem",
        f"DTSTAMP:{stamp}",
        f"DTSTART;VALUE=DATE:{first:%Y%m%d}",
        f"DTEND;VALUE=DATE:{until:%Y%m%d}",
        f"SUMMARY:{text}",
        "END:VEVENT",
    ]


def _folded(lines: list[str]) -> list[str]:
    """Lines of at most 75 octets; what is longer goes on after a space."""
    out = []
    for line in lines:
        while len(line.encode()) > 75:
            cut = 74
            while len(line[:cut].encode()) > 75:
                cut -= 1
            out.append(line[:cut])
            line = " " + line[cut:]
        out.append(line)
    return out


def _plain(text: str) -> str:
    return "".join(one if one not in ":;#\n,%" else " " for one in text)


def as_json(items: list[Item]) -> str:
    """The items themselves as JSON, for tools of your own."""
    return json.dumps(msgspec.to_builtins(items), indent=1) + "\n"
