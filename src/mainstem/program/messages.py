"""Who hears what, when and in which form: the communication plan as dates.

A message goes out every so many days from its first day on; a launch note goes out so many days before a promised day, and when the
milestone is reached. What falls on a day without work goes out on the next working day.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from mainstem.base.errors import ProgramError, did_you_mean
from mainstem.program.network import calendar_of
from mainstem.program.records import FORMS, Message, Program
from mainstem.program.workdays import WorkCalendar


@dataclass(frozen=True, slots=True)
class Due:
    """One message on the day it goes out; ``milestone`` is what a launch note is about."""

    day: date
    message: str
    audience: str
    form: str
    sender: str
    milestone: str = ""

    @property
    def stem(self) -> str:
        """What its file is called, without the ending."""
        return f"{self.day}-{self.message}" + (f"-{self.milestone}" if self.milestone else "")


def messages_between(program: Program, first: date, last: date) -> list[Due]:
    """What goes out from one day to another, both included, in order.

    Raises:
        ProgramError: A message has a form that no report has (``program-050``).
    """
    calendar = calendar_of(program)
    found: set[tuple[date, str, str]] = set()
    for name, one in program.messages.items():
        if one.form not in FORMS:
            raise ProgramError(
                f"messages.{name}.form is {one.form!r}, which no report has",
                code="program-050",
                hint=did_you_mean(one.form, FORMS),
            )
        for day, milestone in _days(program, one, first, last):
            found.add((_working(day, calendar), name, milestone))
    return [
        Due(day, name, one.audience, one.form, one.owner, milestone)
        for day, name, milestone in sorted(found)
        for one in [program.messages[name]]
        if first <= day <= last
    ]


def _days(program: Program, one: Message, first: date, last: date) -> Iterator[tuple[date, str]]:
    """The days as the plan has them, and what each is about."""
    start = one.first or program.program.start
    if one.form == "launch-note":
        for name in one.milestones or sorted(program.milestones):
            stone = program.milestones[name]
            if stone.done is not None:
                yield stone.done, name
            elif stone.due is not None:
                yield stone.due - timedelta(days=round(one.every_days)), name
        return
    every = max(one.every_days, 1.0)
    # From the last day before the first one asked for: it may have fallen on days without work until then.
    at = max(math.floor((first - start).days / every) - 1, 0)
    while (day := start + timedelta(days=math.floor(at * every))) <= last:
        yield day, ""
        at += 1


def _working(day: date, calendar: WorkCalendar) -> date:
    """The day itself, or the next one on which somebody works."""
    return calendar.day(calendar.before(day))
