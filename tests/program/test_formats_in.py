"""What comes in from Linear, TaskJuggler, Jira's JSON, GitHub's projects and PSPLIB: read back as meant, or refused by place."""

from __future__ import annotations

import json
import re
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_plans import SMALL
from typer.testing import CliRunner

from mainstem.base.errors import ProgramError
from mainstem.cli.program import app
from mainstem.program.checks import ID
from mainstem.program.exchange import Item, items_of, program_of
from mainstem.program.formats import READERS, WRITERS
from mainstem.program.levelling import pooled_of
from mainstem.program.network import network_of
from mainstem.program.plan_file import parse_program
from mainstem.program.psplib import program_of_psplib, write_rcp
from mainstem.program.reading import Reading, decode_text, with_ids

START = date(2026, 1, 5)
WORD = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=12)
DATES = st.none() | st.dates(date(2026, 2, 1), date(2027, 1, 1))


@st.composite
def linear_items(draw: st.DrawFn):
    """Issues that block earlier ones' followers, and milestones that hold some of them, as Linear can say it."""
    names = [f"ENG-{at}" for at in range(1, draw(st.integers(1, 6)) + 1)]
    tasks = []
    for at, name in enumerate(names):
        after = sorted(one for one in names[:at] if draw(st.booleans()))
        tasks.append(
            Item(
                id=name,
                name=draw(TEXT),
                owner=draw(st.sampled_from(["ana", ""])),
                workstream=draw(st.sampled_from(["core", ""])),
                days=[1.0, 2.0, 4.0],
                after=after,
                due=draw(DATES),
                started=draw(DATES),
                done=draw(DATES),
            )
        )
    cut = draw(st.integers(0, len(names)))
    held = [Item(id="beta", name="beta", after=sorted(names[:cut]), due=draw(DATES))] if cut else []
    return tasks + held


def as_linear(items: list[Item]) -> str:
    """What Linear would answer; each link is told by one side only, turn about."""
    stone = next((one for one in items if not one.days), None)
    nodes = []
    for one in items:
        if not one.days:
            continue
        inside = stone is not None and one.id in stone.after
        told = {"id": "m", "name": "beta", "targetDate": str(stone.due) if stone and stone.due else None}
        nodes.append(
            {
                "identifier": one.id,
                "title": one.name,
                "assignee": {"displayName": one.owner} if one.owner else None,
                "project": {"name": one.workstream} if one.workstream else None,
                "projectMilestone": told if inside else None,
                "dueDate": str(one.due) if one.due else None,
                "startedAt": f"{one.started}T09:00:00.000Z" if one.started else None,
                "completedAt": f"{one.done}T09:00:00.000Z" if one.done else None,
                "inverseRelations": {"nodes": [_blocks("issue", name) for name in one.after[::2]]},
                "relations": {
                    "nodes": [_blocks("relatedIssue", then.id) for then in items if then.days and one.id in then.after[1::2]]
                },
            }
        )  # fmt: skip
    return json.dumps({"data": {"issues": {"nodes": nodes}}})


def _blocks(side: str, name: str) -> dict:
    return {"type": "blocks", side: {"identifier": name}}


@settings(max_examples=25)
@given(items=linear_items())
def test_issues_of_linear_are_read_as_they_were_meant(items):
    found = READERS["linear"](as_linear(items), "f", [1.0, 2.0, 4.0])
    whose = next((one.workstream for one in items if not one.days), "")
    stone = [one for one in found.items if not one.days]
    assert [one for one in found.items if one.days] == [one for one in items if one.days]
    assert [one.after for one in stone] == [one.after for one in items if not one.days]
    assert [one.due for one in stone] == [one.due for one in items if not one.days]
    assert whose == ""
    assert found.lost == ()


def test_what_linear_holds_beside_is_listed():
    nodes = [
        {"identifier": "E-1", "title": "a", "priority": 2, "state": {"type": "canceled"}},
        {"identifier": "E-2", "title": "b", "estimate": 3, "inverseRelations": {"nodes": [_blocks("issue", "E-1")]}},
        {"identifier": "E-3", "relations": {"nodes": [{"type": "related", "relatedIssue": {"identifier": "E-2"}}]}},
    ]
    text = json.dumps({"issues": {"nodes": nodes, "pageInfo": {"hasNextPage": True}}})
    found = READERS["linear"](text, "f", [2.0])
    assert [one.id for one in found.items] == ["E-2", "E-3"]
    assert found.items[0].after == []
    told = "\n".join(found.lost)
    for part in ("estimate (in 1 of 2)", "E-1 is cancelled", "do not block (1)", "left out (1)", "the file is a page"):
        assert part in told


