"""A plan of one's own, simulated as the pilot flies it: what it promises holds, and what it cannot hold is called missed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.measured import Known
from mainstem.launch.plan_file import Plan, parse_plan
from mainstem.launch.planner import Measured, Traffic, plan_launch
from mainstem.launch.simulate_own import own_gates, own_plan, run_gate

PLAN = """
name = "feed-1"
surfaces = ["feed", "groups"]
legacy = ["content-first", "interest-first"]
[origins.groups]
content-first = 1.0
[metrics.clicks]
role = "primary"
column = "clicks"
margin = 0.02
looks = 14
[metrics.reports]
role = "guardrail"
column = "reports"
margin = 0.05
looks = 21
spending = "obf"
window_days = 2
first_look_day = 8
[[steps]]
share = 0.0
hold_hours = 24
[[steps]]
share = 0.05
hold_hours = 24
[[steps]]
share = 0.5
hold_hours = 168
"""


def made(daily: float = 60_000) -> tuple[Plan, Known]:
    plan = parse_plan(PLAN)
    metrics = (
        Measured("clicks", 0.02, 1.0, looks=14),
        Measured("reports", 0.05, 1.5, spending="obf", looks=21, first_look_day=8, window_days=2),
    )
    return plan, Known(metrics, {"feed": Traffic(3 * daily), "groups": Traffic(daily)}, ())


def test_gates_looks_windows_and_the_ramp_are_the_plan_s():
    plan, known = made()
    gates = own_gates(plan, known)
    assert [one.name for one in gates] == [
        "feed against content-first",
        "feed against interest-first",
        "groups against content-first",
    ]
    clicks, reports = gates[2].metrics
    assert clicks.looks.tolist() == [24 * day - 1 for day in range(7, 15)]
    assert reports.looks[0] == 24 * 8 - 1 == gates[2].first
    assert reports.users[24 * 2 - 1] == 0
    assert clicks.users[23] == pytest.approx(0.05 * 60_000)
    assert gates[0].metrics[0].users[-1] == pytest.approx(1.5 * clicks.users[-1])


def test_a_plan_that_can_be_kept_keeps_its_word_and_one_that_cannot_is_called_missed():
    plan, known = made()
    steps = [(one.share, one.hold_hours) for one in plan.steps]
    plan_launch(known.metrics, known.traffic, steps, carried={one: plan.carried(one) for one in plan.surfaces})
    rows = {one.name: one for one in own_plan(plan, known, 2_000, 1)}
    assert all(one.met for one in rows.values())
    assert rows["groups against content-first: passes with clicks a margin worse"].value < 0.07
    assert 8 <= rows["groups against content-first: mean days until it passes"].value <= 14
    assert rows == {one.name: one for one in own_plan(plan, known, 2_000, 1)}
    few = {one.name: one for one in own_plan(*made(daily=3_000), 400, 1)}
    assert not few["every surface and stack passes at no effect"].met


def test_great_harm_is_rolled_back_before_the_first_look():
    plan, known = made()
    gate = own_gates(plan, known)[2]
    ends = run_gate(gate, np.array([-10.0, 0.0]), 0.4, 200, np.random.default_rng(1))
    assert (ends.rolled < gate.first).all()
    assert not ends.ships.any()
    # Clicks may be looked at a day before reports, but nothing is said before the first look that is legal for both.
    assert gate.metrics[0].looks[0] < gate.first
    assert ends.paused.min() == gate.first


def test_what_makes_no_plan_is_refused(tmp_path: Path):
    plan, known = made()
    for other in (Known((), known.traffic, ()), Known(known.metrics[1:], known.traffic, ())):
        with pytest.raises(LaunchError) as refused:
            own_gates(plan, other)
        assert refused.value.code == "launch-018"
    late = Measured("clicks", 0.02, 1.0, looks=5)
    with pytest.raises(LaunchError) as refused:
        own_gates(plan, Known((late,), known.traffic, ()))
    assert refused.value.code == "launch-018"
