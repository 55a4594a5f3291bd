"""Formats of other tools, read and written: GitHub issues (JSON), Jira (CSV), MS Project (XML).

Each keeps what the tool has a field for in that field, and the rest where the tool keeps fields of one's own.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import date
from typing import Any, Final
from xml.etree import ElementTree

import msgspec

from mainstem.base.errors import ProgramError
from mainstem.program.checks import link_parts
from mainstem.program.exchange import Item

_MARK: Final = re.compile(r"<!-- mainstem (\{.*?\}) -->", re.S)
_NS: Final = "http://schemas.microsoft.com/project"
_DAY_S: Final = 8 * 3600
_BLOCKS: Final = "Inward issue link (Blocks)"
_P10, _P90, _WAITS, _STARTED = (
    "Custom field (P10 days)",
    "Custom field (P90 days)",
    "Custom field (Waits)",
    "Custom field (Started)",
)
_MEMBERS: Final = ("mainstem id", "owner", "workstream", "P10", "P50", "P90")


def write_github(items: list[Item]) -> str:
    """Issues as ``gh issue list --json`` has them; what an issue has no field for stands in a comment of its body."""
    numbers = {one.id: at for at, one in enumerate(items, 1)}
    out = []
    for one in items:
        links = [link_parts(link, numbers)[0] for link in one.after]
        kept = {key: value for key, value in msgspec.to_builtins(one).items() if key not in ("name", "owner", "done")}
        mark = json.dumps(kept, sort_keys=True).replace("<", "\\u003c").replace(">", "\\u003e")
        out.append(
            {
                "number": numbers[one.id],
                "title": one.name,
                "state": "CLOSED" if one.done else "OPEN",
                "closedAt": f"{one.done}T00:00:00Z" if one.done else None,
                "assignees": [{"login": one.owner}] if one.owner else [],
                "labels": [{"name": f"workstream:{one.workstream}"}] if one.workstream else [],
                "blockedBy": [numbers[link] for link in links],
                "body": f"<!-- mainstem {mark} -->",
            }
        )
    return json.dumps(out, indent=1, ensure_ascii=False) + "\n"


def read_github(text: str, where: str, days: list[float] | None = None) -> list[Item]:
    """The items of issues; one that did not come from here is ``issue-N`` and takes ``days``."""
    try:
        issues = json.loads(text)
    except json.JSONDecodeError as error:
        raise _malformed(f"{where}:{error.lineno}", str(error)) from None
    if not isinstance(issues, list):
        raise _malformed(f"{where}:1", "expected a list of issues")
    named: dict[Any, str] = {}
    marks = []
    for at, issue in enumerate(issues, 1):
        if not isinstance(issue, dict) or "number" not in issue:
            raise _malformed(f"{where}, issue {at}", "it has no number")
        found = _MARK.search(issue.get("body") or "")
        marks.append(_guard(f"{where}, issue {at}", lambda found=found: json.loads(found[1]) if found else {}))
        named[issue["number"]] = marks[-1].get("id", f"issue-{issue['number']}")
    return [
        _guard(f"{where}, issue {at}", lambda issue=issue, mark=mark: _issue(issue, mark, named, days))
        for at, (issue, mark) in enumerate(zip(issues, marks, strict=True), 1)
    ]


def _issue(issue: dict[str, Any], mark: dict[str, Any], named: dict[Any, str], days: list[float] | None) -> Item:
    people, labels = issue.get("assignees") or [], [one["name"] for one in issue.get("labels") or []]
    streams = [one.removeprefix("workstream:") for one in labels if one.startswith("workstream:")]
    blocked = [named[one] for one in issue.get("blockedBy") or []]
    # The waits stand in the mark; who blocks is what the tool says now.
    waits = {link_parts(link, dict.fromkeys(blocked))[0]: link for link in mark.get("after", [])}
    if not mark and days is None:
        raise ValueError("it has no duration; say what such tasks take with --days")
    return msgspec.convert(
        mark
        | {
            "id": named[issue["number"]],
            "name": issue.get("title") or "",
            "owner": people[0]["login"] if people else "",
            "workstream": streams[0] if streams else "",
            "days": mark.get("days", days),
            "after": [waits.get(one, one) for one in blocked],
            "done": issue["closedAt"][:10] if issue.get("closedAt") else None,
        },
        Item,
    )


def write_jira(items: list[Item]) -> str:
    """A CSV as Jira exports it: seconds of estimate, one column a link, fields of one's own for the rest."""
    known = {one.id for one in items}
    most = max((len(one.after) for one in items), default=0)
    head = [
        "Issue key",
        "Issue Type",
        "Summary",
        "Assignee",
        "Component/s",
        "Original estimate",
        "Due date",
        "Resolved",
    ]
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow([*head, _P10, _P90, _STARTED, _WAITS, *[_BLOCKS] * most])
    for one in items:
        links = [link_parts(link, dict.fromkeys(known)) for link in one.after]
        waits = " ".join(f"{lag:g}" for _, lag in links) if any(lag for _, lag in links) else ""
        sure = len(one.days) == 1
        middle = repr((one.days[0] if sure else one.days[1]) * _DAY_S) if one.days else ""
        low, high = (repr(one.days[0]), repr(one.days[2])) if len(one.days) == 3 else ("", "")
        dates = [str(day or "") for day in (one.due, one.done)]
        kind = "Task" if one.days else "Milestone"
        blocks = [name for name, _ in links] + [""] * (most - len(links))
        rows.writerow(
            [
                one.id,
                kind,
                one.name,
                one.owner,
                one.workstream,
                middle,
                *dates,
                low,
                high,
                one.started or "",
                waits,
                *blocks,
            ]
        )
    return out.getvalue()


