"""The demo from an empty folder to its answer, on a small made world, twice with the same figures."""

from __future__ import annotations

import json
import re

import pytest

from mainstem.cli.demo import run_demo
from mainstem.cli.terminal import Terminal
from mainstem.data.world import WorldSettings
from mainstem.workspace import migrate, prepare
from mainstem.workspace.layout import LEGACY, Workspace


@pytest.fixture
def small_world(monkeypatch):
    def small(**given):
        return WorldSettings(users=400, items=900, days=5, impressions=9_000, seed=given["seed"])

    monkeypatch.setattr(prepare, "WorldSettings", small)
    monkeypatch.setattr(migrate, "WorldSettings", small)
    monkeypatch.setattr(migrate, "REQUESTS_A_LOOK", 25)


def without_memory(answer: dict) -> str:
    """The answer but for peak memory, which the machine decides."""
    return re.sub(r"peak [\d.]+ GB", "", json.dumps(answer))


@pytest.mark.slow
def test_the_demo_ends_in_one_answer_and_the_same_seed_gives_the_same(small_world, tmp_path, capsys):
    answers = []
    for name in ("first", "second"):
        run_demo(Terminal(as_json=True), tmp_path / name, None, made=True, seed=5)
        told = capsys.readouterr()
        answers.append(json.loads(told.out))
        for step in ("data", "unified", "retrieval", *LEGACY, "side by side", "shadow diff", "migration"):
            assert f"  {step} " in told.err
        assert "made: made world, seed 5" in told.err
        assert told.err.count("mainstem") >= 3, "two next commands and the address of the pages"
    assert without_memory(answers[0]) == without_memory(answers[1])
    assert answers[0]["made"] is True
    place = Workspace.open(tmp_path / "first", {})
    for evidence in ("demo", "side_by_side_frozen", "shadow", "migration"):
        assert place.read_evidence(evidence)
    assert place.settings.seed == 5
