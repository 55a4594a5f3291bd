from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_plans import SMALL

from mainstem.base.errors import ProgramError
from mainstem.program.exchange import as_calendar, as_mermaid, items_of, losses, program_of
from mainstem.program.formats import READERS, WRITERS
from mainstem.program.plan_file import parse_program, write_program

START = date(2026, 1, 5)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=12)
WORD = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
DATES = st.none() | st.dates(date(2026, 2, 1), date(2027, 1, 1))


@st.composite
def plans(draw: st.DrawFn):
    names = draw(st.lists(WORD, unique=True, min_size=1, max_size=5))
    lines = {"tasks": {}, "milestones": {}}
    owners, streams = ["ana", ""], ["data", ""]
    for at, name in enumerate(names):
        links = [f"{one}{draw(st.sampled_from(['', '+2', '-1']))}" for one in names[:at] if draw(st.booleans())]
        record = {
            "name": draw(TEXT).strip(),
            "owner": draw(st.sampled_from(owners)),
            "workstream": draw(st.sampled_from(streams)),
            "after": links,
            "done": draw(DATES),
        }
        if draw(st.booleans()):
            low = draw(st.integers(1, 4000)) / 100
            record["duration"] = draw(st.sampled_from([[low], [low, low + 1, low * 3 + 1]]))
            lines["tasks"][name] = record
        else:
            lines["milestones"][name] = record | {"due": draw(DATES)}
    from mainstem.program.plan_file import convert_program

    tables = {"program": {"name": "x", "start": START}, "owners": {"ana": {}}, "workstreams": {"data": {}}} | lines
    clean = {
        kind: {n: {k: v for k, v in one.items() if v} for n, one in table.items()} for kind, table in lines.items()
    }
    return convert_program(tables | clean, "made")


@pytest.mark.parametrize("kind", sorted(WRITERS))
@settings(max_examples=25)
@given(program=plans())
def test_a_round_trip_loses_nothing_of_the_subset(kind, program):
    items = items_of(program)
    assert READERS[kind](WRITERS[kind](items), "file", None).items == items
    again = program_of(items, "x", START, "file")
    assert again.tasks == program.tasks
    assert again.milestones == program.milestones
    assert losses(program) == []
    assert write_program(again)


def test_what_would_be_lost_is_listed():
    lost = losses(parse_program(SMALL))
    assert "tasks.backfill.needs" in lost
    assert "milestones.feed.gates" in lost
    assert "risks.late-logs" in lost
    assert "owners.ana.team" in lost
    assert "tasks.schema.duration" not in lost


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("jira", "Issue key,Summary\nA-1\n", "f.csv:2: found 1 cells"),
        ("jira", "Key\n", "Issue key"),
        ("jira", "Issue key,Original estimate\nA-1,many\n", "f.csv:2"),
        ("jira", "Issue key,Summary\nA-1,x\n", "f.csv:2: it has no duration"),
        ("github", "[{]", "f.csv:1"),
        ("github", '[{"title": "x"}]', "issue 1: it has no number"),
        ("github", '[{"number": 1, "title": "x"}]', "no duration"),
        ("github", '[{"number": 1, "title": "x", "blockedBy": [7]}]', "7 is not there"),
        ("msproject", "<Project><Tasks>", "f.csv:1"),
        ("msproject", '<!DOCTYPE a [<!ENTITY b "c">]><a/>', "entities"),
    ],
)
def test_a_malformed_row_is_named(kind, text, told):
    with pytest.raises(ProgramError, match=re.escape(told)) as caught:
        READERS[kind](text, "f.csv", None)
    assert caught.value.code == "program-022"


def test_issues_of_others_come_in_with_the_days_that_are_said():
    text = '[{"number": 7, "title": "x"}, {"number": 8, "title": "y", "blockedBy": [7], "assignees": [{"login": "z"}]}]'
    program = program_of(READERS["github"](text, "f", [1.0, 2.0, 5.0]).items, "x", START, "f")
    assert program.tasks["issue-8"].after == ["issue-7"]
    assert program.tasks["issue-8"].duration == [1.0, 2.0, 5.0]
    assert program.tasks["issue-8"].owner == "z"


def test_a_chart_and_a_calendar():
    program = parse_program(SMALL)
    chart, calendar = as_mermaid(program), as_calendar(program)
    assert "  feed :milestone, crit, feed, 2026-02-02, 0d" in chart
    assert "DTSTART;VALUE=DATE:20260202" in calendar
    assert "SUMMARY:freeze: quarter end" in calendar
    long = parse_program(SMALL.replace("quarter end", "é" * 90))
    assert all(len(line.encode()) <= 75 for line in as_calendar(long).split("\r\n"))