TJP = """
/* a plan */
project one "One platform" 2026-01-05 +6m {
  timezone "Europe/Paris"  # not carried
}
resource ana "Ana" { efficiency 1.0 }
resource bo "Bo"
task feed "Feed" {
  responsible ana
  task start "Begin" { milestone }
  task port "Port" {
    effort 20d allocate ana, bo
    depends !start
  }
  task ramp "Ramp" { length 2w
    depends !port { gaplength 3d },
            data
  }
}
task data "Data" { duration 14d  precedes feed.start  priority 700 }
task live "Live" { milestone depends feed end 2026-06-01 }
taskreport "gantt" { columns name }
"""


def test_a_taskjuggler_file_is_read():
    found = READERS["taskjuggler"](TJP, "f.tjp", None)
    held = {one.id: one for one in found.items}
    assert (found.name, found.start) == ("One platform", START)
    assert held["feed.port"].days == [10.0]
    assert held["feed.port"].owner == "ana"
    assert held["feed.port"].workstream == "feed"
    assert held["feed.ramp"].days == [10.0]
    assert held["feed.ramp"].after == ["feed.port+3", "data"]
    assert held["data"].days == [10.0]
    assert held["feed.start"].after == ["data"]
    assert held["feed"].days == []
    assert held["feed"].after == ["feed.start", "feed.port", "feed.ramp"]
    assert held["live"].due == date(2026, 6, 1)
    told = "\n".join(found.lost)
    for part in ("allocate beside the first (1)", "project.timezone (1)", "task.priority (1)", "taskreport (1)"):
        assert part in told
    program = program_of(with_ids(found).items, found.name, START, "f.tjp")
    assert network_of(program).names


def test_what_a_holding_task_waits_for_its_tasks_wait_for():
    text = (
        "task a { length 1d }\ntask b { depends a\n task c { task d { length 1d } } }\ntask e { length 1d precedes b }"
    )
    held = {one.id: one for one in READERS["taskjuggler"](text, "f", None).items}
    assert held["b.c.d"].after == ["a", "e"]
    assert held["b"].after == ["b.c"]


@settings(max_examples=25)
@given(data=st.data())
def test_the_taskjuggler_subset_is_read_as_it_was_written(data):
    names = data.draw(st.lists(WORD, unique=True, min_size=1, max_size=5))
    items = []
    for at, name in enumerate(names):
        after = [one + data.draw(st.sampled_from(["", "+2"])) for one in names[:at] if data.draw(st.booleans())]
        days = [data.draw(st.integers(1, 400)) / 8] if data.draw(st.booleans()) else []
        due = None if days else data.draw(DATES)
        owner = data.draw(st.sampled_from(["ana", ""]))
        items.append(Item(id=name, name=data.draw(TEXT), owner=owner, days=days, after=after, due=due))
    text = "".join(_as_task(one, data.draw(st.sampled_from(["\n", " "]))) for one in items)
    assert READERS["taskjuggler"](text, "f", None).items == sorted(items, key=lambda one: one.id)


