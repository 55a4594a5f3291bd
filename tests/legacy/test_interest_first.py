"""Each row of the design's table of differences (section 5, column I), shown on the running program."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fixture_interest_first import (
    COLD,
    DAY_MS,
    ITEMS,
    NOW_MS,
    ORIGINAL,
    REPOST,
    START_MS,
    UNCHECKED,
    UNTIL,
    VIOLATING,
    ask,
    event,
    write_folder,
)
from interest_first.__main__ import load_stack, run_train
from interest_first.catalogue import FINE, INTEREST, ITEM, build_lists, list_order
from interest_first.finder import SOURCES
from interest_first.folder import read_history
from interest_first.labels import touched_within_day
from interest_first.model import load_model
from interest_first.plans import PlanError, read_plans
from interest_first.signals import NAMES
from interest_first.slate import Contest, make_slate
from interest_first.stack import Stack
from interest_first.viewer import Viewer
from interest_first.wire import feedback, rank_ask, score_ask

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Stack]:
    base = tmp_path_factory.mktemp("interest_first")
    run_train(write_folder(base / "log"), UNTIL, base / "model", 7)
    return base / "log", base / "model", load_stack(base / "log", base / "model")


@pytest.fixture
def stack(trained: tuple[Path, Path, Stack]) -> Stack:
    trained[2].reset()
    return trained[2]


def scores(stack: Stack, items: list[int], **changes: object) -> list[float]:
    return stack.score(score_ask(ask(items, **changes)))["scores"]


def rank(stack: Stack, items: list[int] | None = None, **changes: object) -> dict:
    return stack.rank(rank_ask(ask(items, explain=True, **changes)))


def slate(answer: dict) -> list[int]:
    return [item["item_id"] for item in answer["items"]]


def why(answer: dict) -> dict[int, str | None]:
    return {one["item_id"]: one["removed_by"] for one in answer["candidates"]}


# 1 unit


def test_a_repost_is_a_post_of_its_own(stack: Stack) -> None:
    both = slate(rank(stack, [ORIGINAL, REPOST]))
    assert sorted(both) == [ORIGINAL, REPOST]
    row = stack._catalogue.row_of
    for number in range(30):
        stack.take(feedback(event(REPOST, user_id=4, request_id=71_000 + number)))
    served = stack._memory.rates.sums[stack._catalogue.keys[[row[ORIGINAL], row[REPOST]], ITEM], 0]
    assert served[1] > 29
    assert served[0] < 29


# 2 sources


def test_four_sources_fill_declared_quotas(stack: Stack) -> None:
    plans = dict(stack.plans)
    try:
        stack.plans = {"pages": dataclasses.replace(plans["pages"], fetch=60)}
        candidates = rank(stack)["candidates"]
    finally:
        stack.plans = plans
    plan = plans["pages"]
    shares = (plan.share_top_interests, plan.share_explicit_topics, plan.share_entity_to_entity, plan.share_exploration)
    for name, share in zip(SOURCES, shares, strict=True):
        brought = sum(name in one["sources"] for one in candidates)
        assert 0 < brought <= round(60 * share), name
    assert len({one["item_id"] for one in candidates}) == len(candidates)


def test_a_joined_topic_is_fetched_and_a_click_joins_nothing(stack: Stack) -> None:
    def topics(user: int) -> set[int]:
        explicit = [one for one in rank(stack, user_id=user)["candidates"] if "explicit_topics" in one["sources"]]
        return {one["item_id"] for one in explicit}

    stack.take(feedback(event(1005, user_id=999)))
    assert topics(999) == set()
    stack.take(feedback(event(1005, user_id=999, request_id=70_001, like=1)))
    same_entity_or_category = {1000 + at for at in range(ITEMS) if at % 16 == 5 or at % 8 == 5}
    assert topics(999)
    assert topics(999) <= same_entity_or_category


# 3 index


def test_every_post_has_two_levels_of_code_also_without_feedback(
    trained: tuple[Path, Path, Stack], stack: Stack
) -> None:
    model = load_model(trained[1] / "model.npz")
    slots = stack._catalogue.slots[:-1]
    assert (slots[:, FINE] // len(model.fine_centres) == slots[:, INTEREST]).all()
    cold = stack._catalogue.row_of[COLD]  # never shown to anybody: its tag gives it a code that its kin have too
    assert slots[cold, INTEREST] in slots[np.arange(COLD % 8, ITEMS - 4, 8), INTEREST]


def test_lists_are_popularity_debiased(stack: Stack) -> None:
    order = list_order(np.array([50.0, 500.0, 2.0]), np.array([100.0, 1000.0, 100.0]))
    assert order[0] > order[1] > order[2]  # the same rate, ten times as often served, stands later
    lists = build_lists(stack._catalogue, INTEREST, np.zeros(ITEMS))
    assert all((np.diff(lists.of(one, 99)) > 0).all() for one in range(stack._catalogue.interests))  # ties by item id


# 4 user state


def test_the_interest_histogram_halves_in_fourteen_days() -> None:
    viewer = Viewer(0, 3)
    viewer.histogram[:], viewer.histogram_ms = 1.0, NOW_MS
    assert viewer.fresh_histogram(NOW_MS + 14 * DAY_MS).tolist() == [0.5, 0.5, 0.5]


def test_windows_are_whole_local_days(stack: Stack) -> None:
    midnight = START_MS + 3 * DAY_MS  # in Shanghai
    for number, time_ms in enumerate((midnight - 1, midnight)):
        stack.take(feedback(event(1005, user_id=2, request_id=72_000 + number, time_ms=time_ms)))
    viewer = stack._memory.viewer(2)
    assert viewer is not None
    keys = stack._catalogue.keys[[stack._catalogue.row_of[1005]]]
    before = viewer.counts(keys, viewer.local_day(midnight + 6 * DAY_MS))[0, ITEM, 0]
    after = viewer.counts(keys, viewer.local_day(midnight + 7 * DAY_MS - 1))[0, ITEM, 0]
    gone = viewer.counts(keys, viewer.local_day(midnight + 7 * DAY_MS))[0, ITEM, :3]
    assert (before, after) == (1.0, 1.0)  # the row one millisecond earlier fell on the day before
    assert gone.tolist()[0] == 0.0
    assert gone.tolist()[1] >= 2.0


def test_history_stands_at_its_upper_bound(trained: tuple[Path, Path, Stack]) -> None:
    history = read_history(trained[0])
    assert set(history.time_ms.tolist()) == {START_MS - DAY_MS}


# 5 impression counted


def test_an_impression_counts_when_served_though_never_viewed(stack: Stack) -> None:
    def served() -> float:
        return float(stack._memory.rates.sums[0, 0])

    before = served()
    stack.take(feedback(event(1005, viewed=0, click=0, long_view=0, time_ms=int(stack._memory.rates.sums[0, 3]))))
    assert served() == pytest.approx(before + 1.0)


# 6 label


def test_any_touch_in_the_interest_within_a_day_makes_a_success() -> None:
    user = np.array([1, 1, 1, 1, 2])
    interest = np.array([4, 4, 5, 4, 4])
    time_ms = np.array([0, 23 * HOUR_MS, 23 * HOUR_MS, 24 * HOUR_MS, HOUR_MS])
    depth = np.array([0.0, 0.4, 0.0, 1.0, 0.0])
    label = touched_within_day(user, interest, time_ms, depth)
    assert label.tolist() == [0.4, 1.0, 0.0, 1.0, 0.0]
    assert touched_within_day(user, interest, time_ms - np.array([0, 0, 0, 1, 0]), depth)[0] == 1.0


# 7 model, 8 calibration


def test_the_score_is_p_interest_times_p_item_with_no_calibrated_head(stack: Stack) -> None:
    answer = stack.score(score_ask(ask([1005, 1013, 1040])))
    plan = stack.plans["pages"]
    interest, item = (np.array(answer["heads"][name]) for name in ("interest", "item"))
    assert answer["scores"] == pytest.approx(interest**plan.interest_power * item**plan.item_power, abs=1e-6)
    assert set(answer["heads"]) == set(stack.health()["heads"]) == {"interest", "item"}


def test_p_interest_sums_to_one_and_follows_the_histogram(stack: Stack) -> None:
    one, plan = rank_ask(ask(user_id=999)), stack.plans["pages"]
    before = stack._shares(one, plan)
    for number in range(20):
        stack.take(feedback(event(1005, user_id=999, request_id=73_000 + number)))
    after = stack._shares(one, plan)
    touched = int(stack._catalogue.slots[stack._catalogue.row_of[1005], INTEREST])
    assert before.sum() == pytest.approx(1.0)
    assert after.sum() == pytest.approx(1.0)
    assert after[touched] > 0.6 > before[touched]


# 9 value


def test_fatigue_multiplies_the_score_and_fades(stack: Stack) -> None:
    items = [1000 + at for at in range(60)]
    before = scores(stack, [1005])[0]
    shown = slate(rank(stack, items, count=60))
    assert 1005 in shown
    plan = stack.plans["pages"]
    slots = stack._catalogue.slots[stack._catalogue.rows(shown)]
    mine = stack._catalogue.slots[stack._catalogue.row_of[1005]]
    tired = plan.fatigue_interest * (slots[:, INTEREST] == mine[INTEREST]).sum()
    tired += plan.fatigue_entity * (slots[:, 5] == mine[5]).sum()
    assert scores(stack, [1005])[0] == pytest.approx(before * np.exp(-tired), abs=2e-9)
    later = {"now_ms": NOW_MS + int(600 * HOUR_MS)}
    rested = scores(stack, [1005], **later)[0]
    stack.reset()
    assert rested == pytest.approx(scores(stack, [1005], **later)[0], abs=1e-8)


def test_an_interest_that_the_slate_lacks_is_worth_more(stack: Stack) -> None:
    items = [1000 + at for at in range(70)]
    plans = dict(stack.plans)
    quiet = dataclasses.replace(plans["pages"], quota_share=0.0, explore_share=0.0, max_run=99)

    def interests(bonus: float) -> int:
        stack.plans = plans | {"pages": dataclasses.replace(quiet, portfolio_bonus=bonus)}
        stack.reset()
        answer = rank(stack, items)
        assert any(rule["rule"] == "portfolio" for rule in answer["rules"]) == (bonus > 0)
        return len({stack._catalogue.slots[stack._catalogue.row_of[item], INTEREST] for item in slate(answer)})

    try:
        assert interests(5.0) > interests(0.0)
    finally:
        stack.plans = plans


# 10 control


def test_what_was_shown_cools_down_and_a_reset_forgets_it(stack: Stack) -> None:
    first = rank(stack)
    second = rank(stack, request_id=9002)
    assert not set(slate(first)) & set(slate(second))
    assert {why(second).get(item) for item in slate(first)} <= {"cooldown", None}
    assert "cooldown" in why(second).values()
    stack.reset()
    again = rank(stack)
    assert {key: value for key, value in again.items() if key != "timings_ms"} == {
        key: value for key, value in first.items() if key != "timings_ms"
    }


def test_a_score_changes_nothing(stack: Stack) -> None:
    before = scores(stack, [1005, 1006])
    for number in range(5):
        scores(stack, [1005, 1006], request_id=9100 + number)
    assert scores(stack, [1005, 1006]) == before
    assert stack.health()["events_seen"] == 0


def test_runs_end_and_quotas_give_way_when_nobody_else_is_there(stack: Stack) -> None:
    of = stack._catalogue.slots[:-1, INTEREST]
    largest = int(np.argmax(np.bincount(of)))
    kin = [1000 + int(at) for at in np.flatnonzero(of == largest) if at < 70]
    others = [1000 + int(at) for at in np.flatnonzero(of != largest)[:8]]
    mixed = [int(of[item - 1000]) for item in slate(rank(stack, kin + others))]
    run = stack.plans["pages"].max_run
    assert all(len(set(mixed[at : at + run + 1])) > 1 for at in range(min(len(mixed) - run, 8)))
    stack.reset()
    alone = rank(stack, kin)
    assert len(slate(alone)) == min(len(kin), 10)
    assert {"max_run", "waived"} <= {rule[key] for rule in alone["rules"] for key in ("rule", "effect")}


def test_an_owed_place_is_remembered(stack: Stack) -> None:
    rank(stack, [1005])
    debt = stack._ledger.debt(3)
    assert debt.sum() > 0
    stack.reset()
    assert stack._ledger.debt(3).sum() == 0


def test_only_what_is_explored_carries_a_propensity(stack: Stack) -> None:
    explored = 0
    for number in range(60):
        answer = rank(stack, user_id=1 + number % 40, request_id=number, now_ms=NOW_MS + number * 100 * HOUR_MS)
        marked = {item["item_id"]: item["propensity"] for item in answer["items"] if "propensity" in item}
        ruled = {rule["item_id"] for rule in answer["rules"] if rule["rule"] == "exploration"}
        sources = {one["item_id"]: one["sources"] for one in answer["candidates"]}
        assert set(marked) == ruled
        assert all("exploration" in sources[item] for item in marked)
        assert all(0.0 < chance <= 1.0 for chance in marked.values())
        explored += len(marked)
    assert explored


def contest(places: int = 60) -> Contest:
    """Six interests, the last of them strange; better and worse items take turns."""
    at = np.arange(places)
    interest = at % 6
    strange = interest == 5
    value = np.round(0.5 - 0.07 * interest - 0.001 * at, 9)
    return Contest(1000 + at, interest, value, strange, strange, np.zeros(places))


def test_the_logged_propensity_is_how_often_the_item_is_drawn() -> None:
    plan, first, explored = read_plans()["pages"], np.zeros(60), 0
    for request in range(6000):
        made = make_slate(contest(), {}, plan, 2, 7, request)
        explored += len(made.propensities)
        first[made.picks[0]] += made.picks[0] in made.propensities
        if made.picks[0] in made.propensities:
            assert made.propensities[made.picks[0]] == pytest.approx(0.1 / 10)
    assert 0.09 < explored / 12_000 < 0.11
    assert first[5::6].sum() == first.sum()
    assert np.abs(first[5::6] / 6000 - 0.01).max() < 0.005
    again, other = (make_slate(contest(), {}, plan, 40, seed, 3).picks for seed in (7, 8))
    assert make_slate(contest(), {}, plan, 40, 7, 3).picks == again != other


def test_what_exploration_alone_fetched_is_left_to_exploring_slots() -> None:
    calm = dataclasses.replace(read_plans()["pages"], explore_share=0.0)
    picks = make_slate(contest(), {}, calm, 60, 7, 1).picks
    assert len(picks) == 50
    assert 5 not in contest().interest[picks]


def test_an_interest_below_its_floor_takes_the_last_places() -> None:
    plan = dataclasses.replace(read_plans()["pages"], explore_share=0.0, portfolio_bonus=0.0, max_run=99)
    free, bound = (make_slate(contest(), floors, plan, 6, 7, 1) for floors in ({}, {4: 2}))
    assert contest().interest[free.picks].tolist().count(4) == 0
    assert contest().interest[bound.picks].tolist()[-2:] == [4, 4]
    assert bound.missed == {}
    assert make_slate(contest(), {77: 2}, plan, 6, 7, 1).missed == {77: 2}  # soft: nobody can fill it


# 11 safety


def test_safety_fails_closed(stack: Stack) -> None:
    answer = rank(stack, [1005, VIOLATING, UNCHECKED, 999_999])
    assert slate(answer) == [1005]
    assert {why(answer)[item] for item in (VIOLATING, UNCHECKED, 999_999)} == {"safety"}
    failed = rank(stack, [1010, 1011], failures=["safety"])
    assert slate(failed) == []
    assert set(why(failed).values()) == {"safety"}
    assert failed["degraded"] == ["safety"]


# 12 missing feature


def test_a_failed_feature_lookup_makes_everybody_their_cohort(stack: Stack) -> None:
    def failed(user: int) -> list[float]:
        return [
            one["value"] for one in rank(stack, [1005, 1006, 1007], user_id=user, failures=["features"])["candidates"]
        ]

    assert failed(3) == failed(5)  # both low_active
    assert failed(3) != failed(4)
    assert scores(stack, [1005], user_id=3) != scores(stack, [1005], user_id=5)


def test_a_missing_input_is_the_mean_of_the_cohort(trained: tuple[Path, Path, Stack]) -> None:
    model = load_model(trained[1] / "model.npz")
    for cohort in range(len(model.cohorts)):
        holes = np.full((1, len(NAMES)), np.nan)
        assert model.chance_of_item(holes, cohort) == model.chance_of_item(model.cohort_signals[[cohort]], 0)
    assert np.abs(model.cohort_signals[1] - model.cohort_signals[2]).max() > 0.01


def test_an_unknown_user_and_item_are_scored_not_refused(stack: Stack) -> None:
    for number in scores(stack, [1005, 999_999], user_id=123_456):
        assert 0.0 < number < 1.0
    assert scores(stack, []) == []


# 13 propensities, 14 plans, 15 traffic


def test_plans_inherit_and_refuse_what_they_do_not_know(tmp_path: Path) -> None:
    plans = read_plans()
    assert set(plans) == {"feed", "groups", "pages"}
    assert plans["groups"].cooldown_h == plans["pages"].cooldown_h
    assert plans["groups"].fatigue_entity != plans["pages"].fatigue_entity
    base = '[plan.base]\nfetch = 3\n[plan.pages]\nextends = "base"\nfetsch = 4\n'
    (tmp_path / "plans.toml").write_text(base)
    with pytest.raises(PlanError, match="fetsch"):
        read_plans(tmp_path / "plans.toml")
    (tmp_path / "plans.toml").write_text('[plan.a]\nextends = "b"\n[plan.b]\nextends = "a"\n')
    with pytest.raises(PlanError, match="extends itself"):
        read_plans(tmp_path / "plans.toml")


def test_most_traffic_is_pages_and_a_thin_surface_leans_on_the_mix(trained: tuple[Path, Path, Stack]) -> None:
    plans = read_plans()
    assert max(plans.values(), key=lambda plan: plan.traffic_share).surface == "pages"
    assert sum(plan.traffic_share for plan in plans.values()) == pytest.approx(1.0)
    model = load_model(trained[1] / "model.npz")
    prior = dict(zip(model.surfaces.tolist(), model.prior, strict=False))
    assert model.prior.sum(axis=1) == pytest.approx(np.ones(4))
    assert np.abs(prior["pages"] - model.prior[-1]).max() < 0.05


def test_a_record_seen_before_changes_nothing(stack: Stack) -> None:
    assert stack.take(feedback(event(1005)))
    after = scores(stack, [1005])
    assert not stack.take(feedback(event(1005)))
    assert stack.take(feedback(event(1005, event_id="e-1")))
    assert not stack.take(feedback(event(1006, event_id="e-1", request_id=5)))
    stack.reset()
    stack.take(feedback(event(1005)))
    assert scores(stack, [1005]) == after
