"""Formats of other tools, read and written: GitHub issues (JSON), Jira (CSV).

Each keeps what the tool has a field for in that field, and the rest where the tool keeps fields of one's own.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from mainstem.program.checks import link_parts
from mainstem.program.exchange import Item
from mainstem.program.reading import Reading, day_of, decode_json, estimated, guarded, link_of, malformed, unread

_MARK: Final = re.compile(r"<!-- mainstem (\{.*?\}) -->", re.S)
_DAY_S: Final = 8 * 3600
_BLOCKS: Final = "Inward issue link (Blocks)"
_P10, _P50, _P90, _WAITS, _STARTED = (
    "Custom field (P10 days)",
    "Custom field (P50 days)",
    "Custom field (P90 days)",
    "Custom field (Waits)",
    "Custom field (Started)",
)
_HEAD: Final = (
    "Issue key", "Issue Type", "Summary", "Assignee", "Component/s", "Original estimate", "Due date", "Resolved", _P10, _P50,
    _P90, _STARTED, _WAITS,
)  # fmt: skip
_COLUMNS: Final = frozenset([*_HEAD, _BLOCKS])
_ISSUE: Final = frozenset({"number", "title", "closedAt", "state", "assignees", "labels", "blockedBy", "body"})


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


def read_github(text: str, where: str, days: list[float] | None = None) -> Reading:
    """The items of issues; one that did not come from here is ``issue-N`` and takes ``days``."""
    issues = decode_json(text, where)
    if not isinstance(issues, list):
        raise malformed(f"{where}:1", "expected a list of issues")
    named: dict[Any, str] = {}
    marks = []
    for at, issue in enumerate(issues, 1):
        marks.append(guarded(f"{where}, issue {at}", lambda issue=issue: _mark_of(issue)))
        named[issue["number"]] = marks[-1].get("id", f"issue-{issue['number']}")
    items = [
        guarded(f"{where}, issue {at}", lambda issue=issue, mark=mark: _issue(issue, mark, named, days))
        for at, (issue, mark) in enumerate(zip(issues, marks, strict=True), 1)
    ]
    return Reading(items, tuple(_issues_lost(issues)))


def _mark_of(issue: Any) -> dict[str, Any]:
    """What the body's comment holds; nothing for an issue that did not come from here."""
    if not isinstance(issue, dict) or not isinstance(issue.get("number"), int | str):
        raise ValueError("it has no number")
    found = _MARK.search(issue.get("body") or "")
    mark = json.loads(found[1]) if found else {}
    if not isinstance(mark, dict):
        raise ValueError("the comment in its body is no record")
    return mark


def _issues_lost(issues: list[dict[str, Any]]) -> list[str]:
    labels = sum(not one["name"].startswith("workstream:") for issue in issues for one in issue.get("labels") or [])
    people = sum(max(len(issue.get("assignees") or []) - 1, 0) for issue in issues)
    bodies = sum(bool(_MARK.sub("", issue.get("body") or "").strip()) for issue in issues)
    told = {"labels that name no workstream": labels, "assignees beside the first": people, "bodies": bodies}
    return [*unread(issues, _ISSUE), *(f"{what} ({n})" for what, n in told.items() if n)]


def _issue(issue: dict[str, Any], mark: dict[str, Any], named: dict[Any, str], days: list[float] | None) -> Item:
    people, labels = issue.get("assignees") or [], [one["name"] for one in issue.get("labels") or []]
    streams = [one.removeprefix("workstream:") for one in labels if one.startswith("workstream:")]
    blocked = [named[one] for one in issue.get("blockedBy") or []]
    # The waits stand in the mark; who blocks is what the tool says now.
    waits = {link_parts(link, dict.fromkeys(blocked))[0]: link for link in mark.get("after", [])}
    return msgspec.convert(
        mark
        | {
            "id": named[issue["number"]],
            "name": issue.get("title") or "",
            "owner": people[0]["login"] if people else "",
            "workstream": streams[0] if streams else "",
            "days": mark.get("days", []) if mark else estimated(days),
            "after": [waits.get(one, one) for one in blocked],
            "done": issue["closedAt"][:10] if issue.get("closedAt") else None,
        },
        Item,
    )


def write_jira(items: list[Item]) -> str:
    """A CSV as Jira exports it: seconds of estimate, one column a link, fields of one's own for the rest."""
    known = dict.fromkeys(one.id for one in items)
    most = max((len(one.after) for one in items), default=0)
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow([*_HEAD, *[_BLOCKS] * most])
    for one in items:
        links = [link_parts(link, known) for link in one.after]
        waits = " ".join(f"{lag:g}" for _, lag in links) if any(lag for _, lag in links) else ""
        low, high = (one.days[0], one.days[-1]) if len(one.days) == 3 else ("", "")
        middle = one.days[len(one.days) // 2] if one.days else 0.0
        estimate = middle * _DAY_S if one.days else ""
        exact = middle if one.days and middle * _DAY_S / _DAY_S != middle else ""
        kind = "Task" if one.days else "Milestone"
        blocks = [name for name, _ in links] + [""] * (most - len(links))
        told = [one.id, kind, one.name, one.owner, one.workstream, estimate, one.due, one.done, low, exact, high]
        rows.writerow([*told, one.started, waits, *blocks])
    return out.getvalue()


def read_jira(text: str, where: str, days: list[float] | None = None) -> Reading:
    """The items of a Jira CSV; a task without an estimate takes ``days``."""
    reader = csv.reader(io.StringIO(text))
    head = next(reader, [])
    if "Issue key" not in head:
        raise malformed(f"{where}:1", "there is no column 'Issue key'")
    out, unused = [], Counter()
    for row in _rows(reader, where):
        at = f"{where}:{reader.line_num}"
        if len(row) != len(head):
            raise malformed(at, f"found {len(row)} cells, expected {len(head)}")
        out.append(guarded(at, lambda row=row: _jira_row(head, row, days)))
        unused.update({name for name, cell in zip(head, row, strict=True) if cell and name not in _COLUMNS})
    return Reading(out, tuple(f"{name} (in {n} of {len(out)})" for name, n in sorted(unused.items())))


def _rows(reader: Any, where: str) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise malformed(f"{where}:{reader.line_num}", str(error)) from None


def _jira_row(head: list[str], row: list[str], days: list[float] | None) -> Item:
    cells: dict[str, str] = {}
    for name, value in zip(head, row, strict=True):
        cells[name] = cells.get(name) or value
    links = [value for name, value in zip(head, row, strict=True) if name == _BLOCKS and value]
    waits = [float(one) for one in cells.get(_WAITS, "").split()] or [0.0] * len(links)
    found: list[float] = []
    if cells.get("Issue Type") != "Milestone":
        estimate, exact = cells.get("Original estimate", ""), cells.get(_P50, "")
        if estimate or exact:
            middle = float(exact) if exact else float(estimate) / _DAY_S
            low, high = cells.get(_P10, ""), cells.get(_P90, "")
            found = [float(low), middle, float(high)] if low and high else [middle]
        else:
            found = estimated(days)
    return Item(
        id=cells["Issue key"],
        name=cells.get("Summary", ""),
        owner=cells.get("Assignee", ""),
        workstream=cells.get("Component/s", ""),
        days=found,
        after=[link_of(name, wait) for name, wait in zip(links, waits, strict=True)],
        due=day_of(cells.get("Due date", "")),
        started=day_of(cells.get(_STARTED, "")),
        done=day_of(cells.get("Resolved", "")),
    )
