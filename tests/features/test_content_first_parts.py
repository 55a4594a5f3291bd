"""The parts of the content-first state where order matters, against the plainest way to say the same."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.features.catalog import Catalog
from mainstem.features.content_first_actions import HATE, KEPT_ACTIONS, LIKE, LONG_VIEW, Actions, Happened
from mainstem.features.content_first_hours import HOUR_MS, ClockHours
from mainstem.features.content_first_items import CONTENT_DIM, ContentItems, with_originals

MINUTE_MS = 60_000
VECTORS = np.random.default_rng(1).normal(size=(6, CONTENT_DIM))
DAY_MS = 24 * HOUR_MS


def happened(*events: tuple[int, int, int, int, int]) -> Happened:
    """From (user, item, time, viewed, did)."""
    user, item, time_ms, viewed, did = np.array(events, np.int64).reshape(-1, 5).T
    return Happened(user, item, time_ms, viewed == 1, did, np.full(len(user), np.nan))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(100, 200)), max_size=40), st.randoms())
def test_clock_hours_do_not_depend_on_the_order_of_events(events: list[tuple[int, int]], random) -> None:
    def after(some: list[tuple[int, int]]) -> ClockHours:
        hours = ClockHours(3)
        for row, hour in some:
            hours.add(np.array([row]), np.array([hour * HOUR_MS + 5]), np.ones(1), np.zeros(1))
        return hours

    shuffled = random.sample(events, len(events))
    at_once = ClockHours(3)
    rows, hour = np.array(events, np.int64).reshape(-1, 2).T
    at_once.add(rows, hour * HOUR_MS + 5, np.ones(len(rows)), np.zeros(len(rows)))
    assert np.array_equal(after(events).cells, after(shuffled).cells)
    assert np.array_equal(after(events).cells, at_once.cells)
    plain = [sum(1 for one, when in events if one == row and 176 < when <= 200) for row in range(3)]
    assert at_once.day_views(200 * HOUR_MS + 59 * MINUTE_MS).tolist() == plain


def test_a_window_is_whole_clock_hours() -> None:
    hours = ClockHours(1)
    hours.add(np.zeros(1, np.int64), np.array([10 * HOUR_MS + 59 * MINUTE_MS]), np.ones(1), np.ones(1))
    assert [float(view[0]) for view in hours.windows(np.array([0]), 11 * HOUR_MS)[0]] == [0.0, 1.0, 1.0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*(st.integers(0, high) for high in (2, 4, 90, 1, 127))), max_size=60))
def test_many_events_at_once_are_as_one_by_one(events: list[tuple[int, int, int, int, int]]) -> None:
    events = sorted(((u, i - 1, t * MINUTE_MS + 1, v, d) for u, i, t, v, d in events), key=lambda one: one[2])
    together, alone = Actions(3, VECTORS), Actions(3, VECTORS)
    told = together.take_in(happened(*events))
    assert told.tolist() == [int(alone.take_in(happened(one))[0]) for one in events]
    assert all(np.array_equal(getattr(together, name), getattr(alone, name)) for name in together.arrays())


@pytest.mark.parametrize(("wait_min", "told"), [(0, LIKE), (30, LIKE), (31, -1)])
def test_an_outcome_without_a_view_goes_to_the_last_view_of_thirty_minutes(wait_min: int, told: int) -> None:
    actions = Actions(2, VECTORS)
    actions.take_in(happened((1, 3, DAY_MS, 1, LONG_VIEW)))
    late = happened((1, 3, DAY_MS + wait_min * MINUTE_MS, 0, LIKE | LONG_VIEW))
    assert actions.take_in(late).tolist() == [told]
    assert actions.take_in(late).tolist() == [0 if told == LIKE else -1]


def test_what_was_hidden_joins_the_other_taste_and_fades() -> None:
    actions = Actions(2, VECTORS)
    actions.take_in(happened((1, 2, DAY_MS, 1, LIKE | HATE), (1, 4, DAY_MS + 1, 1, 0), (1, -1, DAY_MS + 2, 1, LIKE)))
    assert not actions.taste[1, 0].any()
    assert actions.taste[1, 1] == pytest.approx(0.9 * VECTORS[2] + VECTORS[4])
    assert actions.count[1] == 3


def test_fifty_actions_are_kept_newest_first() -> None:
    actions = Actions(2, VECTORS)
    actions.take_in(happened(*((1, k % 5, DAY_MS + k, 1, 0) for k in range(KEPT_ACTIONS + 3))))
    assert actions.time_ms[1, actions.newest_first(1)].tolist() == [DAY_MS + k for k in range(52, 2, -1)]


def test_a_repost_whose_original_is_not_told_of_makes_one() -> None:
    table = pl.DataFrame(
        {
            "item_id": [9, 8, 3], "canonical_id": [5, 5, 3], "creator_id": [70, -1, -1], "created_ms": [4, None, 6],
            "duration_ms": [9_000, 8_000, None], "kind": ["AD", None, "NORMAL"], "category": [63, 2, -1],
            "tags": [[1], None, [2, -1]], "audio_id": [1, 2, -1], "integrity": [1, None, 0],
        }
    )  # fmt: skip
    items = with_originals(table)
    assert items["item_id"].to_list() == [3, 5, 8, 9]
    users = pl.DataFrame({"user_id": [1], "activity": ["a"]})
    facts = ContentItems.of(items, Catalog.from_tables(items, users))
    assert facts.length_s.tolist() == [0.0, 8.0, 8.0, 8.0, 0.0]  # the repost with the smallest id lends its facts
    assert facts.offered.tolist() == [0, 1]
    assert facts.creator.tolist() == [1, 1, 1, 1, 0]  # nobody's creator (-1) is a creator
    assert facts.category.tolist() == [0, 3, 3, 3, 0]
    assert np.linalg.norm(facts.vectors, axis=1) == pytest.approx([1, 1, 1, 1, 0])
