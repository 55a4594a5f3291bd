"""Jira's JSON, as its REST search answers it, read and written.

Durations are ``timeoriginalestimate`` (seconds, eight hours a day), links are ``issuelinks`` of the type Blocks. What Jira
has no field for stands in custom fields, which the answer's ``names`` tell apart (``expand=names``).
"""

from __future__ import annotations

import json
from typing import Any, Final

from mainstem.program.checks import link_parts
from mainstem.program.exchange import Item
from mainstem.program.reading import Reading, day_of, decode_json, estimated, guarded, link_of, malformed, unread

_DAY_S: Final = 8 * 3600
_OWN: Final = {
    "customfield_10901": "P10 days",
    "customfield_10902": "P50 days",
    "customfield_10903": "P90 days",
    "customfield_10904": "Waits",
    "customfield_10905": "Started",
}
_READ: Final = frozenset(
    {
        "summary",
        "issuetype",
        "assignee",
        "components",
        "timeoriginalestimate",
        "duedate",
        "resolutiondate",
        "issuelinks",
    }
)


def write_jira_json(items: list[Item]) -> str:
    """The items as the answer of a search, with ``names`` for the custom fields."""
    known = dict.fromkeys(one.id for one in items)
    issues = [{"key": one.id, "fields": _fields(one, known)} for one in items]
    head = {"startAt": 0, "maxResults": len(items), "total": len(items), "names": _OWN}
    return json.dumps(head | {"issues": issues}, indent=1, ensure_ascii=False) + "\n"


def _fields(one: Item, known: dict[str, Any]) -> dict[str, Any]:
    links = [link_parts(link, known) for link in one.after]
    waits = " ".join(f"{wait:g}" for _, wait in links) if any(wait for _, wait in links) else None
    low, middle, high = one.days if len(one.days) == 3 else [None, *one.days, None] if one.days else [None] * 3
    seconds = None if middle is None else middle * _DAY_S
    exact = middle if seconds is not None and seconds / _DAY_S != middle else None
    kind = {"name": "Blocks", "inward": "is blocked by", "outward": "blocks"}
    own = zip(_OWN, (low, exact, high, waits, str(one.started) if one.started else None), strict=True)
    return {
        "summary": one.name,
        "issuetype": {"name": "Task" if one.days else "Milestone"},
        "assignee": {"name": one.owner} if one.owner else None,
        "components": [{"name": one.workstream}] if one.workstream else [],
        "timeoriginalestimate": int(seconds) if seconds is not None and seconds.is_integer() else seconds,
        "duedate": str(one.due) if one.due else None,
        "resolutiondate": f"{one.done}T00:00:00.000+0000" if one.done else None,
        "issuelinks": [{"type": kind, "inwardIssue": {"key": name}} for name, _ in links],
    } | {name: value for name, value in own if value is not None}


def read_jira_json(text: str, where: str, days: list[float] | None = None) -> Reading:
    """The items of a search's answer; a task without an estimate takes ``days``.

    An answer that is only one page of several says so under ``lost``.

    Raises:
        ProgramError: It is no such answer, or an issue cannot be read (``program-022``), with its place.
    """
    answer = decode_json(text, where)
    issues = answer.get("issues") if isinstance(answer, dict) else None
    if not isinstance(issues, list):
        raise malformed(f"{where}: $.issues", "expected a list of issues")
    names = guarded(f"{where}: $.names", lambda: {value: key for key, value in (answer.get("names") or {}).items()})
    items, fields = [], []
    for at, issue in enumerate(issues):
        place = f"{where}: $.issues[{at}]"
        items.append(guarded(place, lambda issue=issue: _item(issue, names, days)))
        fields.append(issue["fields"])
    return Reading(items, tuple(_lost(answer, fields, names)))


def _item(issue: dict[str, Any], names: dict[str, str], days: list[float] | None) -> Item:
    fields = issue["fields"]
    own = {name: fields.get(names.get(name, ""), None) for name in _OWN.values()}
    links = [one["inwardIssue"]["key"] for one in fields.get("issuelinks") or [] if _blocks(one)]
    waits = [float(one) for one in (own["Waits"] or "").split()] or [0.0] * len(links)
    if len(waits) != len(links):
        raise ValueError(f"it has {len(links)} links and {len(waits)} waits")
    milestone = ((fields.get("issuetype") or {}).get("name") or "").lower() == "milestone"
    people, parts = fields.get("assignee") or {}, fields.get("components") or []
    return Item(
        id=issue["key"],
        name=fields.get("summary") or "",
        owner=people.get("name") or people.get("displayName") or people.get("emailAddress") or "",
        workstream=parts[0]["name"] if parts else "",
        days=[] if milestone else _days(fields.get("timeoriginalestimate"), own, days),
        after=[link_of(name, wait) for name, wait in zip(links, waits, strict=True)],
        due=day_of(fields.get("duedate")),
        started=day_of(own["Started"]),
        done=day_of(fields.get("resolutiondate")),
    )


def _days(seconds: float | None, own: dict[str, Any], days: list[float] | None) -> list[float]:
    if seconds is None and own["P50 days"] is None:
        return estimated(days)
    middle = float(own["P50 days"]) if own["P50 days"] is not None else float(seconds or 0.0) / _DAY_S
    if own["P10 days"] is None or own["P90 days"] is None:
        return [middle]
    return [float(own["P10 days"]), middle, float(own["P90 days"])]


def _blocks(link: dict[str, Any]) -> bool:
    return link["type"]["name"] == "Blocks" and "inwardIssue" in link


def _lost(answer: dict[str, Any], fields: list[dict[str, Any]], names: dict[str, str]) -> list[str]:
    own = {names[name] for name in _OWN.values() if name in names}
    out = unread(fields, _READ | own, {key: name for name, key in names.items()})
    links = sum(one["type"]["name"] != "Blocks" for held in fields for one in held.get("issuelinks") or [])
    parts = sum(max(len(held.get("components") or []) - 1, 0) for held in fields)
    told = {"links that do not block": links, "components beside the first": parts}
    out += [f"{what} ({n})" for what, n in told.items() if n]
    total = answer.get("total")
    if isinstance(total, int) and total > len(fields):
        out.append(f"the file is a page: {len(fields)} of {total} issues")
    if answer.get("isLast") is False or answer.get("nextPageToken"):
        out.append(f"the file is a page: {len(fields)} issues, and more after them")
    return out
