"""A subset of TaskJuggler 3 files, read: tasks, their lengths and links, who does them.

Read: ``project`` (name and first day), nested ``task`` with ``length``, ``duration``, ``effort`` (hours, days, weeks),
``milestone``, ``depends`` and ``precedes`` with ``gaplength`` and ``gapduration``, ``allocate``, ``responsible``, ``end``
and ``maxend``. A task that holds tasks is a milestone after them. The rest is listed; macros, includes and links to a task's
start are refused.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from mainstem.base.errors import did_you_mean
from mainstem.program.exchange import Item
from mainstem.program.reading import Reading, day_of, link_of, malformed
from mainstem.program.taskjuggler_text import BadLineError, Block, Statement, Word, statements

_SPAN: Final = re.compile(r"^(\d+(?:\.\d+)?)(min|h|d|w)$")
_WORKING: Final = {"min": 1 / 480, "h": 1 / 8, "d": 1.0, "w": 5.0}
_CALENDAR: Final = {"min": 1 / 1440, "h": 1 / 24, "d": 1.0, "w": 7.0}
_REFUSED: Final = frozenset({"include", "macro", "supplement"})
_LENGTHS: Final = frozenset({"length", "duration", "effort"})


@dataclass(slots=True)
class _Task:
    """One task while it is read; links are (target, days, line) with the target's whole id."""

    id: str
    name: str
    line: int
    parent: str
    days: float | None = None
    effort: bool = False
    milestone: bool = False
    responsible: str = ""
    hands: list[str] = field(default_factory=list)
    due: date | None = None
    links: list[tuple[str, float, int]] = field(default_factory=list)
    leads: list[tuple[str, float, int]] = field(default_factory=list)
    children: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _File:
    """What was read so far."""

    tasks: dict[str, _Task] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    name: str = ""
    start: date | None = None


def read_taskjuggler(text: str, where: str, days: list[float] | None = None) -> Reading:
    """The items of a TaskJuggler file; a leaf that has neither a length nor is a milestone takes ``days``, else is a milestone.

    An ``effort`` is shared by those who are allocated. A ``duration`` is calendar time, of which five days in seven are worked.

    Raises:
        ProgramError: A line is not of the subset (``program-022``), with file and line.
    """
    held = _File()
    try:
        for one in statements(text):
            _top(one, held)
        _link(held)
        items = [_item(one, held, days) for one in held.tasks.values()]
    except BadLineError as error:
        raise malformed(f"{where}:{error.line}", str(error)) from None
    except RecursionError:
        raise malformed(f"{where}:1", "it is nested too deeply") from None
    lost = tuple(f"{what} ({n})" for what, n in sorted(held.lost.items()) if n)
    return Reading(sorted(items, key=lambda one: one.id), lost, held.name, held.start)


def _top(one: Statement, held: _File) -> None:
    if one.key in _REFUSED:
        raise BadLineError(one.line, f"{one.key!r} is not read; give one file without it")
    if one.key == "task":
        _task(one, "", held)
    elif one.key == "project":
        words = one.words()
        held.name = next((word.text for word in words if word.quoted), "")
        held.start = next((_day(word) for word in words if not word.quoted and re.match(r"^\d{4}-", word.text)), None)
        held.lost.update(f"project.{inner.key}" for inner in one.block())
    elif one.key != "resource":
        held.lost[one.key] += 1


def _task(one: Statement, parent: str, held: _File) -> None:
    words = one.words()
    if not words or words[0].quoted:
        raise BadLineError(one.line, "a task has no id")
    name = f"{parent}.{words[0].text}" if parent else words[0].text
    if name in held.tasks:
        raise BadLineError(one.line, f"the task {name!r} is there twice")
    title = next((word.text for word in words[1:] if word.quoted), "")
    task = held.tasks[name] = _Task(name, title, one.line, parent)
    if parent:
        held.tasks[parent].children.append(name)
    for inner in one.block():
        _attribute(inner, task, held)


def _attribute(one: Statement, task: _Task, held: _File) -> None:
    scenario, _, key = one.key.rpartition(":")
    words = one.words()
    if key in _REFUSED:
        raise BadLineError(one.line, f"{key!r} is not read; give one file without it")
    if scenario and scenario != "plan":
        held.lost[f"scenario {scenario}"] += 1
    elif key == "task":
        _task(one, task.id, held)
    elif key in _LENGTHS:
        task.days = _span(_first(words, one), _CALENDAR if key == "duration" else _WORKING)
        task.days *= 5 / 7 if key == "duration" else 1.0
        task.effort = key == "effort"
    elif key == "milestone":
        task.milestone = True
    elif key in ("depends", "precedes"):
        _depends(one, key, task)
    elif key == "responsible":
        task.responsible = _first(words, one).text
    elif key == "allocate":
        _first(words, one)
        task.hands += [word.text for word in words if word.text != ","]
    elif key in ("end", "maxend"):
        task.due = _day(_first(words, one))
    else:
        held.lost[f"task.{key}"] += 1