def _as_task(one: Item, gap: str) -> str:
    title = one.name.replace("\\", "\\\\").replace('"', '\\"')
    links = [f"{link.removesuffix('+2')} {{ gaplength 2d }}" if link.endswith("+2") else link for link in one.after]
    lines = [f"length {one.days[0] * 8:g}h" if one.days else "milestone"]
    lines += [f"depends {', '.join(links)}"] if links else []
    lines += [f"allocate {one.owner}"] if one.owner else []
    lines += [f"end {one.due}"] if one.due else []
    return f'task {one.id} "{title}" {{{gap}{gap.join(lines)}{gap}}}\n'


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("jira-json", '{"issues": [\n{"key": "A-1"}]}', "f: $.issues[0]: 'fields' is not there"),
        ("jira-json", '{"issues":\n [}', "f:2"),
        ("jira-json", "[]", "$.issues: expected a list"),
        (
            "jira-json",
            '{"issues": [{"key": "A-1", "fields": {"duedate": "6 May", "timeoriginalestimate": 1}}]}',
            "[0]: Inv",
        ),
        ("jira-json", '{"issues": [{"key": "A-1", "fields": {"summary": 3, "timeoriginalestimate": 1}}]}', "name is 3"),
        ("jira-json", '{"issues": [{"key": "A-1", "fields": {}}]}', "$.issues[0]: it has no duration"),
        ("github-project", '{"items": [{"id": "a", "p50 days": 1, "workstream": 4}]}', "workstream is 4"),
        ("taskjuggler", "a{" * 50_000, "nested too deeply"),
        ("github-project", '{"items": [{"id": "a", "p50 days": "few"}]}', "f: $.items[0]: could not"),
        ("github-project", '{"items": [{"id": "a", "p10 days": 2}]}', "expected 'p50 days' alone"),
        ("github-project", '{"items": [{"id": "a", "kind": "epic"}]}', "expected Task or Milestone"),
        ("github-project", '{"items": [{"kind": "Milestone"}]}', "no number and no id"),
        ("github-project", '{"items": [3]}', "$.items[0]: expected an item"),
        ("github-project", "{}", "$.data: 'data' is not there"),
        ("linear", '{"issues": {"nodes": [{"title": "x"}]}}', "issues.nodes[0]: 'identifier' is not there"),
        ("linear", '{"issues": {"nodes": [{"identifier": "E-1"}]}}', "issues.nodes[0]: it has no duration"),
        ("linear", "[]", "expected a list of issues"),
        ("linear", "[" * 100_000, "nested too deeply"),
        ("taskjuggler", "task a {\n length 3x\n}", "f:2: '3x' is no span"),
        ("taskjuggler", "task a {\n depends !!b\n}", "f:2: '!!b' climbs"),
        ("taskjuggler", "\ntask data {}\ntask a { depends dota }", "f:3: it names 'dota'"),
        ("taskjuggler", "task a { depends b { onstart } }\ntask b {}", "f:1: it has a link that is not"),
        ("taskjuggler", "task a {\n", "f:1: a '{' without"),
        ("taskjuggler", "task a {}\n}", "f:2: a '}' without"),
        ("taskjuggler", "task a {}\ntask a {}", "f:2: the task 'a' is there twice"),
        ("taskjuggler", '\n\ninclude "x.tji"', "f:3: 'include' is not read"),
        ("taskjuggler", "task a { ${mine} }", "f:1: macros"),
        ("taskjuggler", 'task a "no end', "f:1: '\"' begins"),
        ("taskjuggler", "task a { end soon }", "f:1: 'soon' is no day"),
        ("taskjuggler", 'task "a" {}', "f:1: a task has no id"),
    ],
)
def test_a_malformed_row_is_named_with_its_place(kind, text, told):
    with pytest.raises(ProgramError, match=re.escape(told)) as caught:
        READERS[kind](text, "f", None)
    assert caught.value.code == "program-022"


def test_bytes_that_are_no_text_are_refused_with_their_line():
    assert decode_text(b"\xef\xbb\xbfa", "f") == "a"
    with pytest.raises(ProgramError, match="f:2"):
        decode_text(b"a\n\xff", "f")


def test_jira_and_projects_list_what_they_hold_beside():
    issue = {"key": "A-1", "fields": {"timeoriginalestimate": 28800, "labels": ["x"], "customfield_1": 5}}
    found = READERS["jira-json"](
        json.dumps({"issues": [issue], "total": 9, "names": {"customfield_1": "Points"}}), "f", None
    )
    assert found.items[0].days == [1.0]
    assert found.lost == ("Points (in 1 of 1)", "labels (in 1 of 1)", "the file is a page: 1 of 9 issues")
    one = {
        "content": {"number": 7, "repository": "o/web", "body": "b"},
        "status": "Done",
        "assignees": ["a", "b"],
        "p50 days": 3,
    }
    found = READERS["github-project"](json.dumps({"items": [one], "totalCount": 2}), "f", None)
    assert found.items[0].id == "web-7"
    told = "\n".join(found.lost)
    for part in ("without a day", "beside the first (1)", "bodies (1)", "1 of 2 items"):
        assert part in told


