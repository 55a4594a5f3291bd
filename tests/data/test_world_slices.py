"""The planted slices hold: which memory of a user is right where, and what neither can reach.

Two plain rankers stand in for the stacks. They see the same log, the same items and the same likeness of two items (tags,
creator, place); they differ in memory alone: ``recent`` knows the last five long views, ``lasting`` all of them with a half-life
of two weeks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from mainstem.data.world import World, WorldSettings, make_log, make_world
from mainstem.data.world.settings import DAY_MS

HALF_LIFE_MS = 14 * DAY_MS
TOP = 10


@dataclass(frozen=True, slots=True)
class Captured:
    """Mean true value of the ten best items of each ranker within a slice, and the paired difference's standard errors."""

    recent: float
    lasting: float
    oracle: float
    chance: float
    z: float


@pytest.fixture(scope="module")
def captured() -> dict[str, Captured]:
    world = make_world(WorldSettings(users=6000, items=8000, impressions=120_000, seed=11))
    tables = make_log(world)
    now_ms = world.settings.end_ms - DAY_MS
    seen = tables["impressions"].filter(pl.col("time_ms") < now_ms)
    return {
        name: _capture(world, name, _memories(tables, seen), _rates(world, seen), tables["items"], now_ms)
        for name in world.slices
    }


def _memories(
    tables: dict[str, pl.DataFrame], seen: pl.DataFrame
) -> dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The items each user watched long, with the time known of each, oldest first."""
    order = pl.col("time_ms") - pl.col("back").cast(pl.Int64)
    parts = [
        tables["history"].filter(pl.col("long_view") == 1).select("user_id", "item_id", "time_ms", order=order),
        seen.filter(pl.col("long_view") == 1).select("user_id", "item_id", "time_ms", order=pl.col("time_ms")),
    ]
    grouped = (
        pl.concat(parts).sort("user_id", "order").group_by("user_id", maintain_order=True).agg("item_id", "time_ms")
    )
    return {user: (np.array(items), np.array(times)) for user, items, times in grouped.iter_rows()}


def _rates(world: World, seen: pl.DataFrame) -> NDArray[np.float64]:
    rate = np.full(world.settings.items, 0.12)
    counts = seen.group_by("item_id").agg(pl.len(), pl.col("long_view").sum())
    rate[world.item_rows(counts["item_id"].to_numpy())] = (counts["long_view"] + 0.6).to_numpy() / (
        counts["len"] + 5
    ).to_numpy()
    return rate


def _capture(
    world: World, name: str, memories: dict, rate: NDArray[np.float64], items: pl.DataFrame, now_ms: int
) -> Captured:
    shown = np.column_stack(
        [
            items["category"],
            items["tags"].list.get(1, null_on_oob=True).fill_null(-1),
            items["creator_id"],
            items["entity_id"],
        ]
    )
    there = world.items.created_ms <= now_ms
    rows, found = np.arange(world.settings.items), []
    users = np.random.default_rng(0).permutation(np.flatnonzero(world.slices[name].users))
    for user in users:
        items_of, times = memories.get(user + 1, ((), ()))
        candidates = rows[there & world.slices[name].holds(np.full(len(rows), user), rows)]
        if len(items_of) < 8 or len(candidates) < 2 * TOP:
            continue
        past = world.item_rows(items_of)
        same = (shown[candidates][:, None] == shown[past]) & (shown[past] >= 0)
        like = same @ np.array([1.0, 0.5, 0.7, 0.3])
        age = 0.5 ** ((now_ms - times) / HALF_LIFE_MS)
        memory = {"recent": np.where(np.arange(len(past)) >= len(past) - 5, 0.2, 0.0), "lasting": age / age.sum()}
        value = world.truth(user + 1, world.items.item_ids[candidates], "feed", now_ms).value
        top = [
            value[np.argsort(-(like @ weight + 0.02) * rate[candidates], kind="stable")[:TOP]].mean()
            for weight in memory.values()
        ]
        found.append([*top, np.sort(value)[-TOP:].mean(), value.mean()])
        if len(found) == 300:
            break
    table = np.array(found)
    apart = table[:, 0] - table[:, 1]
    return Captured(*table.mean(axis=0), z=apart.mean() / (apart.std() / np.sqrt(len(apart))))


@pytest.mark.slow
def test_content_wins_where_items_are_fresh_and_users_narrow(captured: dict[str, Captured]) -> None:
    assert captured["content_wins"].z > 3
    assert captured["content_wins"].recent > 1.04 * captured["content_wins"].lasting


@pytest.mark.slow
def test_interest_wins_where_users_are_many_sided_or_long_away(captured: dict[str, Captured]) -> None:
    assert captured["interest_wins"].z < -3
    assert captured["interest_wins"].lasting > 1.04 * captured["interest_wins"].recent


@pytest.mark.slow
def test_both_miss_what_no_past_action_points_to(captured: dict[str, Captured]) -> None:
    slice_ = captured["both_miss"]
    for ranker in (slice_.recent, slice_.lasting):
        assert (ranker - slice_.chance) / (slice_.oracle - slice_.chance) < 0.15
    # Not for want of value: these items are worth more to these users than what the rankers find elsewhere.
    assert slice_.oracle > captured["interest_wins"].lasting


def test_slices_are_pairs_and_do_not_overlap() -> None:
    world = make_world(WorldSettings(users=300, items=900, impressions=3000))
    users = np.repeat(world.people.user_ids, 900)
    items = np.tile(world.items.item_ids, 300)
    member = np.stack([world.in_slice(name, users, items) for name in world.slices])
    assert member.any(axis=1).all()
    assert member.sum(axis=0).max() == 1
