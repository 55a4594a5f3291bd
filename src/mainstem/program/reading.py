"""What a file of another tool gave: items, what had no place in a plan, and a refusal that names the row."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import msgspec

from mainstem.base.errors import ProgramError
from mainstem.program.checks import ID
from mainstem.program.exchange import Item

_NO_ID: Final = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one file gave.

    ``lost`` says, a line each, what the file held and a plan made of ``items`` does not. ``name`` and ``start`` are empty when the
    file does not say them.
    """

    items: list[Item]
    lost: tuple[str, ...] = ()
    name: str = ""
    start: date | None = None


def decode_text(raw: bytes, where: str) -> str:
    """The text in a file's bytes, which are UTF-8, with or without a mark of it.

    Raises:
        ProgramError: They are not (``program-022``), with the line.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise malformed(f"{where}:{line}", "it is not UTF-8; save it as such") from None


def decode_json(text: str, where: str) -> Any:
    """The value in a JSON text.

    Raises:
        ProgramError: It is no JSON (``program-022``), with the line.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise malformed(f"{where}:{error.lineno}", str(error)) from None
    except RecursionError:
        raise malformed(f"{where}:1", "it is nested too deeply") from None


def guarded(where: str, read: Callable[[], Any]) -> Any:
    """What ``read`` returns; what it stumbles over is said with the row's place.

    Raises:
        ProgramError: The row cannot be read (``program-022``).
    """
    try:
        return read()
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, msgspec.ValidationError) as error:
        told = f"{error.args[0]!r} is not there" if isinstance(error, KeyError) else str(error)
        raise malformed(where, told) from None


def malformed(where: str, told: str) -> ProgramError:
    """The refusal of a row."""
    return ProgramError(
        f"{where}: {told}", code="program-022", hint="nothing was written; mend that row and read it again"
    )


def day_of(text: str | None) -> date | None:
    """The day at the start of ``2026-01-05`` or ``2026-01-05T10:00:00Z``; nothing when empty."""
    return date.fromisoformat(text[:10]) if text else None


def link_of(name: str, wait: float) -> str:
    """A link as a plan writes it: ``a``, or ``a+3`` when it waits."""
    return f"{name}{_number(wait)}" if wait else name


def _number(wait: float) -> str:
    return f"{wait:+g}" if float(f"{wait:g}") == wait else f"{wait:+f}".rstrip("0")


def estimated(days: list[float] | None) -> list[float]:
    """What a task without an estimate takes, if that was said.

    Raises:
        ValueError: It was not.
    """
    if days is None:
        raise ValueError("it has no duration; say what such tasks take with --days")
    return list(days)


def unread(
    records: Iterable[Mapping[str, Any]], known: Collection[str], names: Mapping[str, str] | None = None
) -> list[str]:
    """Which fields hold something that nothing reads, and in how many records."""
    counts: Counter[str] = Counter()
    total = 0
    for record in records:
        total += 1
        counts.update(key for key, value in record.items() if key not in known and value not in (None, "", [], {}))
    return [f"{(names or {}).get(key, key)} (in {n} of {total})" for key, n in sorted(counts.items())]


def with_ids(reading: Reading) -> Reading:
    """The same items with owners and workstreams that a plan can hold as ids; each that had to change is listed.

    People are called ``Ana Bell`` elsewhere, and a component may have a task's name. What is an id already stays.
    """
    taken = {one.id for one in reading.items}
    lost = list(reading.lost)
    renamed: dict[str, dict[str, str]] = {}
    for field in ("owner", "workstream"):
        renamed[field] = {}
        found = sorted(
            {getattr(one, field) for one in reading.items} - {""}, key=lambda name: (not ID.match(name), name)
        )
        for name in found:
            renamed[field][name] = fresh = _fresh(name, field, taken)
            taken.add(fresh)
            lost += [f"{field} {name!r} is {fresh!r} now"] if fresh != name else []
    items = [
        msgspec.structs.replace(
            one,
            owner=renamed["owner"].get(one.owner, ""),
            workstream=renamed["workstream"].get(one.workstream, ""),
        )
        for one in reading.items
    ]
    lost += _dropped(items)
    return replace(reading, items=items, lost=tuple(lost))


def _fresh(name: str, field: str, taken: set[str]) -> str:
    base = _NO_ID.sub("-", name).strip("-_.").lower() if not ID.match(name) else name
    tries = [base, f"{base}-{field}"] if base else []
    at = 1
    while True:
        for one in tries:
            if one not in taken and ID.match(one):
                return one
        at += 1
        tries = [f"{base or field}-{at}"]


def _dropped(items: list[Item]) -> list[str]:
    """A task has no promised day in a plan, and a milestone none on which it began."""
    due = sum(bool(one.days) and one.due is not None for one in items)
    began = sum(not one.days and one.started is not None for one in items)
    told = [f"promised days of {due} tasks"] if due else []
    return told + ([f"first days of {began} milestones"] if began else [])
