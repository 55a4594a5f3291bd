"""A withdrawn item is offered by no source, and another takes its place; put back, everything is as it was."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.request import Request
from mainstem.base.withdrawn import Withdrawn
from mainstem.retrieval.index import vector_index
from mainstem.retrieval.learned_sources import Encoded, Fresh, ItemToItem, NextItems
from mainstem.retrieval.sources import Connected, Exploration, Fixed, Interests, Popular, Unseen

ITEMS = 60
RANDOM = np.random.default_rng(5)
VECTORS = RANDOM.normal(size=(ITEMS, 8)).astype(np.float32)
RATES = RANDOM.permutation(ITEMS) + 1.0
CREATED = np.arange(ITEMS, dtype=np.int64)
FOLLOWERS = np.tile(np.arange(ITEMS, dtype=np.int32), (ITEMS, 1))
WEIGHTS = np.tile(RATES.astype(np.float32), (ITEMS, 1))


@dataclass
class Person:
    liked_rows: np.ndarray = field(default_factory=lambda: np.array([7, 3]))
    seen_rows: np.ndarray = field(default_factory=lambda: np.array([11, 2, 40]))
    followed_creators: np.ndarray = field(default_factory=lambda: np.array([1, 2]))


class Asked:
    def queries(self, items):
        return VECTORS[items][:2]


def sources(withdrawn: Withdrawn | None):
    unseen = Unseen(ITEMS, {"feed": 3}, withdrawn)
    near = ItemToItem(VECTORS, vector_index(VECTORS), unseen)
    return (
        NextItems(FOLLOWERS, WEIGHTS, unseen),
        Encoded(Asked(), vector_index(VECTORS), np.arange(ITEMS), unseen),
        near,
        Interests(np.zeros(ITEMS, np.int64), Fixed(RATES), unseen),
        Popular(Fixed(RATES), unseen),
        Connected(np.arange(ITEMS) % 3, CREATED, withdrawn),
        Fresh(VECTORS, Fixed(np.zeros(ITEMS)), CREATED, near.query, unseen),
        Exploration(ITEMS, 3, withdrawn),
    )


def offered(one, limit: int) -> list[int]:
    return one.retrieve(Request(9, 1, "feed", 1_000, 10), Person(), limit).rows.tolist()


NAMES = [one.name for one in sources(None)]


@pytest.mark.parametrize("at", range(len(NAMES)), ids=NAMES)
@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.integers(-1, ITEMS - 1), max_size=40), limit=st.integers(1, ITEMS))
def test_others_take_the_places_of_withdrawn_items(at, rows, limit):
    withdrawn = Withdrawn(ITEMS)
    one, never = sources(withdrawn)[at], sources(None)[at]
    everything = offered(never, ITEMS)
    assert offered(one, limit) == offered(never, limit)

    withdrawn.set(np.array(rows, np.int64))
    found = offered(one, limit)
    if one.name == "exploration":
        assert not set(found) & set(rows)
        assert len(found) >= len([row for row in offered(never, limit) if row not in rows])
    else:
        assert found == [row for row in everything if row not in rows][:limit]

    withdrawn.set(np.array([], np.int64))
    assert offered(one, limit) == offered(never, limit)


def test_the_depth_of_the_popular_list_is_not_spent_on_withdrawn_items():
    withdrawn = Withdrawn(ITEMS)
    one = Popular(Fixed(RATES), Unseen(ITEMS, {}, withdrawn), depth=5)
    best = offered(one, 5)
    withdrawn.set(np.array(best))
    assert len(offered(one, 5)) == 5
    assert not set(offered(one, 5)) & set(best)


def test_the_mask_has_a_place_for_unknown_items_that_is_never_withdrawn():
    withdrawn = Withdrawn(4)
    before = withdrawn.mask
    withdrawn.set(np.array([2, -1, 2, 0]))
    assert withdrawn.rows.tolist() == [0, 2]
    assert withdrawn.mask.tolist() == [True, False, True, False, False]
    assert not before.any()
