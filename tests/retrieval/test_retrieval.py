"""Exact search is exact, each source keeps its promise, and the union loses nobody."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.request import Found, Request
from mainstem.retrieval.index import vector_index
from mainstem.retrieval.learned_sources import Encoded, Fresh, ItemToItem, NextItems
from mainstem.retrieval.search import top_k
from mainstem.retrieval.sources import Connected, Exploration, Fixed, Interests, Period, Popular, Unseen
from mainstem.retrieval.union import RankFusion, TableFusion

NOBODY_SEES = Unseen(1_000, {})


@dataclass
class Person:
    liked_rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    seen_rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    followed_creators: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


def ask(request_id=1, now_ms=1_000_000) -> Request:
    return Request(request_id, 1, "feed", now_ms, 10)


def liking(*rows: int, seen=()) -> Person:
    return Person(liked_rows=np.array(rows, np.int64), seen_rows=np.array(seen, np.int64))


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


def test_what_was_seen_is_left_out_where_a_surface_would_not_show_it_again():
    unseen = Unseen(10, {"feed": 2})
    found = Found(np.array([3, 1, 4, 5]), np.array([4.0, 3, 2, 1]))
    person = liking(seen=(4, 1, 3))
    for _ in range(2):
        assert unseen.of(ask(), person, found, 3).rows.tolist() == [3, 5]
        assert unseen.of(Request(1, 1, "pages", 0, 10), person, found, 3).rows.tolist() == [3, 1, 4]


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)


def test_item_to_item_offers_the_nearest_items_and_nothing_to_a_stranger(vectors):
    source = ItemToItem(vectors, vector_index(vectors), Unseen(500, {"feed": 50}), last=1)
    nearest = np.argsort(-(vectors @ vectors[42]))
    assert source.retrieve(ask(), liking(42), 20).rows.tolist() == nearest[:20].tolist()
    without = [row for row in nearest.tolist() if row not in (42, int(nearest[5]))]
    assert source.retrieve(ask(), liking(42, seen=(42, nearest[5])), 20).rows.tolist() == without[:20]
    assert len(source.retrieve(ask(), Person(), 20).rows) == 0


def test_a_removed_item_is_offered_no_more_and_the_quota_is_filled(vectors):
    source = ItemToItem(vectors, vector_index(vectors), NOBODY_SEES)
    gone = source.retrieve(ask(), liking(42), 20).rows
    source.index.remove(gone)
    found = source.retrieve(ask(), liking(42), 20).rows
    assert len(found) == 20
    assert not np.isin(found, gone).any()


def test_next_items_sum_what_follows_the_older_the_less():
    followers = np.array([[1, 2], [2, 3], [0, 0], [0, 0]], np.int32)
    weights = np.array([[1.0, 0.5], [0.4, 0.9], [0, 0], [0, 0]], np.float32)
    source = NextItems(followers, weights, Unseen(4, {"feed": 9}), last=2, decay=0.5)
    found = source.retrieve(ask(), liking(0, 1, 3), 9)
    assert found.rows.tolist() == [1, 2, 3]
    assert np.allclose(found.scores, [1.0, 0.5 + 0.2, 0.45])
    assert source.retrieve(ask(), liking(0, seen=(1,)), 9).rows.tolist() == [2]
    assert len(source.retrieve(ask(), liking(2), 9).rows) == 0
    assert len(source.retrieve(ask(), Person(), 9).rows) == 0


def test_feedback_moves_next_items():
    followers = np.array([[1], [0], [3], [2]], np.int32)
    source = NextItems(followers, np.ones((4, 1), np.float32), NOBODY_SEES)
    assert source.retrieve(ask(), liking(0), 1).rows.tolist() == [1]
    assert source.retrieve(ask(), liking(2, 0), 1).rows.tolist() == [3]


class _Echo:
    """An encoder whose queries are the vectors of the last two items."""

    def __init__(self, vectors):
        self.vectors, self.asked = vectors, []

    def queries(self, items):
        self.asked.append(items.tolist())
        return self.vectors[items[-2:]]


def test_the_encoder_reads_oldest_first_and_is_asked_once_a_history(vectors):
    encoder = _Echo(vectors)
    place_of = np.arange(500) - 1
    source = Encoded(encoder, vector_index(vectors, np.arange(1, 501)), place_of, NOBODY_SEES, kept=2)
    found = source.retrieve(ask(), liking(7, 0, 9), 30)
    assert encoder.asked == [[8, 6]]
    best = (vectors @ vectors[[8, 6]].T).max(axis=1)
    assert found.rows.tolist() == (1 + np.argsort(-best))[:30].tolist()
    source.retrieve(ask(), liking(7, 0, 9), 30)
    assert len(encoder.asked) == 1
    for row in (20, 30, 7):
        source.retrieve(ask(), liking(row), 5)
    assert len(encoder.asked) == 4
    assert len(source.retrieve(ask(), liking(0), 5).rows) == 0


def test_new_items_are_offered_by_content_until_they_were_shown_enough(vectors):
    shown = np.full(500, 100.0)
    shown[[3, 4, 5]] = 0
    created = np.full(500, 10)
    created[5] = 2_000_000
    held = {"shown": shown}
    source = Fresh(
        vectors, Period(lambda _: held["shown"], 1_000), created, lambda liked: vectors[liked[0]] if len(liked) else None,
        NOBODY_SEES,
    )  # fmt: skip
    assert source.retrieve(ask(), liking(3), 9).rows.tolist()[0] == 3
    assert sorted(source.retrieve(ask(), liking(3), 9).rows.tolist()) == [3, 4]
    assert source.retrieve(ask(), Person(), 9).rows.tolist() == [3, 4]
    assert source.retrieve(ask(now_ms=2_000_000), Person(), 9).rows.tolist() == [5, 3, 4]
    held["shown"] = np.where(np.arange(500) == 3, 50.0, shown)
    assert source.retrieve(ask(now_ms=2_001_000), Person(), 9).rows.tolist() == [5, 4]


def test_of_many_new_items_the_newest_are_looked_at(vectors, monkeypatch):
    monkeypatch.setattr("mainstem.retrieval.learned_sources.MOST_NEW", 4)
    source = Fresh(
        vectors, Period(lambda _: np.zeros(500), 1_000), np.arange(500), lambda liked: vectors[liked[0]] if len(liked) else None,
        NOBODY_SEES,
    )  # fmt: skip
    assert source.retrieve(ask(), Person(), 9).rows.tolist() == [499, 498, 497, 496]
    assert sorted(source.retrieve(ask(), liking(3), 9).rows.tolist()) == [496, 497, 498, 499]


def test_interests_give_items_in_proportion_to_the_taste():
    interest_of = np.repeat([0, 1, 2, -1], 25)
    source = Interests(interest_of, Fixed(100 - np.arange(100.0)), NOBODY_SEES, top=2, smoothing=0.0)
    found = source.retrieve(ask(), liking(0, 1, 2, 30, 99), 20)
    assert np.bincount(interest_of[found.rows], minlength=3).tolist() == [15, 5, 0]
    assert {0, 25} <= set(found.rows.tolist())


def test_interests_follow_what_is_taken_now():
    rates = [np.arange(50.0)]
    source = Interests(np.zeros(50, np.int64), Period(lambda _: rates[0], 1_000), NOBODY_SEES)
    assert source.retrieve(ask(now_ms=0), liking(1), 3).rows.tolist() == [49, 48, 47]
    rates[0] = -np.arange(50.0)
    assert source.retrieve(ask(now_ms=999), liking(1), 3).rows.tolist() == [49, 48, 47]
    assert source.retrieve(ask(now_ms=1_000), liking(1), 3).rows.tolist() == [0, 1, 2]


def test_the_popular_list_is_made_again_only_when_its_time_is_over():
    asked = []

    def rates(now_ms):
        asked.append(now_ms)
        return np.arange(10.0)

    source = Popular(Period(rates, every_ms=1000), NOBODY_SEES)
    for now_ms in (0, 999, 1000, 1001):
        assert source.retrieve(ask(now_ms=now_ms), Person(), 3).rows.tolist() == [9, 8, 7]
    assert asked == [0, 1000]
    assert source.retrieve(ask(now_ms=1001), Person(), 30).rows.tolist() == list(range(9, 0, -1))


def test_connected_offers_followed_creators_newest_first_and_never_the_future():
    source = Connected(np.array([5, 6, 5, 5]), np.array([10, 20, 30, 2_000_000]))
    assert source.retrieve(ask(), Person(followed_creators=np.array([5, 9])), 9).rows.tolist() == [2, 0]
    assert len(source.retrieve(ask(), Person(), 9).rows) == 0


def test_exploration_is_fixed_by_the_request_and_reaches_every_item():
    source = Exploration(50, seed=3)
    assert source.retrieve(ask(7), Person(), 10).rows.tolist() == source.retrieve(ask(7), Person(), 10).rows.tolist()
    seen = {row for request in range(200) for row in source.retrieve(ask(request), Person(), 10).rows.tolist()}
    assert seen == set(range(50))


OFFERS = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=20), min_size=1, max_size=4)


@settings(deadline=None)
@given(OFFERS, st.integers(1, 40))
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


@settings(deadline=None)
@given(OFFERS, st.integers(1, 25), st.integers(0, 5))
def test_reserved_candidates_are_always_ranked_and_nobody_is_lost(offers, ranked, reserved):
    tables = tuple(np.linspace(3, 1, 20) if at else np.full(20, -5.0) for at in range(len(offers)))
    found = [Found(np.asarray(rows, np.int64), np.zeros(len(rows))) for rows in offers]
    plain = TableFusion(tables, {"feed": 1_000}).merge(ask(), found)
    pool = TableFusion(tables, {"feed": 1_000}, {0: reserved}, {"feed": ranked}).merge(ask(), found)
    assert sorted(pool.rows.tolist()) == sorted(plain.rows.tolist())
    assert (np.diff(pool.fused) <= 0).all()
    if reserved < ranked:
        assert set(offers[0][:reserved]) <= set(pool.rows[:ranked].tolist())


def test_ranks_beyond_a_table_are_worth_its_last_value():
    union = TableFusion((np.array([2.0, 1.0]),), {"feed": 100})
    pool = union.merge(ask(), [Found(np.arange(9)[::-1].copy(), np.zeros(9))])
    assert pool.fused.tolist() == [2.0] + [1.0] * 8
    assert pool.rows.tolist() == [8, 0, 1, 2, 3, 4, 5, 6, 7]