def read_jira(text: str, where: str, days: list[float] | None = None) -> list[Item]:
    """The items of a Jira CSV; a task without an estimate takes ``days``."""
    reader = csv.reader(io.StringIO(text))
    head = next(reader, [])
    if "Issue key" not in head:
        raise _malformed(f"{where}:1", "there is no column 'Issue key'")
    out = []
    for row in reader:
        at = f"{where}:{reader.line_num}"
        if len(row) != len(head):
            raise _malformed(at, f"found {len(row)} cells, expected {len(head)}")
        out.append(_guard(at, lambda row=row: _jira_row(head, row, days)))
    return out


def _jira_row(head: list[str], row: list[str], days: list[float] | None) -> Item:
    cells = {name: value for name, value in zip(head, row, strict=True) if name != _BLOCKS}
    links = [value for name, value in zip(head, row, strict=True) if name == _BLOCKS and value]
    waits = [float(one) for one in cells.get(_WAITS, "").split()] or [0.0] * len(links)
    found: list[float] = []
    if cells.get("Issue Type") != "Milestone":
        estimate = cells.get("Original estimate", "")
        if not estimate and days is None:
            raise ValueError("it has no estimate; say what such tasks take with --days")
        middle = float(estimate) / _DAY_S if estimate else 0.0
        low, high = cells.get(_P10, ""), cells.get(_P90, "")
        found = list(days or []) if not estimate else [float(low), middle, float(high)] if low and high else [middle]
    return Item(
        id=cells["Issue key"],
        name=cells.get("Summary", ""),
        owner=cells.get("Assignee", ""),
        workstream=cells.get("Component/s", ""),
        days=found,
        after=[_link(name, wait) for name, wait in zip(links, waits, strict=True)],
        due=_date(cells.get("Due date", "")),
        started=_date(cells.get(_STARTED, "")),
        done=_date(cells.get("Resolved", "")),
    )


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


def read_project(text: str, where: str, days: list[float] | None = None) -> list[Item]:
    """The items of an MS Project XML; its own durations are certain, unless our attributes say more."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise _malformed(f"{where}:1", "it declares entities, which no MS Project file does")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise _malformed(f"{where}:{error.position[0]}", str(error)) from None
    found = [one for one in root.iter(f"{{{_NS}}}Task") if _text(one, "Name") is not None or _attributes(one)]
    named = {_text(one, "UID"): _attributes(one).get("mainstem id") or f"task-{_text(one, 'UID')}" for one in found}
    return [_guard(f"{where}, task {at}", lambda one=one: _project_task(one, named)) for at, one in enumerate(found, 1)]


def _project_task(task: ElementTree.Element, named: dict[str | None, str]) -> Item:
    own = _attributes(task)
    links = []
    for held in task.findall(f"{{{_NS}}}PredecessorLink"):
        if _text(held, "Type") != "1":
            raise ValueError("it has a link that is not finish to start")
        links.append(_link(named[_text(held, "PredecessorUID")], float(_text(held, "LinkLag") or 0) / 4800))
    points = [float(own[name]) for name in ("P10", "P50", "P90") if name in own]
    if not points:
        length = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:\d+S)?", _text(task, "Duration") or "PT0H")
        if length is None:
            raise ValueError(f"its duration is {_text(task, 'Duration')!r}")
        points = [int(length[1] or 0) / 8 + int(length[2] or 0) / 480]
    milestone = _text(task, "Milestone") == "1"
    sure = len(points) == 1 or points[0] == points[2]
    return Item(
        id=named[_text(task, "UID")],
        name=_text(task, "Name") or "",
        owner=own.get("owner", ""),
        workstream=own.get("workstream", ""),
        days=[] if milestone else points[:1] if sure else points,
        after=links,
        due=_date((_text(task, "Deadline") or "")[:10]),
        started=_date((_text(task, "ActualStart") or "")[:10]),
        done=_date((_text(task, "ActualFinish") or "")[:10]),
    )


def _attributes(task: ElementTree.Element) -> dict[str, str]:
    held = task.findall(f"{{{_NS}}}ExtendedAttribute")
    return {_text(one, "FieldID") or "": _text(one, "Value") or "" for one in held}


def _text(node: ElementTree.Element, name: str) -> str | None:
    return node.findtext(f"{{{_NS}}}{name}")


def _moment(day: date | None) -> str:
    return f"{day}T00:00:00" if day else ""


def _link(name: str, lag: float) -> str:
    return f"{name}{lag:+g}" if lag else name


def _date(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _guard(where: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (ValueError, KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        told = f"{error.args[0]!r} is not there" if isinstance(error, KeyError) else str(error)
        raise _malformed(where, told) from None


def _malformed(where: str, told: str) -> ProgramError:
    return ProgramError(
        f"{where}: {told}", code="program-022", hint="nothing was written; mend that row and read it again"
    )


WRITERS: Final[dict[str, Callable[[list[Item]], str]]] = {
    "github": write_github,
    "jira": write_jira,
    "msproject": write_project,
}
READERS: Final[dict[str, Callable[[str, str, list[float] | None], list[Item]]]] = {
    "github": read_github,
    "jira": read_jira,
    "msproject": read_project,
}
