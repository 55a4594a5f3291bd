"""GitHub Projects v2, read and written: items with fields, as ``gh project item-list --format json`` prints them.

A project's own fields carry what an issue has no place for. The answer of the GraphQL interface (``projectV2.items.nodes`` with
``fieldValues``) is read as well.
"""

from __future__ import annotations

import json
from typing import Any, Final

from mainstem.program.exchange import Item
from mainstem.program.reading import Reading, day_of, decode_json, estimated, guarded, malformed, unread

_POINTS: Final = ("p10 days", "p50 days", "p90 days")
_READ: Final = frozenset(
    {"id", "title", "content", "assignees", "status", "mainstem id", "kind", "workstream", "after", "started", "due",
     "target date", "done", *_POINTS}
)  # fmt: skip


def write_github_project(items: list[Item]) -> str:
    """The items as drafts of a project; lists of links stand in a text field."""
    out = [
        {
            "id": one.id,
            "title": one.name,
            "content": {"type": "DraftIssue", "title": one.name, "body": ""},
            "status": "Done" if one.done else "In Progress" if one.started else "Todo",
            "mainstem id": one.id,
            "kind": "Task" if one.days else "Milestone",
        }
        | ({"assignees": [one.owner]} if one.owner else {})
        | ({"workstream": one.workstream} if one.workstream else {})
        | dict(zip(_POINTS if len(one.days) == 3 else _POINTS[1:], one.days, strict=False))
        | ({"after": ", ".join(one.after)} if one.after else {})
        | {name: str(day) for name, day in _dates(one) if day}
        for one in items
    ]
    return json.dumps({"items": out, "totalCount": len(out)}, indent=1, ensure_ascii=False) + "\n"


def _dates(one: Item) -> list[tuple[str, Any]]:
    return [("due", one.due), ("started", one.started), ("done", one.done)]


def read_github_project(text: str, where: str, days: list[float] | None = None) -> Reading:
    """The items of a project; a task without ``p50 days`` takes ``days``.

    An item that did not come from here is ``REPOSITORY-NUMBER``, or a draft's own id.

    Raises:
        ProgramError: It is no such list, or an item cannot be read (``program-022``), with its place.
    """
    answer = decode_json(text, where)
    flat, place, total = _flattened(answer, where)
    items = [
        guarded(f"{where}: {place}[{at}]", lambda one=one: _item(one, days)) for at, one in enumerate(flat)
    ]  # fmt: skip
    lost = unread(flat, _READ)
    lone = sum(one.get("status") == "Done" and not one.get("done") for one in flat)
    people = sum(max(len(one.get("assignees") or []) - 1, 0) for one in flat)
    bodies = sum(bool((one.get("content") or {}).get("body")) for one in flat)
    told = {"status Done without a day in 'done'": lone, "assignees beside the first": people, "bodies": bodies}
    lost += [f"{what} ({n})" for what, n in told.items() if n]
    lost += [f"the file is a page: {len(flat)} of {total} items"] if total > len(flat) else []
    return Reading(items, tuple(lost))


def _flattened(answer: Any, where: str) -> tuple[list[dict[str, Any]], str, int]:
    """Items with their fields beside each other, where they stand in the file, and how many there are in all."""
    if isinstance(answer, dict) and isinstance(answer.get("items"), list):
        found, place = answer["items"], "$.items"
        total = answer.get("totalCount")
    else:
        held = guarded(f"{where}: $.data", lambda: _project(answer)["items"])
        place = "items.nodes"
        found = [guarded(f"{where}: {place}[{at}]", lambda n=n: _node(n)) for at, n in enumerate(held["nodes"])]
        total = held.get("totalCount")
    for at, one in enumerate(found):
        if not isinstance(one, dict):
            raise malformed(f"{where}: {place}[{at}]", "expected an item with fields")
    return found, place, total if isinstance(total, int) else len(found)


def _project(answer: Any) -> dict[str, Any]:
    data = answer["data"]
    above = next((data[one] for one in ("organization", "user", "viewer", "repository", "node") if data.get(one)), data)
    project = above.get("projectV2") or above
    if not isinstance(project["items"]["nodes"], list):
        raise ValueError("items.nodes is no list")
    return project


def _node(node: dict[str, Any]) -> dict[str, Any]:
    out = {"id": node.get("id")}
    for value in (node.get("fieldValues") or {}).get("nodes") or []:
        name = (value.get("field") or {}).get("name")
        held = next((value[key] for key in ("text", "number", "date", "name", "title") if key in value), None)
        if name and held is not None:
            # The command prints field names with a small first letter; the interface does not.
            out[name[:1].lower() + name[1:]] = held
    content = node.get("content") or {}
    people = [one["login"] for one in (content.get("assignees") or {}).get("nodes") or []]
    repository = content.get("repository")
    if isinstance(repository, dict):
        content = content | {"repository": repository.get("nameWithOwner") or repository.get("name")}
    return out | {"content": content, "title": out.get("title") or content.get("title"), "assignees": people}


def _item(one: dict[str, Any], days: list[float] | None) -> Item:
    content, people = one.get("content") or {}, one.get("assignees") or []
    points = [one.get(name) for name in _POINTS]
    kind = str(one.get("kind") or "Task").lower()
    if kind not in ("task", "milestone"):
        raise ValueError(f"kind is {one['kind']!r}, expected Task or Milestone")
    found: list[float] = []
    if kind == "task":
        given = [float(point) for point in points if point is not None]
        if given and (points[1] is None or len(given) == 2):
            raise ValueError("expected 'p50 days' alone, or all of p10, p50 and p90")
        found = given or estimated(days)
    return Item(
        id=_id(one, content),
        name=one.get("title") or "",
        owner=people[0] if people else "",
        workstream=one.get("workstream") or "",
        days=found,
        after=[link.strip() for link in (one.get("after") or "").split(",") if link.strip()],
        due=day_of(one.get("due") or one.get("target date")),
        started=day_of(one.get("started")),
        done=day_of(one.get("done") or content.get("closedAt")),
    )


def _id(one: dict[str, Any], content: dict[str, Any]) -> str:
    if one.get("mainstem id"):
        return str(one["mainstem id"])
    if content.get("number") is not None:
        repository = str(content.get("repository") or "issue").rstrip("/").rsplit("/", 1)[-1]
        return f"{repository}-{content['number']}"
    if not one.get("id"):
        raise ValueError("it has no number and no id")
    return str(one["id"])
