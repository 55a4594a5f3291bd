"""``mainstem launch status`` and ``report`` over a stored standing: exit codes, forms, files."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mainstem.base.errors import LaunchError
from mainstem.cli.launch_report import write_report
from mainstem.cli.verbs import app
from mainstem.workspace.launching import write_standing
from mainstem.workspace.layout import Workspace

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
import made_standing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    workspace = Workspace.open(tmp_path)
    write_standing(workspace, made_standing.rich())
    write_standing(workspace, replace(made_standing.rich(), launch="good", verdict="WIN"))
    return tmp_path


def called(*words: str):
    return CliRunner().invoke(app, ["launch", *words])


def test_status_prints_the_screen_and_says_no_by_its_exit_code(folder: Path) -> None:
    told = called("status", "autumn-3", "-w", str(folder))
    assert told.exit_code == 3
    assert "groups against content-first   HARM" in told.stdout
    assert called("status", "good", "-w", str(folder)).exit_code == 0
    assert json.loads(called("status", "good", "-w", str(folder), "--json").stdout)["verdict"] == "WIN"


def test_a_report_goes_to_stdout_or_into_a_file(folder: Path) -> None:
    told = called("report", "autumn-3", "-w", str(folder))
    assert told.exit_code == 0
    assert told.stdout.startswith("# autumn-3: groups rolled back; pages paused; feed landed")
    file = folder / "launch.json"
    written = called("report", "autumn-3", "-w", str(folder), "--form", "json", "--out", str(file))
    assert written.exit_code == 0
    assert written.stdout == ""
    assert json.loads(file.read_text())["verdict"] == "HARM"
    assert [one.name for one in folder.glob(".launch*")] == []


def test_a_form_that_is_none_is_refused(folder: Path) -> None:
    assert called("report", "autumn-3", "-w", str(folder), "--form", "pdf").exit_code == 2


def test_a_report_that_cannot_be_written_is_said(folder: Path) -> None:
    with pytest.raises(LaunchError) as caught:
        write_report(folder / "nowhere" / "launch.md", "text")
    assert caught.value.code == "launch-130"
