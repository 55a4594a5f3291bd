from __future__ import annotations

import builtins
import re
import subprocess
from datetime import date

import pytest
from program_plans import SMALL

from mainstem.base.errors import ProgramError
from mainstem.program.evidence import gate_states
from mainstem.program.moved import program_at, what_moved
from mainstem.program.openslo import gates_of_slo
from mainstem.program.plan_file import parse_program, read_program, write_program
from mainstem.program.records import Gate

pytest.importorskip("yaml")

SLO = """
apiVersion: openslo/v1
kind: Service
metadata: {name: ranker}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: feed-availability
spec:
  service: ranker
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  indicatorRef: feed-good
  objectives:
    - targetPercent: 99.9
"""
PLAN = SMALL.replace(
    "max_age_days = 7 }]", 'max_age_days = 7 }, { kind = "slo", openslo = "slo/feed.yaml", max_age_days = 2 }]'
)
WHOLE = [Gate(kind="slo", about="feed-availability", at_least=0.999, max_age_days=2.0, openslo="slo/feed.yaml")]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "slo").mkdir()
    (tmp_path / "program.toml").write_text(PLAN)
    (tmp_path / "slo" / "feed.yaml").write_text(SLO)
    return tmp_path


def test_a_gate_takes_its_target_from_the_file_and_the_plan_keeps_naming_it(folder):
    program = read_program(folder)
    assert program.milestones["feed"].gates[1:] == WHOLE
    again = write_program(program)
    assert '{ kind = "slo", max_age_days = 2, openslo = "slo/feed.yaml" }' in again
    assert "0.999" not in again
    (folder / "program.toml").write_text(again)
    assert read_program(folder) == program
    state = gate_states(program, [], date(2026, 1, 20))[1]
    assert (state.colour, state.about) == ("grey", "feed-availability")


def test_several_objectives_are_several_gates():
    text = SLO.replace("- targetPercent: 99.9", "- {target: 0.9, displayName: fast}\n    - {target: 0.99}")
    found = gates_of_slo(text, "f")
    assert found == [
        {"about": "feed-availability/fast", "at_least": 0.9},
        {"about": "feed-availability/2", "at_least": 0.99},
    ]


def test_a_target_that_moved_is_what_moved(folder):
    def git(*words):
        subprocess.run(["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "x")
    was = program_at(folder, "HEAD")
    assert was == read_program(folder)
    (folder / "slo" / "feed.yaml").write_text(SLO.replace("99.9", "99.5"))
    moved = what_moved(was, read_program(folder), worlds=50)
    assert [one.record for one in moved.edits] == ["milestones.feed"]
    assert "0.995" in moved.edits[0].now


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "f:1: "),
        ("a: 1\nb: [}", "f:2: "),
        ("kind: Service", "holds no object of the kind SLO"),
        (SLO.replace("openslo/v1\nkind: SLO", "sloth/v1\nkind: SLO"), "object 2 is of 'sloth/v1'"),
        (SLO.replace("  name: feed-availability", "  names: x"), "no metadata.name"),
        (SLO.replace("objectives", "objective"), "no list of spec.objectives"),
        (SLO.replace("99.9", "99.9%"), "objective 1: the target is '99.9%'"),
        (SLO.replace("targetPercent: 99.9", "target: 99.9"), "expected a share"),
        (SLO.replace("targetPercent: 99.9", "target: .nan"), "expected a number"),
        (SLO.replace("targetPercent: 99.9", "op: lte"), "expected one of target"),
        (SLO + "      targetPercent: 95\n", "f:17: the key 'targetPercent' comes twice"),
        ("[" * 1200, "f"),
    ],
)
def test_a_file_that_cannot_be_meant(text, told):
    with pytest.raises(ProgramError, match=re.escape(told)) as caught:
        gates_of_slo(text, "f")
    assert caught.value.code == "program-060"


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("slo/feed.yaml", "slo/fed.yaml", "cannot be read"),
        ("slo/feed.yaml", "../feed.yaml", "expected a file in the plan's folder"),
        ('openslo = "slo/feed.yaml"', 'openslo = "slo/feed.yaml", at_least = 0.5', "has at_least beside"),
    ],
)
def test_a_gate_that_names_no_file_of_the_plan(folder, was, now, told):
    (folder / "program.toml").write_text(PLAN.replace(was, now))
    with pytest.raises(ProgramError, match=told) as caught:
        read_program(folder)
    assert caught.value.code == "program-060"


def test_a_text_alone_has_no_files_beside_it():
    with pytest.raises(ProgramError, match="no files beside it"):
        parse_program(PLAN)


def test_without_a_reader_of_yaml_the_extra_is_named(monkeypatch):
    whole = builtins.__import__

    def refuse(name, *rest, **more):
        if name == "yaml":
            raise ImportError(name)
        return whole(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ProgramError, match="no reader") as caught:
        gates_of_slo(SLO, "f")
    assert caught.value.code == "program-061"
