"""MS Project XML, read and written: medians as durations, links with lag, the rest in extended attributes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final
from xml.etree import ElementTree

from mainstem.program.checks import link_parts
from mainstem.program.exchange import Item
from mainstem.program.reading import Reading, day_of, guarded, link_of, malformed, unread

_NS: Final = "http://schemas.microsoft.com/project"
_MEMBERS: Final = ("mainstem id", "owner", "workstream", "P10", "P50", "P90")
_PIECE: Final = 1 << 16
_LENGTH: Final = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:\d+S)?")
_READ: Final = frozenset(
    {"UID", "ID", "Name", "Milestone", "Duration", "Deadline", "ActualStart", "ActualFinish", "Summary"}
)  # fmt: skip


def write_project(items: list[Item]) -> str:
    """MS Project XML: medians as durations, links with lag, the rest in extended attributes."""
    numbers = {one.id: at for at, one in enumerate(items, 1)}
    root = ElementTree.Element("Project", xmlns=_NS)
    tasks = ElementTree.SubElement(root, "Tasks")
    for one in items:
        task = ElementTree.SubElement(tasks, "Task")
        middle = (one.days[0] if len(one.days) == 1 else one.days[1]) if one.days else 0.0
        fields = {
            "UID": numbers[one.id], "ID": numbers[one.id], "Name": one.name, "Milestone": int(not one.days),
            "Duration": f"PT{round(middle * 480)}M", "Deadline": _moment(one.due), "ActualStart": _moment(one.started),
            "ActualFinish": _moment(one.done),
        }  # fmt: skip
        for name, value in fields.items():
            if value != "":
                ElementTree.SubElement(task, name).text = str(value)
        for link in one.after:
            before, lag = link_parts(link, numbers)
            held = ElementTree.SubElement(task, "PredecessorLink")
            for name, value in (("PredecessorUID", numbers[before]), ("Type", 1), ("LinkLag", round(lag * 4800))):
                ElementTree.SubElement(held, name).text = str(value)
        points = [repr(day) for day in (one.days * 3 if len(one.days) == 1 else one.days)] or ["", "", ""]
        for name, value in zip(_MEMBERS, (one.id, one.owner, one.workstream, *points), strict=True):
            if value:
                held = ElementTree.SubElement(task, "ExtendedAttribute")
                ElementTree.SubElement(held, "FieldID").text = name
                ElementTree.SubElement(held, "Value").text = value
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


@dataclass(slots=True)
class _Task:
    """One task of the file: its fields, its links as fields, and its extended attributes."""

    fields: dict[str, str] = field(default_factory=dict)
    links: list[dict[str, str]] = field(default_factory=list)
    own: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Ours when it came from here, else one made of the file's number."""
        return self.own.get("mainstem id") or f"task-{self.fields.get('UID')}"


def read_project(text: str, where: str, days: list[float] | None = None) -> Reading:
    """The items of an MS Project XML; its own durations are certain, unless our attributes say more.

    Summary tasks are sums of others: they are left out and counted.

    Raises:
        ProgramError: It is no XML, or a task cannot be read (``program-022``), with its line or place.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise malformed(f"{where}:1", "it declares entities, which no MS Project file does")
    try:
        found = [one for one in _tasks(text) if "Name" in one.fields or one.own]
    except ElementTree.ParseError as error:
        raise malformed(f"{where}:{error.position[0]}", str(error)) from None
    kept = [(at, one) for at, one in enumerate(found, 1) if one.fields.get("Summary") != "1"]
    named = {one.fields.get("UID"): one.id for _, one in kept}
    items = [guarded(f"{where}, task {at}", lambda one=one: _item(one, named)) for at, one in kept]
    lost = unread([one.fields for _, one in kept], _READ)
    lost += [f"summary tasks ({len(found) - len(kept)})"] if len(kept) < len(found) else []
    return Reading(items, tuple(lost))


def _tasks(text: str) -> Iterator[_Task]:
    """Task by task; what was read is let go of, so that a large file takes little memory and time."""
    parser = ElementTree.XMLPullParser(("end",))
    for at in range(0, len(text), _PIECE):
        parser.feed(text[at : at + _PIECE])
        for event in parser.read_events():
            node = event[-1]
            if isinstance(node, ElementTree.Element) and node.tag == f"{{{_NS}}}Task":
                yield _task(node)
                node.clear()
    parser.close()


def _task(node: ElementTree.Element) -> _Task:
    out = _Task()
    for child in node:
        name = child.tag.rpartition("}")[2]
        if name == "PredecessorLink":
            out.links.append(_fields(child))
        elif name == "ExtendedAttribute":
            held = _fields(child)
            out.own[held.get("FieldID", "")] = held.get("Value", "")
        else:
            out.fields[name] = (child.text or "") if not len(child) else name
    return out


def _fields(node: ElementTree.Element) -> dict[str, str]:
    return {child.tag.rpartition("}")[2]: child.text or "" for child in node}


def _item(task: _Task, named: Mapping[str | None, str]) -> Item:
    fields, own = task.fields, task.own
    links = []
    for link in task.links:
        if link.get("Type") != "1":
            raise ValueError("it has a link that is not finish to start")
        links.append(link_of(named[link.get("PredecessorUID")], float(link.get("LinkLag") or 0) / 4800))
    return Item(
        id=task.id,
        name=fields.get("Name", ""),
        owner=own.get("owner", ""),
        workstream=own.get("workstream", ""),
        days=[] if fields.get("Milestone") == "1" else _days(task),
        after=links,
        due=day_of(fields.get("Deadline")),
        started=day_of(fields.get("ActualStart")),
        done=day_of(fields.get("ActualFinish")),
    )


def _days(task: _Task) -> list[float]:
    points = [float(task.own[name]) for name in ("P10", "P50", "P90") if name in task.own]
    if not points:
        length = _LENGTH.fullmatch(task.fields.get("Duration") or "PT0H")
        if length is None:
            raise ValueError(f"its duration is {task.fields['Duration']!r}")
        points = [int(length[1] or 0) / 8 + int(length[2] or 0) / 480]
    return points[:1] if len(points) == 1 or points[0] == points[-1] else points


def _moment(day: date | None) -> str:
    return f"{day}T00:00:00" if day else ""
