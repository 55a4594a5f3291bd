"""``mainstem evidence``, what ``program moved`` leaves for the page, and a plan whose gates turn green by measurements added."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mainstem.base.errors import EvidenceError
from mainstem.base.settings import parse_settings
from mainstem.cli.verbs import app
from mainstem.workspace.evidence_log import records_file
from mainstem.workspace.layout import Workspace
from mainstem.workspace.program_desk import MOVED

PLAN = """[program]
name = "P"
start = 2026-01-05
as_of = 2026-01-20
[tasks.t]
duration = [2]
[milestones.m]
after = ["t"]
gates = [{ kind = "slo", about = "feed", at_least = 0.999, max_age_days = 2 }]
"""


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mainstem.toml").write_text("")
    (tmp_path / "program.toml").write_text(PLAN)
    return tmp_path


def add(folder: Path, value: str, *more: str) -> tuple[int, str]:
    at = ("--at", "2026-01-19T12:00+01:00") if "--at" not in more else ()
    return run("evidence", "add", "slo", "feed", value, "--source", "monitoring", "-w", str(folder), *at, *more)


def test_a_measurement_of_another_tool_opens_a_gate(folder):
    gates = ("program", "gates", str(folder), "-w", str(folder))
    assert run(*gates)[0] == 3
    assert "slo-1: slo of feed is 0.9995" in add(folder, "0.9995")[1]
    assert run(*gates)[0] == 0
    add(folder, "0.99")
    assert run(*gates)[0] == 3


def test_records_are_listed_newest_first_of_each_and_doubt_is_no(folder):
    report = folder / "slo.json"
    report.write_text("{}")
    add(folder, "0.99", "--made")
    add(folder, "0.9995", "--file", str(report), "--at", "2026-01-19T13:00+01:00")
    code, told = run("evidence", "list", "-w", str(folder), "--json")
    (one,) = json.loads(told[: told.rindex("}") + 1])["records"]
    assert (code, one["id"], one["file"], one["doubt"]) == (0, "slo-2", "slo.json", "")
    assert "made world" in run("evidence", "list", "-w", str(folder), "--all")[1]
    report.write_text("[]")
    code, told = run("evidence", "list", "-w", str(folder))
    assert code == 3
    assert "slo.json changed since" in told
    assert run("evidence", "list", "-w", str(folder), "--kind", "parity")[0] == 0


@pytest.mark.parametrize("at", ["yesterday", "2026-01-19T12:00"])
def test_a_time_needs_a_zone(folder, at):
    assert add(folder, "1", "--at", at)[0] == 2
    assert not records_file(Workspace(folder, parse_settings(""))).exists()


def test_tampering_is_an_error(folder):
    add(folder, "0.99")
    file = records_file(Workspace(folder, parse_settings("")))
    file.write_bytes(file.read_bytes().replace(b"0.99", b"1.00"))
    for words in (("evidence", "list"), ("evidence", "add", "slo", "feed", "1", "--source", "s")):
        with pytest.raises(EvidenceError, match="was edited"):
            run(*words, "-w", str(folder))


def test_what_moved_is_kept_for_the_page_of_a_workspace(folder):
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    git("init", "-q")
    git("add", "program.toml")
    git("commit", "-q", "-m", "first")
    (folder / "program.toml").write_text(PLAN.replace("[2]", "[9]"))
    assert run("program", "moved", str(folder), "--since", "HEAD")[0] == 0
    held = Workspace(folder, parse_settings("")).read_evidence(MOVED)
    assert held["since"] == "HEAD"
    assert held["edits"][0]["record"] == "tasks.t"
    assert held["moves"][0]["what"] == "milestones.m P80"
