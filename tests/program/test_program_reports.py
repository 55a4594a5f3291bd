"""Reports and the communication plan by their verbs."""

from __future__ import annotations

import json
import sys

import pytest
from program_plans import SMALL
from typer.testing import CliRunner

from mainstem.base.errors import ProgramError
from mainstem.cli.program import app

run = CliRunner().invoke
PLAN = (
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
first = 2026-01-12
owner = "bo"
"""
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "program.toml").write_text(PLAN)
    return tmp_path


def test_a_deck_in_each_form(folder):
    words = ["report", str(folder), "--form", "deck", "--today", "2026-01-20"]
    assert run(app, words).stdout.startswith("# One platform: steering deck, 2026-01-20\n\n---\n")
    for ending, begins in (("md", "# One platform"), ("html", "<!doctype html>")):
        done = run(app, [*words, "--out", str(folder / f"d.{ending}")])
        assert done.exit_code == 0, done.output
        assert (folder / f"d.{ending}").read_text().startswith(begins)
    refused = run(app, [*words, "--out", str(folder / "d.docx")])
    assert refused.exit_code == 2
    assert not (folder / "d.docx").exists()


@pytest.mark.parametrize("form", ["weekly", "one-pager", "launch-note", "deck"])
def test_each_form_as_pdf(form, folder):
    pytest.importorskip("typst")
    words = ["report", str(folder), "--form", form, "--milestone", "feed", "--today", "2026-01-20"]
    done = run(app, [*words, "--out", str(folder / "d.pdf")])
    assert done.exit_code == 0, done.output
    assert (folder / "d.pdf").read_bytes().startswith(b"%PDF")


def test_a_report_that_cannot_be_made_leaves_nothing(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    done = run(app, ["report", str(folder), "--out", str(folder / "d.pdf")])
    assert isinstance(done.exception, ProgramError)
    done = run(
        app, ["report", str(folder), "--due", "--as", "pdf", "--today", "2026-01-12", "--out", str(folder / "out")]
    )
    assert isinstance(done.exception, ProgramError)
    assert [one.name for one in folder.iterdir()] == ["program.toml"]


def test_what_goes_out_today_is_listed_and_written(folder):
    words = ["report", str(folder), "--due", "--today", "2026-01-12"]
    rows = json.loads(run(app, [*words, "--json"]).stdout)
    assert [(one["who"], one["what"], one["sender"]) for one in rows] == [
        ("directors", "deck", "bo"),
        ("everybody", "weekly", "ana"),
    ]
    done = run(app, [*words, "--out", str(folder / "out")])
    assert done.exit_code == 0, done.output
    names = sorted(one.name for one in (folder / "out").iterdir())
    assert names == ["2026-01-12-board.html", "2026-01-12-weekly.html"]
    rows = json.loads(run(app, [*words, "--for", "bo", "--json"]).stdout)
    assert [one["who"] for one in rows] == ["directors"]
    assert "nothing goes out" in run(app, ["report", str(folder), "--due", "--today", "2026-01-13"]).stdout


def test_the_days_ahead(folder):
    words = ["messages", str(folder), "--today", "2026-01-12", "--days", "8"]
    rows = json.loads(run(app, [*words, "--json"]).stdout)
    assert [one["day"] for one in rows] == ["2026-01-12", "2026-01-12", "2026-01-20"]
    assert "directors" not in run(app, [*words, "--for", "ana"]).stdout
    assert "nothing goes out from" in run(app, [*words[:2], "--today", "2026-01-13", "--days", "1"]).stdout


def test_an_owners_report_by_the_verb(folder):
    done = run(app, ["report", str(folder), "--for", "bo", "--today", "2026-01-20"])
    assert "# One platform: weekly · bo, 2026-01-20" in done.stdout
    assert "bo answers for no milestone" in done.stdout


def test_a_report_of_a_day_says_nothing_has_ended_before_it(folder):
    told = run(app, ["report", str(folder), "--form", "one-pager", "--today", "2026-06-01"]).stdout
    assert "feed lands by 2026-06-" in told
