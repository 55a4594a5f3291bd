"""Anchors and the reading of other people's lists agree with the evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mainstem.base.errors import BenchError
from mainstem.bench.anchors import Ease, Popularity
from mainstem.bench.ranked_lists import ranks_in_lists
from mainstem.bench.sequence_systems import RankAverage
from mainstem.data.loaders.sequences import grouped
from mainstem.data.sequences import Sequences, leave_one_out
from mainstem.evaluate.next_item import ranks_of


def made(users: int, items: int, seed: int) -> Sequences:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(users), 5)
    taken = np.concatenate([rng.choice(items, 5, replace=False) for _ in range(users)])
    return grouped("made", owner, taken, known_items=np.arange(items))


@given(seed=st.integers(0, 10_000), depth=st.integers(1, 30))
def test_a_list_ranks_its_targets_as_all_scores_do(seed: int, depth: int) -> None:
    users, items = 8, 30
    told = made(users, items, seed)
    split = leave_one_out(told)
    rng = np.random.default_rng(seed)
    # Few values, so that some tie.
    scores = rng.integers(0, 8, (users, items)).astype(np.float32)
    history = split.with_validation
    lists, values = _lists(scores, history, depth)
    full = ranks_of(scores.copy(), history, split.test)
    got = ranks_in_lists(lists, values, split.test, items)
    listed = (lists == split.test[:, None]).any(axis=1)
    # A tie that the list's end cuts shares its places with fewer others: no place is told worse than it is.
    assert (got[listed] <= full[listed]).all()
    assert (got[~listed] == items).all()
    if depth == items:
        np.testing.assert_array_equal(got, full)


def _lists(
    scores: NDArray[np.float32], history: Sequences, depth: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    lists, values = np.full((len(scores), depth), -1, np.int32), np.full((len(scores), depth), -np.inf, np.float32)
    for row, score in enumerate(scores):
        left = np.setdiff1d(np.arange(len(score)), history.of(row))
        best = left[np.argsort(-score[left], kind="stable")][:depth]
        lists[row, : len(best)], values[row, : len(best)] = best, score[best]
    return lists, values


@pytest.mark.parametrize(
    ("lists", "scores"),
    [
        ([[0, 1]], [[1.0]]),
        ([[0, 0]], [[1.0, 0.5]]),
        ([[0, 9]], [[1.0, 0.5]]),
        ([[0, 1]], [[1.0, np.nan]]),
        ([[0, 1], [1, 0]], [[1.0, 0.5], [1.0, 0.5]]),
    ],
)
def test_lists_that_are_none_are_refused(lists: list, scores: list) -> None:
    with pytest.raises(BenchError) as caught:
        ranks_in_lists(np.array(lists), np.array(scores), np.array([1]), 5)
    assert caught.value.code == "bench-016"


def test_ease_explains_each_item_by_the_others_as_least_squares_does() -> None:
    told = made(30, 8, 1)
    taken = np.zeros((30, 8))
    taken[np.repeat(np.arange(30), told.lengths), told.rows] = 1
    model = Ease.fit(told, ridge=3.0)
    for item in range(8):
        others = [other for other in range(8) if other != item]
        left = taken[:, others]
        solved = np.linalg.solve(left.T @ left + 3.0 * np.eye(7), left.T @ taken[:, item])
        np.testing.assert_allclose(model.weights[others, item], solved, rtol=1e-4, atol=1e-5)
    assert (np.diag(model.weights) == 0).all()


def test_popularity_and_the_rank_average() -> None:
    told = made(20, 10, 2)
    popular = Popularity.fit(told)
    np.testing.assert_array_equal(popular.scores(told)[3], np.bincount(told.rows, minlength=10))
    ease = Ease.fit(told)
    same = RankAverage(ease, ease).scores(told)
    np.testing.assert_array_equal(np.argsort(same, axis=1), np.argsort(ease.scores(told), axis=1, kind="stable"))
