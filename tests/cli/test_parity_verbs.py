"""``mainstem parity verify``: exit codes, the JSON, and the history beside the evidence, on a small made workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mainstem.base.errors import FeatureError
from mainstem.cli.verbs import app
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.workspace.layout import Workspace

STACK = ("--stack", "unified", "--requests", "60")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parity") / "log"
    write_world_log(make_world(WorldSettings(users=60, items=500, days=4, impressions=1_200, seed=3)), folder)
    return folder


@pytest.fixture
def place(log: Path, tmp_path: Path) -> Path:
    (tmp_path / "log").symlink_to(log)
    (tmp_path / "mainstem.toml").write_text("")
    return tmp_path


def _run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["parity", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def _planted(patch: pytest.MonkeyPatch) -> None:
    """The server adds one to what it reads of the viewer; columns do not."""
    from mainstem.features.unified_state import FeatureState

    true = FeatureState.viewer

    def wrong(self: FeatureState, *asked: int) -> Any:
        side, context = true(self, *asked)
        side = side.copy()
        side[0] += 1
        return side, context

    patch.setattr(FeatureState, "viewer", wrong)


def test_a_clean_log_passes_and_says_so_in_json(place: Path) -> None:
    code, told = _run("verify", *STACK, "-w", str(place), "--json", "-q")
    answer = json.loads(told)
    assert code == 0
    assert answer["passed"] is True
    assert answer["sentence"].startswith("Passed: ")
    assert {"stacks", "sections", "skipped", "commit", "made_at_ms", "seconds", "log", "source"} <= answer.keys()
    stack = answer["stacks"][0]
    assert stack["stack"] == "unified"
    assert 40 < stack["requests"] <= 60  # rows are drawn, and two may be of one request
    assert stack["cells"] == stack["matched"] > 0
    row = stack["features"][0]
    assert {"name", "window", "stage", "version", "agrees", "cells", "largest_ulp", "first", "days"} <= row.keys()
    assert [one["name"] for one in answer["sections"]] == ["served by the running platform", "model", "index", "slate"]
    assert {one["ok"] for one in answer["sections"]} == {None}
    evidence = json.loads(Workspace.open(place, {}).evidence("feature_parity").read_text())
    assert evidence["sentence"] == answer["sentence"]


@pytest.mark.slow
def test_a_planted_change_is_refused_with_code_3_and_its_history_is_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run("verify", *STACK, "-w", str(place), "-q")[0] == 0
    history = Workspace.open(place, {}).evidence("feature_parity_history")
    clean = json.loads(history.read_text())["unified"]
    assert {entry["checks"] for entry in clean.values()} == {1}
    assert all(entry["since"] and not entry["broken"] for entry in clean.values())
    with monkeypatch.context() as patch:
        _planted(patch)
        code, told = _run("verify", *STACK, "-w", str(place), "-q")
    assert code == 3
    assert told.startswith("Refused: ")
    broken = {name: entry for name, entry in json.loads(history.read_text())["unified"].items() if entry["broken"]}
    assert broken
    assert all(entry["checks"] == 2 and entry["since"] is None for entry in broken.values())
    assert _run("verify", *STACK, "-w", str(place), "-q")[0] == 0
    again = json.loads(history.read_text())["unified"]
    assert {entry["checks"] for entry in again.values()} == {3}
    assert all(again[name]["last_broken"] == entry["broken"] for name, entry in broken.items())
    assert all(again[name]["since"] == clean[name]["since"] for name in again.keys() - broken.keys())


@pytest.mark.slow
@pytest.mark.parametrize("text", ["{ not json", "[1, 2]", '{"unified": {"lifetime_count": {"checks": "many"}}}'])
def test_a_damaged_history_is_put_aside_and_the_verdict_stands(
    place: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    history = Workspace.open(place, {}).evidence("feature_parity_history")
    history.parent.mkdir()
    history.write_text(text)
    assert _run("verify", *STACK, "-w", str(place), "-q")[0] == 0
    assert history.with_suffix(".damaged").read_text() == text
    assert {entry["checks"] for entry in json.loads(history.read_text())["unified"].values()} == {1}
    assert "begins anew" in caplog.text


def test_an_unknown_stack_or_fault_is_refused(place: Path) -> None:
    with pytest.raises(FeatureError) as refused:
        _run("verify", "--stack", "unify", "-w", str(place))
    assert (refused.value.code, "unified" in refused.value.hint) == ("parity-070", True)
    with pytest.raises(FeatureError) as refused:
        _run("drill", "--fault", "widow", "-w", str(place))
    assert refused.value.code == "parity-072"


@pytest.mark.slow
def test_a_drill_names_its_fault(place: Path) -> None:
    code, told = _run("drill", "--fault", "default", "-w", str(place), "--json", "-q")
    assert (code, json.loads(told)[0]["right"]) == (0, True)
