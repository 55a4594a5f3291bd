"""The controller of a floor: it arrives, it does not swing, it lets go, and it is the same in every process."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.request import Pool, Request
from mainstem.control.supply import HOLD_MS, MOST, FloorBoost, Floors, Supply, boost_at, counted

DAY_MS = 86_400_000
START = 1_700_006_400_000


def lived(floor, members, worth, *, day=1, state=None, slates=3_000, places=10, pool=200, seed=0):
    """A day of made traffic: the state at its end, every boost, and the share of each slate."""
    random = np.random.default_rng(seed)
    state = Supply() if state is None else state
    boosts, shares = np.empty(slates), np.empty(slates)
    for at in range(slates):
        now_ms = START + day * DAY_MS + at * DAY_MS // slates
        member = random.random(pool) < members
        values = random.standard_normal(pool) + worth * member
        values += boost_at(state, now_ms) * values.std() * member
        shown = np.argpartition(-values, places)[:places]
        state = counted(state, floor, day, now_ms, places, int(member[shown].sum()))
        boosts[at], shares[at] = state.boost, member[shown].mean()
    return state, boosts, shares


@pytest.mark.parametrize(
    ("floor", "members", "worth"),
    [(0.1, 0.1, -0.8), (0.02, 0.02, -0.5), (0.3, 0.1, -0.3), (0.5, 0.3, 0.0), (0.1, 0.3, -1.5)],
)
def test_a_days_share_is_within_half_a_point_and_the_boost_is_at_rest(floor, members, worth):
    state, _, _ = lived(floor, members, worth)
    assert abs(state.share - floor) <= 0.005
    second, later, shares = lived(floor, members, worth, day=2, state=state, seed=1)
    assert abs(second.share - floor) <= 0.005
    assert later.std() < 0.2
    assert later.min() > 0
    assert later.max() < MOST
    # No swinging: what one window overshoots, the next does not undershoot.
    windows = shares.reshape(-1, 50).mean(1)
    swing = np.corrcoef(windows[:-1], windows[1:])[0, 1]
    assert swing > -0.5


def test_a_step_is_answered_once():
    state, _, _ = lived(0.1, 0.1, -0.8)
    stepped, boosts, _ = lived(0.1, 0.1, -1.6, day=2, state=state, seed=2)
    moves = boosts[::50]
    rest = moves[len(moves) // 2 :].mean()
    assert rest == pytest.approx(state.boost + 0.8, abs=0.35)
    assert moves.max() < rest + 0.5
    assert abs(stepped.share - 0.1) <= 0.005


def test_a_group_that_has_its_share_gets_no_boost_and_an_impossible_floor_does_not_wind_up():
    _, boosts, _ = lived(0.1, 0.1, 0.5, slates=600)
    assert boosts.max() == 0
    stuck, boosts, _ = lived(0.5, 0.0, 0.0, slates=2_000)
    assert stuck.boost == MOST
    assert stuck.level <= MOST
    freed, boosts, _ = lived(0.5, 0.5, 0.0, day=2, state=stuck, slates=2_000)
    assert boosts[500] < MOST / 2
    assert abs(freed.share - 0.5) < 0.15


def test_a_day_of_missing_counts_holds_the_boost_then_lets_go_and_says_so(caplog):
    state, _, _ = lived(0.1, 0.1, -0.8)
    held = boost_at(state, state.counted_ms + HOLD_MS)
    late = boost_at(state, state.counted_ms + DAY_MS)
    assert held == state.boost
    assert 0 < late < state.boost / 8
    back = counted(state, 0.1, 2, state.counted_ms + DAY_MS, 10, 0)
    assert back.gaps == 1
    assert back.boost == pytest.approx(late)
    assert (back.places, back.hits) == (10, 0)
    floors = Floors({"small": 0.1}, {"small": lambda rows, now_ms: rows < 0})
    kept = floors.after(None, 1, START, np.arange(10))
    floors.after(kept, 2, START + DAY_MS, np.arange(10))
    assert "no counts for 24.0 h" in caplog.text
    after, _, _ = lived(0.1, 0.1, -0.8, day=2, state=back, seed=4)
    assert abs(after.share - 0.1) <= 0.005


def test_processes_that_take_turns_move_the_same_state():
    one, two = (Floors({"small": 0.2}, {"small": lambda rows, now_ms: rows < 3}) for _ in range(2))
    alone = Floors({"small": 0.2}, {"small": lambda rows, now_ms: rows < 3})
    shared = kept = None
    for at in range(200):
        shared = (one, two)[at % 2].after(shared, 1, START + at, np.arange(at % 10))
        kept = alone.after(kept, 1, START + at, np.arange(at % 10))
    assert shared == kept
    assert alone.states["small"].boost >= 0


def test_the_boost_is_in_units_of_value_and_for_members_only():
    floors = Floors({"small": 0.1}, {"small": lambda rows, now_ms: rows < 3})
    floors.states = {"small": Supply(boost=0.5, counted_ms=START)}
    request = Request(1, 1, "feed", START, 5)
    rows = np.arange(10)
    pool = Pool(rows, np.zeros(10, np.uint32), np.zeros(10))
    values = np.linspace(0, 100, 10)
    lift = FloorBoost(floors).boost(request, None, pool, values)
    assert lift[:3] == pytest.approx(0.5 * values.std())
    assert not lift[3:].any()
    values[4] = np.nan
    assert np.isfinite(FloorBoost(floors).boost(request, None, pool, values)).all()
