from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime

import pytest
from program_plans import SMALL
from typer.testing import CliRunner

from mainstem.base.errors import ProgramError
from mainstem.cli.program import app
from mainstem.program.evidence import Evidence
from mainstem.program.moved import what_moved
from mainstem.program.plan_file import parse_program, write_program
from mainstem.program.records import TABLES
from mainstem.program.status import FORMS, write_report
from mainstem.program.worlds import simulate

PLAN = parse_program(SMALL + '[goals.cost]\nhalf = "2026H1"\nunit = "GPU-h"\ntarget = 100\n')
TODAY = date(2026, 1, 20)
SHOWN = [Evidence(id="p1", kind="parity", about="feed", value=0.995, at=datetime(2026, 1, 18, tzinfo=UTC))]
WORLDS = simulate(PLAN, worlds=500)


@pytest.mark.parametrize("form", FORMS)
def test_every_sentence_resolves_to_a_record_and_a_value(form):
    was = parse_program(SMALL.replace("[4, 5, 9]", "[3, 4, 9]"))
    moved = what_moved(was, PLAN, worlds=200)
    made = write_report(PLAN, form, TODAY, WORLDS, SHOWN, moved, "feed")
    assert made.sentences()
    for one in made.sentences():
        kind, _, name = one.record.partition(".")
        known = kind == "program" or name in (
            [held.id for held in SHOWN] if kind == "evidence" else getattr(PLAN, kind) if kind in TABLES else ()
        )
        assert known, one
        assert one.value, one
        number = re.search(r"(\d+)%", one.text)
        if number and kind == "milestones":
            assert round(100 * float(one.value)) == int(number[1])


def test_what_is_absent_is_stated():
    made = write_report(PLAN, "weekly", TODAY, WORLDS)
    absent = [one.text for one in made.sentences() if one.value == "absent"]
    for told in ("no evidence of parity of feed", "nobody has measured it", "no earlier plan"):
        assert any(told in one for one in absent), told


def test_both_prints_hold_every_sentence_and_nothing_foreign_runs():
    made = write_report(PLAN, "one-pager", TODAY, WORLDS, SHOWN)
    page, text = made.as_html(), made.as_markdown()
    for one in made.sentences():
        assert one.record in page
        assert f"`[{one.record}]`" in text
    evil = parse_program(write_program(PLAN).replace("One platform", "<script>*x*"))
    made = write_report(evil, "one-pager", TODAY, WORLDS)
    assert "<script>" not in made.as_html()
    assert "<script>" not in made.as_markdown().replace("\\<", "")


def test_a_form_nobody_knows():
    with pytest.raises(ProgramError) as caught:
        write_report(PLAN, "wekly", TODAY, WORLDS)
    assert caught.value.code == "program-050"
    assert "weekly" in caught.value.hint
    with pytest.raises(ProgramError, match="no milestone"):
        write_report(PLAN, "launch-note", TODAY, WORLDS, milestone="fed")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["check"], 3, "lags"),
        (["schedule"], 0, "slack_days"),
        (["schedule", "--level"], 0, "no schedule can end before"),
        (["why", "model"], 0, "not critical"),
        (["forecast", "--worlds", "300"], 3, "P80"),
        (["gates", "--today", "2026-01-20"], 3, "grey"),
        (["report", "--form", "one-pager", "--today", "2026-01-20"], 0, "When it lands"),
        (["tidy"], 0, "[tasks.backfill]"),
        (["schema"], 0, '"$defs"'),
    ],
)
def test_the_verbs(words, code, told, tmp_path):
    (tmp_path / "program.toml").write_text(SMALL.replace("2026-02-06", "2026-02-02"))
    plan = [] if words == ["schema"] else [str(tmp_path)]
    done = CliRunner().invoke(app, [*words, *plan])
    assert done.exit_code == code, done.output
    assert told in done.stdout


