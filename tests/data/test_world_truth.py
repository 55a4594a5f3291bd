"""The oracle, the responses and the law behind them."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.errors import ConfigError, DataError
from mainstem.base.heads import HEADS, SURFACES
from mainstem.data.world import World, WorldSettings, make_world
from mainstem.data.world.nature import VALUE_WEIGHTS, passing_leaf, strengths
from mainstem.data.world.people import BROAD, DORMANT, NARROW, REGULAR
from mainstem.data.world.settings import DAY_MS

SMALL = WorldSettings(users=400, items=1200, days=6, impressions=6000, seed=3)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(SMALL)


def _pairs(world: World, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    users = rng.integers(1, SMALL.users + 1, count)
    return users, world.items.item_ids[rng.integers(0, SMALL.items, count)]


def test_same_seed_same_world_and_another_seed_another(world: World) -> None:
    again, other = make_world(SMALL), make_world(WorldSettings(users=400, items=1200, days=6, impressions=6000, seed=4))
    assert again.intercepts.tobytes() == world.intercepts.tobytes()
    assert again.items.closeness.tobytes() == world.items.closeness.tobytes()
    assert again.people.interests.tobytes() == world.people.interests.tobytes()
    assert other.people.interests.tobytes() != world.people.interests.tobytes()


@pytest.mark.parametrize("surface", SURFACES)
def test_responses_average_to_the_truth(world: World, surface: str) -> None:
    users, items = _pairs(world, 4000)
    time_ms = world.settings.start_ms + DAY_MS
    truth = world.truth(users, items, surface, time_ms)
    draws = [world.respond(users, items, 0, surface, time_ms, draw=k) for k in range(40)]
    seen = np.concatenate([d.viewed for d in draws]).astype(bool)
    heads = np.concatenate([d.heads for d in draws])[seen]
    wanted = np.tile(truth.probabilities, (40, 1))[seen]
    for column, head in enumerate(HEADS):
        p = wanted[:, column]
        spread = np.sqrt((p * (1 - p)).sum())
        assert abs(heads[:, column].sum() - p.sum()) < 4.5 * spread, head
    watch_s = np.concatenate([d.watch_ms for d in draws])[seen] / 1000
    assert watch_s.mean() == pytest.approx(np.tile(truth.watch_s, 40)[seen].mean(), rel=0.02)
    value = np.concatenate([d.value for d in draws])[seen]
    assert value.mean() == pytest.approx(np.tile(truth.value, 40)[seen].mean(), rel=0.05)


def test_truth_is_what_the_weights_say(world: World) -> None:
    users, items = _pairs(world, 50)
    truth = world.truth(users, items, "feed", world.settings.start_ms)
    weights = np.array([VALUE_WEIGHTS[head] for head in HEADS])
    assert truth.value == pytest.approx(truth.probabilities @ weights + VALUE_WEIGHTS["watch"] * truth.watch_s)
    assert ((truth.probabilities > 0) & (truth.probabilities < 1)).all()
    assert (truth.watch_s <= np.round(world.items.duration_s[world.item_rows(items)] + 1e-9, 9)).all()


def test_luck_is_the_same_wherever_an_item_stands(world: World) -> None:
    items = world.items.item_ids[:200]
    now = world.settings.end_ms
    forward = world.respond(7, items, np.zeros(200), "feed", now)
    backward = world.respond(7, items[::-1], np.zeros(200), "feed", now)
    assert (forward.heads == backward.heads[::-1]).all()
    assert (forward.watch_ms == backward.watch_ms[::-1]).all()
    assert (world.respond(7, items, 0, "feed", now, draw=1).heads != forward.heads).any()


def test_lower_places_are_seen_and_clicked_less(world: World) -> None:
    users, items = _pairs(world, 3000)
    for surface in SURFACES:
        top = world.respond(users, items, 0, surface, world.settings.start_ms)
        low = world.respond(users, items, 9, surface, world.settings.start_ms)
        # With the same luck nothing can be seen below that was not seen on top: monotone for every single row.
        assert (low.viewed <= top.viewed).all()
        assert low.viewed.sum() < top.viewed.sum()
        assert (low.heads[:, 0] <= top.heads[:, 0]).all()


def test_outcomes_depend_on_each_other(world: World) -> None:
    users, items = _pairs(world, 60_000)
    o = world.respond(users, items, 0, "feed", world.settings.start_ms)
    column = {head: o.heads[:, k].astype(bool) for k, head in enumerate(HEADS)}
    assert not (column["long_view"] & ~column["click"]).any()
    assert not (o.heads.any(axis=1) & (o.viewed == 0)).any()
    assert (o.watch_ms[o.viewed == 0] == 0).all()
    like = column["like"]
    assert column["follow"][like].mean() > 5 * column["follow"][~like].mean()
    assert like[column["click"]].mean() > 3 * like[~column["click"]].mean() > 0
    assert o.watch_ms[column["long_view"]].mean() > 3 * o.watch_ms[~column["long_view"]].mean()


def test_violating_items_are_hated(world: World) -> None:
    bad = world.items.item_ids[world.items.violating]
    good = world.items.item_ids[~world.items.violating]
    hate = HEADS.index("hate")
    now = world.settings.end_ms
    rates = []
    for ids in (bad[:5], good[:400]):
        users = np.repeat(np.arange(1, 401), len(ids))
        rates.append(world.truth(users, np.tile(ids, 400), "feed", now).probabilities[:, hate].mean())
    assert rates[0] > 4 * rates[1]


def test_oracle_slate_is_the_best_there_is(world: World) -> None:
    now = world.settings.start_ms + 2 * DAY_MS
    slate = world.oracle_slate(11, "groups", now, 12)
    rows = world.item_rows(slate.item_ids)
    assert len(set(world.items.canonical[rows])) == 12
    assert (world.items.created_ms[rows] <= now).all()
    assert not world.items.violating[rows].any()
    assert (np.diff(slate.value) <= 0).all()
    everything = world.truth(11, world.items.item_ids, "groups", now).value
    allowed = (world.items.created_ms <= now) & ~world.items.violating
    assert slate.value[0] == everything[allowed].max()


def test_interests_take_turns(world: World) -> None:
    people = world.people
    users = np.flatnonzero(people.kind == REGULAR)
    noon = world.settings.start_ms + 12 * 3_600_000
    today, tomorrow = (strengths(people, users, np.full(len(users), noon + d * DAY_MS)) for d in (0, 1))
    mood = today.argmax(axis=1)
    assert (today.max(axis=1) == 1.0).all()
    assert (tomorrow.argmax(axis=1) != mood).all()


def test_narrow_users_leave_one_interest_for_another(world: World) -> None:
    people = world.people
    users = np.flatnonzero(people.kind == NARROW)
    moved = people.moved_on_ms[users]
    assert ((moved > world.settings.start_ms) & (moved < world.settings.end_ms)).all()
    before, after = strengths(people, users, moved - 1), strengths(people, users, moved)
    assert (before[:, 1] == 1).all()
    assert (before[:, 0] == 0).all()
    assert (after[:, 0] == 1).all()
    assert (after[:, 1] == 0).all()


def test_fancies_pass_with_the_day(world: World) -> None:
    people = world.people
    noon = np.int64(world.settings.start_ms + 12 * 3_600_000)
    broad = np.flatnonzero(people.kind == BROAD)
    days = [passing_leaf(people, broad, np.full(len(broad), noon + d * DAY_MS)) for d in range(5)]
    assert all((day >= 0).all() for day in days)
    assert (days[0] == days[1]).mean() < 0.1
    narrow = np.flatnonzero(people.kind == NARROW)
    assert (passing_leaf(people, narrow, np.full(len(narrow), noon)) == -1).all()
    away = np.flatnonzero(people.kind == DORMANT)
    assert (passing_leaf(people, away, people.away_from_ms[away] - 1) >= 0).all()
    assert (passing_leaf(people, away, people.away_until_ms[away]) == -1).all()


def test_strangers_are_refused(world: World) -> None:
    now = world.settings.start_ms
    for call, code in (
        (lambda: world.truth(401, 1_000_000, "feed", now), "data-901"),
        (lambda: world.truth(0, 1_000_000, "feed", now), "data-901"),
        (lambda: world.truth(1, [1_000_000, 5], "feed", now), "data-902"),
        (lambda: world.truth(1, 1_000_000, "feeds", now), "data-903"),
        (lambda: world.in_slice("content", 1, 1_000_000), "data-904"),
    ):
        with pytest.raises(DataError) as refused:
            call()
        assert refused.value.code == code
        assert refused.value.hint


@pytest.mark.parametrize("wrong", [{"users": 3}, {"items": 10}, {"days": 1}, {"first_day": 20220231}])
def test_impossible_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError) as refused:
        WorldSettings(**wrong)
    assert refused.value.code == "config-901"
