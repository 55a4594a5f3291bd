"""Exact search is exact, each source keeps its promise, and the union loses nobody."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.request import Found, Request
from mainstem.retrieval.search import top_k
from mainstem.retrieval.sources import Connected, Exploration, Interests, ItemToItem, Popular
from mainstem.retrieval.union import RankFusion


@dataclass
class Person:
    liked_rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    followed_creators: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


def ask(request_id=1, now_ms=1_000_000) -> Request:
    return Request(request_id, 1, "feed", now_ms, 10)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**31), n=st.integers(0, 3_000), k=st.integers(0, 300), levels=st.sampled_from([2, 10, 10**6])
)
def test_the_fast_top_k_is_the_sorted_top_k(seed, n, k, levels):
    random = np.random.default_rng(seed)
    scores = random.integers(0, levels, n).astype(np.float32)
    scores[random.random(n) < 0.05] = -np.inf
    reference = np.lexsort((np.arange(n), -scores))[:k]
    assert top_k(scores, k).tolist() == reference[scores[reference] > -np.inf].tolist()


def test_item_to_item_offers_the_nearest_items_and_nothing_to_a_stranger():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(500, 16)).astype(np.float32)
    source = ItemToItem(vectors, last=1)
    found = source.retrieve(ask(), Person(liked_rows=np.array([42])), 20)
    assert found.rows.tolist() == np.argsort(-(vectors @ vectors[42]))[:20].tolist()
    assert len(source.retrieve(ask(), Person(), 20).rows) == 0


def test_interests_give_items_in_proportion_to_the_taste():
    interest_of = np.repeat([0, 1, 2, -1], 25)
    source = Interests(interest_of, quality=-np.arange(100.0), top=2, smoothing=0.0)
    found = source.retrieve(ask(), Person(liked_rows=np.array([0, 1, 2, 30, 99])), 20)
    assert np.bincount(interest_of[found.rows], minlength=3).tolist() == [15, 5, 0]
    assert {0, 25} <= set(found.rows.tolist())


def test_the_popular_list_is_made_again_only_when_its_time_is_over():
    asked = []

    def rates(now_ms):
        asked.append(now_ms)
        return np.arange(10.0)

    source = Popular(rates, every_ms=1000)
    for now_ms in (0, 999, 1000, 1001):
        assert source.retrieve(ask(now_ms=now_ms), Person(), 3).rows.tolist() == [9, 8, 7]
    assert asked == [0, 1000]


def test_connected_offers_followed_creators_newest_first_and_never_the_future():
    source = Connected(np.array([5, 6, 5, 5]), np.array([10, 20, 30, 2_000_000]))
    assert source.retrieve(ask(), Person(followed_creators=np.array([5, 9])), 9).rows.tolist() == [2, 0]
    assert len(source.retrieve(ask(), Person(), 9).rows) == 0


def test_exploration_is_fixed_by_the_request_and_reaches_every_item():
    source = Exploration(50, seed=3)
    assert source.retrieve(ask(7), Person(), 10).rows.tolist() == source.retrieve(ask(7), Person(), 10).rows.tolist()
    seen = {row for request in range(200) for row in source.retrieve(ask(request), Person(), 10).rows.tolist()}
    assert seen == set(range(50))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), unique=True, max_size=20), min_size=1, max_size=4), st.integers(1, 40))
def test_the_union_holds_each_candidate_once_with_all_its_sources(offers, most):
    names = tuple(f"s{i}" for i in range(len(offers)))
    found = [Found(np.asarray(rows, np.int64), np.zeros(len(rows))) for rows in offers]
    pool = RankFusion(names, {"feed": most}).merge(ask(), found)
    fused = {row: sum(1 / (61 + rows.index(row)) for rows in offers if row in rows) for rows in offers for row in rows}
    expected = sorted(fused, key=lambda row: (-round(fused[row], 12), row))[:most]
    assert sorted(pool.rows.tolist()) == sorted(expected) or np.allclose(
        sorted(fused[row] for row in pool.rows.tolist()), sorted(fused[row] for row in expected)
    )
    for row, mask in zip(pool.rows.tolist(), pool.source_mask.tolist(), strict=True):
        assert mask == sum(1 << bit for bit, rows in enumerate(offers) if row in rows)
