from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program_plans import SMALL

from mainstem.base.errors import ProgramError
from mainstem.program.messages import messages_between
from mainstem.program.plan_file import parse_program

PLAN = parse_program(
    SMALL
    + """
[messages.weekly]
audience = "everybody"
form = "weekly"
owner = "ana"
[messages.board]
audience = "directors"
form = "deck"
every_days = 28
first = 2026-01-10
[messages.note]
audience = "users"
form = "launch-note"
every_days = 5
"""
)


def test_what_goes_out_in_the_first_month():
    told = [
        (str(one.day), one.message, one.milestone) for one in messages_between(PLAN, date(2026, 1, 1), date(2026, 2, 9))
    ]
    assert told == [
        ("2026-01-05", "weekly", ""),
        ("2026-01-12", "board", ""),
        ("2026-01-12", "weekly", ""),
        ("2026-01-20", "weekly", ""),
        ("2026-01-26", "weekly", ""),
        ("2026-02-02", "note", "feed"),
        ("2026-02-02", "weekly", ""),
        ("2026-02-09", "board", ""),
        ("2026-02-09", "weekly", ""),
    ]


def test_a_launch_note_goes_out_when_it_is_reached():
    done = parse_program(
        SMALL.replace('due = "2026-02-06"', "due = 2026-02-06\ndone = 2026-01-30")
        + '[messages.note]\naudience = "users"\nform = "launch-note"\nmilestones = ["feed"]\n'
    )
    (one,) = messages_between(done, date(2026, 1, 1), date(2026, 3, 1))
    assert (str(one.day), one.stem) == ("2026-01-30", "2026-01-30-note-feed")


@given(every=st.floats(0, 40), start=st.integers(0, 400), days=st.integers(0, 60))
def test_days_asked_one_by_one_are_the_days_asked_together(every, start, days):
    plan = parse_program(SMALL + f'[messages.m]\naudience = "a"\nform = "weekly"\nevery_days = {every!r}\n')
    first = date(2026, 1, 1) + timedelta(days=start)
    last = first + timedelta(days=days)
    together = messages_between(plan, first, last)
    asked = [first + timedelta(days=at) for at in range(days + 1)]
    assert [one for day in asked for one in messages_between(plan, day, day)] == together
    assert all(one.day.weekday() < 5 and one.day not in plan.program.holidays for one in together)
    assert len({one.day for one in together}) == len(together)


def test_a_form_that_no_report_has():
    plan = parse_program(SMALL + '[messages.m]\naudience = "a"\nform = "wekly"\n')
    with pytest.raises(ProgramError, match=r"messages\.m\.form") as caught:
        messages_between(plan, date(2026, 1, 1), date(2026, 1, 9))
    assert "weekly" in caught.value.hint