def test_verbs_as_json_and_into_files(tmp_path):
    (tmp_path / "program.toml").write_text(SMALL)
    (tmp_path / "was.toml").write_text(SMALL.replace("[4, 5, 9]", "[3, 4, 9]"))
    run = CliRunner().invoke
    moved = json.loads(run(app, ["moved", str(tmp_path), "--since", str(tmp_path / "was.toml"), "--json"]).stdout)
    assert moved["edits"][0]["record"] == "tasks.schema"
    assert run(app, ["tidy", str(tmp_path), "--write"]).exit_code == 0
    assert (tmp_path / "program.toml").read_text() == write_program(parse_program(SMALL))
    done = run(app, ["report", str(tmp_path), "--today", "2026-01-20", "--out", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "a.toml").write_text("")
    assert run(app, ["tidy", str(tmp_path), "--write"]).exit_code == 3


def test_out_and_in_again_by_verbs(tmp_path):
    (tmp_path / "program.toml").write_text(SMALL)
    run = CliRunner().invoke
    for kind in ("github", "jira", "msproject"):
        file, made = tmp_path / f"a.{kind}", tmp_path / f"{kind}.toml"
        done = run(app, ["export", str(tmp_path), "--to", kind, "--out", str(file)])
        assert done.exit_code == 0
        assert "not carried: milestones.feed.gates" in done.stderr
        words = ["import", str(file), "--from", kind, "--out", str(made), "--start", "2026-01-05"]
        assert run(app, words).exit_code == 0
        again = parse_program(made.read_text())
        assert again.tasks["model"].after == ["schema+1"]
        assert again.tasks["backfill"].duration == [5, 10, 20]
        assert run(app, words).exit_code == 2
    assert run(app, ["export", str(tmp_path), "--to", "mpp"]).exit_code == 2
    assert "BEGIN:VCALENDAR" in run(app, ["export", str(tmp_path), "--to", "ical"]).stdout


def test_nothing_is_written_when_a_row_is_bad(tmp_path):
    (tmp_path / "a.csv").write_text("Issue key,Summary\nA-1\n")
    out = tmp_path / "new.toml"
    done = CliRunner().invoke(app, ["import", str(tmp_path / "a.csv"), "--from", "jira", "--out", str(out)])
    assert isinstance(done.exception, ProgramError)
    assert not out.exists()


def test_the_plan_to_begin_from(tmp_path):
    run = CliRunner().invoke
    assert run(app, ["new", str(tmp_path / "p")]).exit_code == 0
    assert run(app, ["new", str(tmp_path / "p")]).exit_code == 2
    found = json.loads(run(app, ["check", str(tmp_path / "p"), "--json"]).stdout)
    assert [one["number"] for one in found if not one["passed"]] == [11, 13, 14]
    levelled = run(app, ["schedule", str(tmp_path / "p"), "--level", "--json"])
    assert levelled.exit_code == 0, levelled.output
    assert {"feed-live", "groups-live", "pages-live"} <= {one["id"] for one in json.loads(levelled.stdout)}


def test_an_owners_report_holds_what_the_owner_answers_for():
    plan = parse_program(
        SMALL
        + '[milestones.other]\nafter = ["model"]\nowner = "bo"\ndue = 2026-01-25\ngates = [{ kind = "slo", about = "x" }]\n'
        + '[milestones.feed2]\nafter = ["schema"]\nowner = "ana"\n'
        + 'due = 2026-02-16\ngates = [{ kind = "slo", about = "y" }]\n'
    )
    worlds = simulate(plan, worlds=200)
    made = write_report(plan, "weekly", TODAY, worlds, owner="bo")
    records = {one.record for one in made.sentences()}
    assert "milestones.other" in records
    assert not records & {"milestones.feed", "milestones.feed2", "tasks.schema", "tasks.backfill"}
    assert any("bo answers for no goal" in one.text for one in made.sentences())
    late = date(2026, 2, 20)
    for owner in ("ana", "bo"):
        told = write_report(plan, "weekly", late, worlds, owner=owner).sentences()
        assert any(one.text.startswith("bo hears: milestones.feed2:") for one in told), owner
    with pytest.raises(ProgramError, match="no owner"):
        write_report(plan, "weekly", TODAY, worlds, owner="bob")


def test_a_deck_is_short_and_says_what_it_leaves_out():
    stones = "".join(f'[milestones.m{at}]\nafter = ["schema"]\ndue = 2026-03-{at + 1:02d}\n' for at in range(14))
    asks = '[decisions.pool]\ntitle = "Buy eight more GPUs"\nowner = "bo"\n'
    plan = parse_program(SMALL + stones + asks)
    made = write_report(plan, "deck", TODAY, simulate(plan, worlds=100), SHOWN)
    told = [one.text for one in made.sentences()]
    assert "5 further open milestones are in the weekly report." in told
    assert "To decide: Buy eight more GPUs (bo decides)." in told
    lands = [one.record for heading, held in made.parts for one in held if heading == "When it lands"]
    assert lands[0] == "milestones.feed"
    assert len(lands) == 11
