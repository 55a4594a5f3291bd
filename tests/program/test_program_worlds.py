from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from program_plans import SMALL
from scipy.stats import norm

from mainstem.program.critical_path import schedule_network
from mainstem.program.network import network_of
from mainstem.program.plan_file import parse_program
from mainstem.program.worlds import chance_by, landing_dates, simulate
from mainstem.program.worlds_kernel import normal_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

HEAD = "[program]\nname = 'x'\nstart = 2026-01-05\ncorrelation = 0.4\n[workstreams.w]\n"


def test_elicited_quantiles_come_back():
    program = parse_program(HEAD + "[tasks.a]\nduration = [4, 5, 9]\nworkstream = 'w'\n")
    ends = simulate(program, worlds=40_000, seed=1).ends
    for share, days in ((0.1, 4), (0.5, 5), (0.9, 9)):
        assert (ends <= days).mean() == pytest.approx(share, abs=0.005)


def test_the_inverse_normal():
    for p in (1e-9, 0.001, 0.02425, 0.3, 0.5, 0.9, 0.99, 1 - 1e-9):
        assert normal_of(p) == pytest.approx(norm.ppf(p), rel=2e-7, abs=1e-9)


def test_tasks_of_one_workstream_are_late_together():
    def both(stream: str) -> float:
        text = HEAD + "[workstreams.v]\n"
        text += "".join(
            f"[tasks.{n}]\nduration = [4, 5, 7]\nworkstream = '{w}'\n[milestones.m{n}]\nafter = ['{n}']\n"
            for n, w in (("a", "w"), ("b", stream))
        )
        found = simulate(parse_program(text), worlds=20_000, seed=2).landings
        ranks = [np.argsort(np.argsort(found[n])) for n in ("ma", "mb")]
        return float(np.corrcoef(*ranks)[0, 1])

    assert both("w") == pytest.approx(6 / np.pi * np.arcsin(0.4 / 2), abs=0.02)
    assert both("v") == pytest.approx(0, abs=0.02)


def test_a_task_that_is_added_changes_no_other_draw():
    small = simulate(parse_program(SMALL), seed=5)
    more = simulate(parse_program(SMALL + "\n[tasks.aside]\nduration = [1, 1.5, 2]\n"), seed=5)
    assert small.landings["feed"].tolist() == more.landings["feed"].tolist()
    assert small.landings["feed"].tolist() != simulate(parse_program(SMALL), seed=6).landings["feed"].tolist()


def test_without_doubt_every_world_is_the_schedule():
    text = SMALL.replace("[4, 5, 9]", "[5]").replace('["1w", "2w", "4w"]', '["2w"]').replace("[3, 4, 6]", "[4]")
    text = text.replace("chance = 0.3", "chance = 0")
    program = parse_program(text)
    assert set(simulate(program, worlds=50).ends.tolist()) == {schedule_network(network_of(program)).end}


def test_a_risk_moves_dates_as_often_as_it_happens():
    program = parse_program(HEAD + "[tasks.a]\nduration=[5]\n[risks.r]\nchance=0.3\ndelay=[5]\ntasks=['a']\n")
    ends = simulate(program, worlds=20_000, seed=3).ends
    assert set(ends.tolist()) == {5.0, 10.0}
    assert (ends == 10).mean() == pytest.approx(0.3, abs=0.01)


def test_criticality_cruciality_and_dates():
    program = parse_program(SMALL.replace("frozen = true\n", ""))
    found = simulate(program, worlds=5_000, seed=1)
    assert found.critical["schema"] == 1
    assert found.critical["backfill"] > 0.8 > found.critical["model"] > 0
    assert found.crucial["backfill"] > found.crucial["model"]
    dates = landing_dates(program, found)["feed"]
    assert dates[0.1] < dates[0.5] < dates[0.8] < dates[0.9]
    assert chance_by(program, found, "feed", dates[0.8]) >= 0.8
    assert chance_by(program, found, "feed", date(2026, 1, 6)) == 0


def test_no_world_lands_in_a_freeze():
    found = simulate(parse_program(SMALL), worlds=3_000)
    landed = np.ceil(found.landings["feed"])
    assert not ((landed > 14) & (landed <= 19)).any()  # 26 to 30 January without the holiday of the 19th


def test_quantiles_are_those_of_exact_enumeration():
    from benchmarks.program_worlds import worst_errors

    assert worst_errors(6, 4_000).max() < 4
