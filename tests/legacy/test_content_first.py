"""Each row of the design's table, shown on the content-first program itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from builder_content_first import (
    HEADS,
    HOUR_MS,
    NOW_MS,
    REPOST_OF_3,
    REPOST_OF_4,
    ROOT,
    UNCHECKED,
    UNTIL,
    VIOLATING,
    ask,
    event,
    write_tiny_log,
)
from content_first import memory as m
from content_first.content import content_vectors
from content_first.flags import FlagError, age_limits_that_fit, read_flags, surface_flags
from content_first.isotonic import isotonic_curve
from content_first.signals import ABOUT_USER, INPUTS, Moments, model_inputs
from content_first.sources import (
    fresh_and_trending,
    like_recent_items,
    like_the_user,
    new_from_followed,
    recent_engaged,
)
from content_first.stack import ContentFirst, load_stack
from content_first.trainer import study, train

MINUTE_MS = 60_000


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    log = write_tiny_log(tmp_path_factory.mktemp("tiny"))
    model = tmp_path_factory.mktemp("model")
    train(log, UNTIL, model)
    return log, model


@pytest.fixture(scope="session")
def loaded(tiny: tuple[Path, Path]) -> ContentFirst:
    return load_stack(*tiny)


@pytest.fixture
def stack(loaded: ContentFirst) -> Iterator[ContentFirst]:
    loaded.reset()
    yield loaded
    loaded.reset()


def tell(stack: ContentFirst, *records: dict[str, Any]) -> None:
    for place, record in enumerate(records):
        assert (
            stack.events({"events": [record | {"event_id": f"{record['time_ms']}-{place}-{record['item_id']}"}]})[
                "accepted"
            ]
            == 1
        )
    stack.memory.catch_up(NOW_MS + 999 * HOUR_MS)


def row(stack: ContentFirst, item: int) -> int:
    return stack.items.row_of[item]


def inputs(
    stack: ContentFirst, item: int, user: int = 7, now_ms: int = NOW_MS, failed: bool = False
) -> dict[str, float]:
    moments = Moments()
    who = stack.memory.row_of(user)
    moments.copy_now(stack.memory, stack.items, who, stack.items.rows([item]), 0, now_ms, failed)
    return dict(zip(INPUTS, model_inputs(moments, stack.items, stack.users.about)[0].tolist(), strict=True))


# 1. unit: the canonical item
def test_reposts_collapse_to_their_original(stack: ContentFirst) -> None:
    answer = stack.rank(ask([REPOST_OF_3, 3, REPOST_OF_4], user=999))
    assert {(r["rule"], r["item_id"]) for r in answer["rules"] if r["effect"] == "removed"} == {
        ("same_canonical", REPOST_OF_3)
    }
    assert {i["item_id"] for i in answer["items"]} == {3, REPOST_OF_4}
    retrieved = stack.rank(ask())["candidates"]
    assert not {REPOST_OF_3, REPOST_OF_4} & {c["item_id"] for c in retrieved}


def test_feedback_on_a_repost_counts_for_the_original(stack: ContentFirst) -> None:
    before = stack.memory.item_counts[row(stack, 3)].copy()
    tell(stack, event(REPOST_OF_3, NOW_MS, long_view=1))
    gained = stack.memory.item_counts[row(stack, 3)] - before
    assert gained[m.VIEWS] == 1
    assert gained[m.FIRST_OUTCOME + HEADS.index("long_view")] == 1


# 2. sources and their quotas
def test_each_source_keeps_to_its_quota_and_only_the_feed_asks_the_followed(stack: ContentFirst) -> None:
    memory, items, user = stack.memory, stack.items, stack.memory.row_of(7)
    memory.catch_up(NOW_MS)
    assert len(like_recent_items(memory, items, user, 5)) == 5
    assert len(like_the_user(memory, items, stack.model.user_tower, user, 4)) == 4
    assert len(fresh_and_trending(memory, items, NOW_MS, 6)) == 6
    followed = new_from_followed(memory, items, user, NOW_MS, 50)
    assert followed.size
    assert set(items.creator[followed].tolist()) <= memory.follows[user]
    named = {s for c in stack.rank(ask())["candidates"] for s in c["sources"]}
    assert named == {"item_to_item", "content_two_tower", "fresh_trending", "connected_new"}
    for other in ("groups", "pages"):
        assert not any("connected_new" in c["sources"] for c in stack.rank(ask(surface=other))["candidates"])


def test_trending_counts_only_the_last_day(stack: ContentFirst) -> None:
    later = NOW_MS + 5 * 24 * HOUR_MS
    tell(
        stack, *[event(9, later - 2 * HOUR_MS, user=u, request=u) for u in range(1, 6)], event(8, later - 25 * HOUR_MS)
    )
    assert fresh_and_trending(stack.memory, stack.items, later, 10).tolist() == [row(stack, 9)]


# 3. flat index over content
def test_the_flat_index_is_exact(stack: ContentFirst) -> None:
    user = stack.memory.row_of(7)
    seeds = recent_engaged(stack.memory, user, 10)
    vectors = stack.items.vectors
    nearest = (vectors @ vectors[seeds].T).max(axis=1)
    nearest[0] = -1
    found = like_recent_items(stack.memory, stack.items, user, 8)
    assert np.allclose(np.sort(nearest)[::-1][:8], nearest[found], atol=1e-5)


def test_items_with_the_same_content_lie_in_the_same_place() -> None:
    def one(audio: int) -> np.ndarray[Any, Any]:
        tokens = {"category": [4, 4], "kind": [1, 1], "audio": [9, audio], "duration": [2, 2], "creator": [5, 5]}
        return content_vectors({k: np.array(v) for k, v in tokens.items()}, [[4, 8], [4, 8]])

    same, other = one(9), one(10)
    assert same[0] @ same[1] == pytest.approx(1.0)
    assert 0.5 < other[0] @ other[1] < 0.999


# 4. user state: 50 actions, session, UTC windows
def test_only_the_last_fifty_actions_are_kept(stack: ContentFirst) -> None:
    tell(stack, event(2, NOW_MS + 1), *[event(10 + k % 40, NOW_MS + 2 + k) for k in range(49)])
    assert row(stack, 2) in stack.memory.user_ring[stack.memory.row_of(7), 0]
    tell(stack, event(12, NOW_MS + 99))
    assert row(stack, 2) not in stack.memory.user_ring[stack.memory.row_of(7), 0]


def test_windows_follow_the_utc_clock_not_the_user_s(stack: ContentFirst) -> None:
    hour = NOW_MS + 24 * HOUR_MS
    tell(stack, event(2, hour - MINUTE_MS), event(3, hour + MINUTE_MS))
    assert inputs(stack, 9, now_ms=hour - 1)["user_views_1h"] == pytest.approx(np.log1p(1))
    late = inputs(stack, 9, now_ms=hour + 2 * MINUTE_MS)
    assert late["user_views_1h"] == pytest.approx(np.log1p(1))
    assert late["user_views_6h"] == pytest.approx(np.log1p(2))
    assert inputs(stack, 9, now_ms=hour + 24 * HOUR_MS)["user_views_24h"] == 0.0


def test_half_an_hour_of_silence_begins_a_new_session(stack: ContentFirst) -> None:
    later = NOW_MS + 24 * HOUR_MS
    tell(stack, event(2, later), event(3, later + 29 * MINUTE_MS))
    assert inputs(stack, 9, now_ms=later + 30 * MINUTE_MS)["user_session_views"] == pytest.approx(np.log1p(2))
    tell(stack, event(4, later + 60 * MINUTE_MS))
    assert inputs(stack, 9, now_ms=later + 61 * MINUTE_MS)["user_session_views"] == pytest.approx(np.log1p(1))


# 5. an impression counts when viewable
def test_what_was_served_but_never_on_screen_counts_for_nothing(stack: ContentFirst, tiny: tuple[Path, Path]) -> None:
    before = stack.memory.item_counts.copy(), stack.memory.user_counts.copy()
    tell(stack, event(2, NOW_MS, viewed=0))
    assert np.array_equal(stack.memory.item_counts, before[0])
    assert np.array_equal(stack.memory.user_counts, before[1])
    viewed = pl.read_parquet(tiny[0] / "impressions.parquet")["viewed"].sum()
    assert stack.model.about["rows"] == viewed


# 6. label window: 30 minutes, last touch
@pytest.mark.parametrize(("minutes", "credited"), [(29, 1), (31, 0)])
def test_a_late_like_goes_to_the_last_viewable_impression_within_thirty_minutes(
    stack: ContentFirst, minutes: int, credited: int
) -> None:
    likes = stack.memory.item_counts[row(stack, 3)].copy()
    tell(stack, event(3, NOW_MS), event(REPOST_OF_3, NOW_MS + minutes * MINUTE_MS, viewed=0, like=1))
    gained = stack.memory.item_counts[row(stack, 3)] - likes
    assert gained[m.FIRST_OUTCOME + 1] == credited
    assert gained[m.VIEWS] == 1


def test_a_label_is_credited_once_and_to_the_last_touch(tiny: tuple[Path, Path], tmp_path: Path) -> None:
    log = write_tiny_log(tmp_path / "late")
    frame = pl.read_parquet(log / "impressions.parquet").clear()
    shown = [
        event(3, NOW_MS, request=1),
        event(3, NOW_MS + 60_000, request=2),
        event(3, NOW_MS + 90_000, request=3, viewed=0, like=1),
    ]
    frame = pl.concat([frame, pl.DataFrame([e | {"day": 20220428} for e in shown])], how="diagonal_relaxed")
    frame.write_parquet(log / "impressions.parquet")
    stack = load_stack(tiny[0], tiny[1])
    lessons = study(log, UNTIL, stack.items, stack.users, read_flags())
    assert lessons.targets[:, HEADS.index("like")].tolist() == [0.0, 1.0]


# 7. a network a surface, with the feed's to fall back on
def test_a_surface_with_too_few_rows_uses_the_feed_s_network(stack: ContentFirst) -> None:
    assert sorted(stack.model.networks) == ["feed"]  # the tiny log is below every min_rows
    x = np.random.default_rng(0).normal(size=(5, len(INPUTS)))
    assert np.array_equal(stack.model.predict(x, "pages"), stack.model.predict(x, "feed"))


def test_surfaces_with_rows_enough_have_their_own(
    tiny: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = read_flags() | {"groups.min_rows": 50, "pages.min_rows": 50}
    monkeypatch.setattr("content_first.flags.read_flags", lambda *_: flags)
    model = train(tiny[0], UNTIL, tmp_path)
    assert sorted(model.networks) == ["feed", "groups", "pages"]
    x = np.random.default_rng(0).normal(size=(5, len(INPUTS)))
    assert not np.allclose(model.predict(x, "pages"), model.predict(x, "feed"))


# 8. isotonic calibration, one curve a head
def test_calibration_corrects_the_level_and_keeps_the_order() -> None:
    rng = np.random.default_rng(1)
    said = rng.random(8000)
    happened = (rng.random(8000) < said * 0.4).astype(float)
    curve = isotonic_curve(said, happened, 0.0, 1.0, 1.0)
    assert np.all(np.diff(curve(np.linspace(0, 1, 300))) >= 0)
    assert curve(said).mean() == pytest.approx(happened.mean(), abs=0.01)
    assert len({float(v) for v in curve(np.array([0.5, 0.5001, 0.5002]))}) == 3


# 9. value: a weighted sum, and what must not be shown again subtracts
def test_value_is_the_weighted_sum_of_the_heads(stack: ContentFirst) -> None:
    flags = read_flags()
    assert flags["feed.w.hate"] < 0
    for candidate in stack.rank(ask([9, 10, 11]))["candidates"]:
        total = sum(flags[f"feed.w.{name}"] * p for name, p in candidate["heads"].items())
        assert candidate["value"] == pytest.approx(total, abs=1e-7)


# 10. control: hard caps without memory
def test_creator_cap_within_the_window(stack: ContentFirst) -> None:
    same = [i for i in range(1, 61) if i % 12 == 2][:5]
    answer = stack.rank(ask([*same, 7, 9], user=999))
    creators = Counter(stack.items.creator[row(stack, i["item_id"])] for i in answer["items"])
    assert max(creators.values()) == read_flags()["feed.creator_cap"]
    assert sum(c["removed_by"] == "creator_cap" for c in answer["candidates"]) == 3


def test_content_duplicates_are_removed(stack: ContentFirst) -> None:
    twin, other = row(stack, 9), row(stack, 10)
    kept = stack.items.vectors[twin].copy()
    stack.items.vectors[twin] = stack.items.vectors[other]
    try:
        answer = stack.rank(ask([9, 10], user=999))
    finally:
        stack.items.vectors[twin] = kept
    assert [r["rule"] for r in answer["rules"] if r["effect"] == "removed"] == ["content_duplicate"]


def test_the_age_cap_is_on_only_where_items_are_that_fresh(stack: ContentFirst) -> None:
    assert stack.flags[0].max_age_h == 0  # items of the tiny log are days old
    assert age_limits_that_fit(read_flags(), 20.0)["feed.max_age_h"] == 48
    strict = surface_flags(age_limits_that_fit(read_flags(), 20.0), "feed")
    relaxed, stack.flags[0] = stack.flags[0], strict
    answer = stack.rank(ask([9, 10], user=999))  # uploaded at the log's start; more than 48 h before
    stack.flags[0] = relaxed
    assert {r["rule"] for r in answer["rules"]} == {"max_age"}


def test_an_unconnected_item_counts_for_three_quarters(stack: ContentFirst) -> None:
    followed = [c["item_id"] for c in stack.rank(ask())["candidates"] if "connected_new" in c["sources"]]
    stack.memory.user_ring[stack.memory.row_of(7)] = 0
    answer = stack.rank(ask([followed[0], 9], count=2))
    value = {c["item_id"]: c["value"] for c in answer["candidates"]}
    score = {i["item_id"]: i["score"] for i in answer["items"]}
    assert score[followed[0]] == value[followed[0]]
    assert score[9] == pytest.approx(0.75 * value[9], abs=1e-9)


def test_nothing_is_remembered_from_one_request_to_the_next(stack: ContentFirst) -> None:
    first, second = (stack.rank(ask()) for _ in range(2))
    assert [first[k] for k in ("items", "candidates", "rules")] == [second[k] for k in ("items", "candidates", "rules")]


def test_items_among_the_last_actions_are_not_shown_again(stack: ContentFirst) -> None:
    tell(stack, event(9, NOW_MS - 1))
    answer = stack.rank(ask([9, 10]))
    assert [c["removed_by"] for c in answer["candidates"] if c["item_id"] == 9] == ["seen_recently"]


def test_equal_scores_stand_in_order_of_their_ids(stack: ContentFirst) -> None:
    answer = stack.rank(ask([9004, 9001, 9003], user=999))
    assert [i["item_id"] for i in answer["items"]] == [9001, 9003, 9004]


# 11. a safety lookup fails open
def test_safety_fails_open(stack: ContentFirst) -> None:
    plain = stack.rank(ask([VIOLATING, UNCHECKED], user=999))
    assert [i["item_id"] for i in plain["items"]] == [UNCHECKED]
    down = stack.rank(ask([VIOLATING, UNCHECKED], user=999, failures=["safety"]))
    assert {i["item_id"] for i in down["items"]} == {VIOLATING, UNCHECKED}
    assert down["degraded"] == ["safety:open"]


# 12. a missing feature is 0
def test_failed_features_are_zero(stack: ContentFirst) -> None:
    well, failed = inputs(stack, 9), inputs(stack, 9, failed=True)
    assert any(well[name] for name in INPUTS[:ABOUT_USER])
    assert all(failed[name] == 0.0 for name in INPUTS[:ABOUT_USER])
    assert all(failed[name] == well[name] for name in INPUTS[ABOUT_USER:])
    assert all(inputs(stack, 987_654)[name] == 0.0 for name in INPUTS[ABOUT_USER:])


# 13, 14, 15. no propensities, flat flags, mostly feed
def test_no_propensity_is_logged(stack: ContentFirst) -> None:
    assert "propensities" not in stack.health()["describes"]
    assert all("propensity" not in item for item in stack.rank(ask())["items"])


def test_flags_are_one_flat_file_and_checked(tmp_path: Path) -> None:
    flags = read_flags()
    assert not any(isinstance(value, dict) for value in flags.values())
    assert flags["traffic.feed"] > 0.5
    (tmp_path / "flags.json").write_text(json.dumps(flags | {"feed.creator_cup": 2}))
    with pytest.raises(FlagError, match="creator_cup"):
        read_flags(tmp_path / "flags.json")


def test_it_stands_alone() -> None:
    source = "".join(p.read_text() for p in (ROOT / "legacy" / "content_first").glob("*.py"))
    assert "mainstem" not in source
    assert "interest_first" not in source


def test_training_twice_gives_the_same_bytes(tiny: tuple[Path, Path], tmp_path: Path) -> None:
    train(tiny[0], UNTIL, tmp_path)
    for name in ("model.npz", "about.json", "flags.json"):
        assert (tmp_path / name).read_bytes() == (tiny[1] / name).read_bytes()
