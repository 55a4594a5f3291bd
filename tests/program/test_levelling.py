from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_plans import SMALL

from mainstem.base.errors import ProgramError
from mainstem.program.levelling import Pooled, level, level_program, levelled_schedule, pooled_of, violations
from mainstem.program.network import network_of
from mainstem.program.plan_file import parse_program
from mainstem.program.psplib import read_psplib, write_rcp

LAUNCHES = """
[program]
name = "waves"
start = "2026-01-05"
[pools.gpu]
size = 32
[tasks.feed]
duration = [4]
needs = { gpu = 16 }
[tasks.reclaim]
duration = [20]
after = ["feed"]
[tasks.groups]
duration = [3]
needs = { gpu = 12 }
[milestones.feed-live]
after = ["feed"]
[milestones.groups-live]
after = ["groups"]
"""


@pytest.mark.parametrize(
    ("size", "days"), [(28, {"groups-live": 3, "feed-live": 4}), (20, {"feed-live": 4, "groups-live": 7})]
)
def test_a_cap_on_a_pool_reorders_launches_and_stays_feasible(size, days):
    program = parse_program(LAUNCHES.replace("size = 32", f"size = {size}"))
    network, done = level_program(program, schedules=2_000)
    assert violations(pooled_of(program, network), done.start) == []
    assert done.proven
    lands = dict(zip(network.names, done.finish.tolist(), strict=True))
    order = sorted(program.milestones, key=lambda name: lands[name])
    assert order == list(days)
    assert lands["feed-live"] == 4
    assert lands["groups-live"] >= days["groups-live"]


@st.composite
def problems(draw: st.DrawFn) -> Pooled:
    n = draw(st.integers(1, 5))
    links = [[j for j in range(i) if draw(st.booleans()) and draw(st.booleans())] for i in range(n)]
    size = draw(st.integers(2, 4))
    before = [j for held in links for j in held]
    days = [draw(st.integers(0, 4)) for _ in range(n)]
    return Pooled(
        days=np.array(days, np.int64),
        needs=np.array([[draw(st.integers(0, size))] for _ in range(n)], float),
        capacity=np.full((sum(days) + 2, 1), float(size)),
        first=np.concatenate([[0], np.cumsum([len(held) for held in links])]).astype(np.int64),
        before=np.array(before, np.int64),
        lags=np.zeros(len(before), np.int64),
        release=np.zeros(n, np.int64),
        fixed=np.full(n, -1, np.int64),
        frozen=np.zeros(n, np.bool_),
        windows=np.zeros((0, 2), np.int64),
    )


def best_of_all_orders(pooled: Pooled) -> int:
    """The plain twin: serial generation of every list in which what comes before stands before."""
    best = 10**9
    n = len(pooled.days)
    for order in itertools.permutations(range(n)):
        room, finish, good = pooled.capacity.copy(), {}, True
        for node in order:
            held = pooled.before[pooled.first[node] : pooled.first[node + 1]]
            if any(one not in finish for one in held):
                good = False
                break
            at = max((finish[one] for one in held), default=0)
            while (room[at : at + pooled.days[node]] < pooled.needs[node]).any():
                at += 1
            room[at : at + pooled.days[node]] -= pooled.needs[node]
            finish[node] = at + int(pooled.days[node])
        if good:
            best = min(best, max(finish.values()))
    return best


@settings(max_examples=15)
@given(problems())
def test_small_problems_are_solved_exactly_and_can_be_run(pooled):
    done = level(pooled, schedules=900)
    assert violations(pooled, done.start) == []
    assert done.end == (done.start + pooled.days).max()
    assert done.bound <= done.end == best_of_all_orders(pooled)


def test_same_seed_same_schedule():
    program = parse_program(SMALL)
    runs = [level_program(program, schedules=500, seed=3)[1] for _ in range(2)]
    assert runs[0].start.tolist() == runs[1].start.tolist()


def test_a_smaller_pool_keeps_two_apart_and_moves_the_landing():
    network, done = level_program(parse_program(SMALL.replace("frozen = true\n", "")))
    at = dict(zip(network.names, done.start.tolist(), strict=True))
    assert at == {"schema": 0, "backfill": 5, "model": 15, "feed": 19}
    assert levelled_schedule(network, done).end == 19
    assert done.end > done.bound
    _, wide = level_program(parse_program(SMALL.replace("frozen = true\n", "").replace("size = 8", "size = 10")))
    assert wide.proven
    assert wide.end == 15


def test_a_pool_that_grows_later_is_waited_for():
    program = parse_program(SMALL.replace("frozen = true\n", ""))
    sizes = {"gpu": np.array([0.0] * 12 + [16.0])}
    network, done = level_program(program, sizes=sizes)
    at = dict(zip(network.names, done.start.tolist(), strict=True))
    assert at["backfill"] == at["model"] == 12
    assert violations(pooled_of(program, network, sizes), done.start) == []
    with pytest.raises(ProgramError, match="in the end"):
        level_program(program, sizes={"gpu": np.array([9.0, 1.0])})


def test_what_is_running_keeps_its_days():
    text = SMALL.replace("duration = [3, 4, 6]\n", "duration = [3, 4, 6]\nstarted = 2026-01-06\n")
    program = parse_program(text.replace('name = "One platform"', 'name = "x"\nas_of = "2026-01-14"'))
    network, done = level_program(program, schedules=300)
    at = dict(zip(network.names, done.start.tolist(), strict=True))
    assert at["model"] == 1
    assert at["schema"] >= 7  # nothing that has not begun begins before today


def test_psplib_both_ways(tmp_path):
    network = network_of(parse_program(SMALL.replace("frozen = true\n", "").replace("schema+1", "schema")))
    pooled = pooled_of(parse_program(SMALL.replace("frozen = true\n", "").replace("schema+1", "schema")), network)
    file = tmp_path / "a.rcp"
    file.write_text(write_rcp(pooled))
    again = read_psplib(file)
    assert write_rcp(again) == file.read_text()
    assert level(again, schedules=300).end == level(pooled, schedules=300).end
    file.write_text("3 1\n4\n1 1 1 9\n")
    with pytest.raises(ProgramError) as caught:
        read_psplib(file)
    assert caught.value.code == "program-020"
    with pytest.raises(ProgramError, match="no place"):
        write_rcp(pooled_of(parse_program(SMALL), network_of(parse_program(SMALL))))


@pytest.mark.real
def test_a_library_problem_meets_its_optimum(pack):
    pooled = read_psplib(pack("psplib") / "j30" / "j30_1_1.rcp")
    done = level(pooled, schedules=20_000)
    assert violations(pooled, done.start) == []
    assert done.end == 43


def test_work_is_capped_by_count_and_not_by_a_clock(tmp_path):
    random = np.random.default_rng(5)
    rows = [f"0 0 {40} {' '.join(str(at) for at in range(2, 42))}"]
    rows += [f"{random.integers(1, 10)} {random.integers(1, 5)} 1 42" for _ in range(40)] + ["0 0 0"]
    (tmp_path / "x.rcp").write_text("42 1\n6\n" + "\n".join(rows))
    pooled = read_psplib(tmp_path / "x.rcp")
    few, more = (level(pooled, schedules=9_000, steps=steps, seed=2) for steps in (100_000, 400_000))
    assert few.schedules < more.schedules < 9_000
    assert violations(pooled, few.start) == []
    assert level(pooled, schedules=9_000, steps=100_000, seed=2).start.tolist() == few.start.tolist()
