from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_plans import SMALL

from mainstem.base.errors import ProgramError
from mainstem.program.levelling import level, level_program, pooled_of, violations
from mainstem.program.levelling_solver import improve_with_solver
from mainstem.program.network import network_of
from mainstem.program.plan_file import convert_program, parse_program


def hard(seed: int, tasks: int = 14):
    """Jobs on one pool, a few links, a freeze before the end and a pool that changes."""
    random = np.random.default_rng(seed)
    plan = {
        "program": {"name": "x", "start": "2026-01-05"},
        "pools": {"gpu": {"size": 8}},
        "freezes": {"f": {"first": "2026-02-02", "last": "2026-02-06"}},
        "milestones": {"end": {"after": [f"t{i}" for i in range(tasks)], "frozen": True}},
    }
    plan["tasks"] = {
        f"t{i}": {
            "duration": [float(random.integers(1, 9))],
            "needs": {"gpu": float(random.integers(1, 12)) / 2},
            "after": [f"t{random.integers(i)}"] if i and random.random() < 0.3 else [],
        }
        for i in range(tasks)
    }
    program = convert_program(plan, "made")
    network = network_of(program)
    return pooled_of(program, network, {"gpu": np.array([8.0] * 10 + [6.0] * 5 + [9.0])})


@settings(max_examples=3)
@given(seed=st.integers(0, 10_000))
def test_it_is_never_worse_always_feasible_and_the_same_twice(seed):
    pytest.importorskip("ortools")
    pooled = hard(seed)
    ours = level(pooled, schedules=60, seed=1)
    found = improve_with_solver(pooled, ours, effort=0.05)
    assert violations(pooled, found.start) == []
    assert ours.bound <= found.bound <= found.end <= ours.end
    again = improve_with_solver(pooled, ours, effort=0.05)
    assert again.start.tolist() == found.start.tolist()


def test_a_bad_schedule_is_mended_and_proven():
    pytest.importorskip("ortools")
    pooled = hard(3, tasks=8)
    ours = level(pooled, schedules=3_000, seed=1)
    shift = pooled.days.sum()
    worse = replace(ours, start=ours.start + shift, finish=ours.finish + shift, end=ours.end + int(shift), bound=0)
    found = improve_with_solver(pooled, worse)
    assert found.end <= ours.end
    assert found.proven


def test_what_is_rounded_proves_nothing():
    pytest.importorskip("ortools")
    pooled = hard(5, tasks=8)
    pooled = replace(pooled, needs=pooled.needs * (1 + 1e-5))
    ours = replace(level(pooled, schedules=30), bound=0)
    assert improve_with_solver(pooled, ours).bound == 0


def test_what_has_begun_stays():
    pytest.importorskip("ortools")
    program = parse_program(
        SMALL.replace('start = "2026-01-05"', 'start = "2026-01-05"\nas_of = 2026-01-14').replace(
            "duration = [4, 5, 9]", "duration = [4, 5, 9]\nstarted = 2026-01-06\ndone = 2026-01-13"
        )
    )
    network, ours = level_program(program, schedules=300)
    pooled = pooled_of(program, network)
    found = improve_with_solver(pooled, replace(ours, bound=0))
    assert found.end == ours.end
    began = pooled.fixed >= 0
    assert began.any()
    assert found.start[began].tolist() == pooled.fixed[began].tolist()


def test_without_the_solver_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    monkeypatch.setitem(sys.modules, "ortools", None)
    pooled = hard(1, tasks=4)
    with pytest.raises(ProgramError) as caught:
        improve_with_solver(pooled, level(pooled, schedules=30))
    assert caught.value.code == "program-063"