def test_a_project_as_the_interface_answers_it():
    values = [
        {"field": {"name": "P50 days"}, "number": 4},
        {"field": {"name": "Due"}, "date": "2026-03-01"},
        {"field": {"name": "Workstream"}, "name": "data"},
        {},
    ]
    content = {
        "number": 3,
        "title": "x",
        "closedAt": "2026-02-01T08:00:00Z",
        "repository": {"nameWithOwner": "o/r"},
        "assignees": {"nodes": [{"login": "ana"}]},
    }
    node = {"id": "PVTI_1", "content": content, "fieldValues": {"nodes": values}}
    text = json.dumps({"data": {"organization": {"projectV2": {"items": {"nodes": [node], "totalCount": 1}}}}})
    (one,) = READERS["github-project"](text, "f", None).items
    assert one == Item(
        id="r-3", name="x", owner="ana", workstream="data", days=[4.0], due=date(2026, 3, 1), done=date(2026, 2, 1)
    )


@given(names=st.lists(st.text(max_size=8), min_size=1, max_size=6))
def test_owners_become_ids_and_stay_apart(names):
    items = [Item(id=f"t{at}", owner=name, workstream=name, days=[1.0]) for at, name in enumerate(names)]
    found = with_ids(Reading(items))
    for was, now in zip(items, found.items, strict=True):
        assert bool(was.owner) == bool(now.owner)
        assert not now.owner or (ID.match(now.owner) and ID.match(now.workstream))
    assert len({one.owner for one in found.items}) == len(set(names))
    assert program_of(found.items, "x", START, "f").tasks
    assert with_ids(found).items == found.items


def test_people_with_names_come_in_and_are_listed(tmp_path):
    held = {
        "summary": "x",
        "timeoriginalestimate": 57600,
        "assignee": {"displayName": "Ana Bell"},
        "duedate": "2026-03-01",
    }
    (tmp_path / "a.json").write_text(json.dumps({"issues": [{"key": "A-1", "fields": held}]}))
    words = ["import", str(tmp_path / "a.json"), "--from", "jira-json", "--start", "2026-01-05"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "p.toml")])
    assert done.exit_code == 0, done.output
    assert "not carried: owner 'Ana Bell' is 'ana-bell' now" in done.stderr
    assert "not carried: promised days of 1 tasks" in done.stderr
    assert parse_program((tmp_path / "p.toml").read_text()).tasks["A-1"].owner == "ana-bell"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.json", "p.toml"]


@pytest.mark.parametrize("kind", ["github-project", "jira-json"])
def test_out_and_in_again(kind, tmp_path):
    (tmp_path / "program.toml").write_text(SMALL)
    run = CliRunner().invoke
    file, made = tmp_path / "a", tmp_path / "b.toml"
    done = run(app, ["export", str(tmp_path), "--to", kind, "--out", str(file)])
    assert done.exit_code == 0, done.output
    assert run(app, ["import", str(file), "--from", kind, "--out", str(made), "--start", "2026-01-05"]).exit_code == 0
    assert items_of(parse_program(made.read_text())) == items_of(parse_program(SMALL))
    assert WRITERS[kind](items_of(parse_program(SMALL))) == file.read_text()


def test_a_psplib_problem_is_a_plan_and_back(tmp_path):
    file = tmp_path / "x.rcp"
    file.write_text("4 1\n3\n0 0 2 2 3\n4 2 1 4\n5 3 1 4\n0 0 0\n")
    program = program_of_psplib(file, "x", START)
    assert program.tasks["a2"].needs == {"r1": 2.0}
    assert program.milestones["a4"].after == ["a2", "a3"]
    text = write_rcp(pooled_of(program, network_of(program)))
    assert text.split() == file.read_text().split()
    done = CliRunner().invoke(app, ["import", str(file), "--from", "psplib", "--out", str(tmp_path / "p.toml")])
    assert done.exit_code == 0, done.output


def test_summary_tasks_of_ms_project_are_sums_and_left_out():
    tasks = (
        "<Task><UID>0</UID><Name>all</Name><Summary>1</Summary><Duration>PT80H0M0S</Duration></Task>"
        "<Task><UID>3</UID><Name>a</Name><Duration>PT12H30M0S</Duration><Priority>500</Priority></Task>"
    )
    text = f'<Project xmlns="http://schemas.microsoft.com/project"><Tasks>{tasks}</Tasks></Project>'
    found = READERS["msproject"](text, "f", None)
    assert found.items == [Item(id="task-3", name="a", days=[12.5 / 8])]
    assert found.lost == ("Priority (in 1 of 1)", "summary tasks (1)")
