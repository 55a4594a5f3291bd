"""Linear's JSON, read: issues as its GraphQL interface answers them (``data.issues.nodes`` or ``issues.nodes``)."""

from __future__ import annotations

import re
from typing import Any, Final

from mainstem.program.exchange import Item
from mainstem.program.reading import Reading, day_of, decode_json, estimated, guarded, malformed, unread

_READ: Final = frozenset(
    {"id", "identifier", "title", "assignee", "project", "team", "projectMilestone", "relations", "inverseRelations",
     "startedAt", "completedAt", "dueDate", "state"}
)  # fmt: skip


def read_linear(text: str, where: str, days: list[float] | None = None) -> Reading:
    """Issues as tasks of ``days`` (an estimate there is points, not days), a project's milestones as milestones after their issues.

    Links are the relation ``blocks``, told by either side. An issue that was cancelled or is a duplicate is left out and listed.

    Raises:
        ProgramError: It is no such answer, or an issue cannot be read (``program-022``), with its place.
    """
    answer = decode_json(text, where)
    inner = answer.get("data", answer) if isinstance(answer, dict) else {}
    held = inner.get("issues") if isinstance(inner, dict) else None
    nodes = held.get("nodes") if isinstance(held, dict) else held
    if not isinstance(nodes, list):
        raise malformed(f"{where}: $.data.issues.nodes", "expected a list of issues")
    place = f"{where}: issues.nodes"
    kept = [one for at, one in enumerate(nodes) if guarded(f"{place}[{at}]", lambda one=one: _open(one))]
    gone = {one["identifier"] for one in nodes} - {one["identifier"] for one in kept}
    told = [guarded(f"{place}[{at}]", lambda one=one: list(_links(one))) for at, one in enumerate(nodes)]
    links = {link for held in told for link in held}
    before: dict[str, list[str]] = {}
    for first, then in sorted(links):
        before.setdefault(then, []).extend([first] if first not in gone else [])
    items = [
        guarded(f"{place}[{at}]", lambda one=one: _item(one, before, days))
        for at, one in enumerate(nodes)
        if one["identifier"] not in gone
    ]
    items += guarded(f"{where}: projectMilestone", lambda: _milestones(kept))
    page = isinstance(held, dict) and (held.get("pageInfo") or {}).get("hasNextPage")
    return Reading(items, tuple(_lost(kept, sorted(gone), links, more=bool(page))))


def _open(issue: dict[str, Any]) -> bool:
    if not isinstance(issue["identifier"], str):
        raise ValueError(f"identifier is {issue['identifier']!r}, expected text such as ENG-12")
    return (issue.get("state") or {}).get("type") not in ("canceled", "duplicate")


def _links(issue: dict[str, Any]) -> list[tuple[str, str]]:
    """Pairs of what comes first and what waits for it."""
    own = issue["identifier"]
    out = [(own, one["relatedIssue"]["identifier"]) for one in _nodes(issue, "relations") if one["type"] == "blocks"]
    out += [(one["issue"]["identifier"], own) for one in _nodes(issue, "inverseRelations") if one["type"] == "blocks"]
    if not all(isinstance(name, str) for link in out for name in link):
        raise ValueError("a relation's identifier is no text such as ENG-12")
    return out


def _nodes(issue: dict[str, Any], name: str) -> list[dict[str, Any]]:
    held = issue.get(name) or {}
    return held["nodes"] if isinstance(held, dict) and held else []


def _item(issue: dict[str, Any], before: dict[str, list[str]], days: list[float] | None) -> Item:
    people = issue.get("assignee") or {}
    whose = (issue.get("project") or {}).get("name") or (issue.get("team") or {}).get("key") or ""
    return Item(
        id=issue["identifier"],
        name=issue.get("title") or "",
        owner=people.get("displayName") or people.get("name") or people.get("email") or "",
        workstream=whose,
        days=estimated(days),
        after=before.get(issue["identifier"], []),
        due=day_of(issue.get("dueDate")),
        started=day_of(issue.get("startedAt")),
        done=day_of(issue.get("completedAt")),
    )


def _milestones(issues: list[dict[str, Any]]) -> list[Item]:
    """A milestone of each that issues name, after all of its issues; its promised day is the target's."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    whose: dict[str, str] = {}
    for issue in issues:
        one = issue.get("projectMilestone")
        if one:
            key = str(one.get("id") or one["name"])
            found.setdefault(key, (one, []))[1].append(issue["identifier"])
            whose.setdefault(key, (issue.get("project") or {}).get("name") or "")
    taken = {issue["identifier"] for issue in issues}
    out = []
    for key, (one, after) in sorted(found.items()):
        base = re.sub(r"[^A-Za-z0-9_.-]+", "-", one.get("name") or key).strip("-_.").lower() or "milestone"
        name, at = base, 2
        while name in taken:
            name, at = f"{base}-{at}", at + 1
        taken.add(name)
        due = day_of(one.get("targetDate"))
        out.append(Item(id=name, name=one.get("name") or "", workstream=whose[key], after=sorted(after), due=due))
    return out


def _lost(kept: list[dict[str, Any]], gone: list[str], links: set[tuple[str, str]], *, more: bool) -> list[str]:
    others = sum(one["type"] != "blocks" for issue in kept for one in _nodes(issue, "relations"))
    cut = sum(first in gone and then not in gone for first, then in links)
    out = unread(kept, _READ)
    out += [f"{name} is cancelled or a duplicate" for name in gone]
    told = {"relations that do not block": others, "links from issues that were left out": cut}
    out += [f"{what} ({n})" for what, n in told.items() if n]
    return out + (["the file is a page: more issues come after these"] if more else [])