def _depends(one: Statement, key: str, task: _Task) -> None:
    """Links of one statement; those of ``precedes`` are told by what comes first."""
    target = ""
    for part in one.rest:
        if isinstance(part, Block):
            if not target:
                raise BadLineError(part.line, "a '{' that follows no task")
            _keep(task, key, target, _gap(part), part.line)
            target = ""
        elif part.text == "," or target:
            if part.text != ",":
                raise BadLineError(part.line, f"{part.text!r} after {target!r}, expected a comma")
            if target:
                _keep(task, key, target, 0.0, part.line)
            target = ""
        else:
            target = _whole(part, task)
    if target:
        _keep(task, key, target, 0.0, one.line)


def _keep(task: _Task, key: str, target: str, gap: float, line: int) -> None:
    (task.links if key == "depends" else task.leads).append((target, gap, line))


def _gap(block: Block) -> float:
    gap = 0.0
    for one in block.statements:
        if one.key == "onstart":
            raise BadLineError(one.line, "it has a link that is not finish to start")
        if one.key in ("gaplength", "gapduration"):
            calendar = one.key == "gapduration"
            span = _span(_first(one.words(), one), _CALENDAR if calendar else _WORKING)
            gap = math.ceil(span * 5 / 7) if calendar else span
        elif one.key != "onend":
            raise BadLineError(one.line, f"a link has no {one.key!r}; there are gaplength, gapduration and onend")
    return gap


def _whole(word: Word, task: _Task) -> str:
    """The whole id of what a link names: ``!a`` stands beside the task, ``!!a`` beside its parent."""
    up = len(word.text) - len(word.text.lstrip("!"))
    parts = task.id.split(".")
    if up > len(parts):
        raise BadLineError(word.line, f"{word.text!r} climbs out of the file")
    above = parts[: len(parts) - up] if up else []
    return ".".join([*above, word.text[up:]])


def _link(held: _File) -> None:
    """Links told from the other side are turned, and each must lead somewhere."""
    for task in list(held.tasks.values()):
        for target, gap, line in [*task.links, *task.leads]:
            if target not in held.tasks:
                raise BadLineError(line, f"it names {target!r}, which is no task: {did_you_mean(target, held.tasks)}")
            if (target, gap, line) in task.leads:
                held.tasks[target].links.append((task.id, gap, line))


def _item(task: _Task, held: _File, days: list[float] | None) -> Item:
    parent, links = task, list(task.links)
    while parent.parent:
        parent = held.tasks[parent.parent]
        links += parent.links
        task.responsible = task.responsible or parent.responsible
        task.hands = task.hands or parent.hands
    found: list[float] = []
    if task.children:
        links = [(child, 0.0, task.line) for child in task.children]
    elif not task.milestone:
        found = _length(task, days)
    held.lost["allocate beside the first"] += max(len(task.hands) - 1, 0)
    return Item(
        id=task.id,
        name=task.name,
        owner=task.responsible or (task.hands[0] if task.hands else ""),
        workstream=parent.id if parent is not task else "",
        days=found,
        after=list(dict.fromkeys(link_of(target, gap) for target, gap, _ in links)),
        due=task.due,
    )


def _length(task: _Task, days: list[float] | None) -> list[float]:
    """Days of a leaf. As in TaskJuggler, one with neither a length nor ``days`` to take is a milestone."""
    if task.days is None:
        return list(days or [])
    return [task.days / max(len(task.hands), 1) if task.effort else task.days]


def _first(words: list[Word], one: Statement) -> Word:
    if not words:
        raise BadLineError(one.line, f"{one.key!r} says nothing")
    return words[0]


def _span(word: Word, units: dict[str, float]) -> float:
    found = _SPAN.match(word.text)
    if found is None:
        raise BadLineError(word.line, f"{word.text!r} is no span such as 3d; units are {', '.join(units)}")
    return float(found[1]) * units[found[2]]


def _day(word: Word) -> date | None:
    try:
        return day_of(word.text)
    except ValueError:
        raise BadLineError(word.line, f"{word.text!r} is no day such as 2026-01-05") from None
