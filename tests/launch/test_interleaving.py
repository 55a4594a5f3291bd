"""Interleaving prefers nobody among equals, wherever people click, and finds the better ranker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.interleaving import credits, preferences, team_draft

rankings = st.permutations(range(12))


@given(st.lists(rankings, min_size=2, max_size=4), st.integers(0, 14), st.integers(0, 99))
def test_a_draft_is_a_fair_list_of_what_rankers_said(lists, count, request_id):
    draft = team_draft(lists, count, 7, request_id)
    assert len(draft.items) == min(count, 12)
    assert len(set(draft.items.tolist())) == len(draft.items)
    sizes = np.bincount(draft.teams, minlength=len(lists))
    assert sizes.max() - sizes.min() <= 1
    # Each ranker's own items stand in its own order, and nothing it liked better was left for later.
    for team, ranked in enumerate(lists):
        mine = [
            ranked.index(item)
            for item, one in zip(draft.items.tolist(), draft.teams.tolist(), strict=True)
            if one == team
        ]
        assert mine == sorted(mine)
    again = team_draft(lists, count, 7, request_id)
    assert draft.items.tolist() == again.items.tolist()
    assert draft.teams.tolist() == again.teams.tolist()


def shown(lists: list[list[int]], likes: np.ndarray, requests: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """People look down the list, the further the less, and click what they like."""
    rng = np.random.default_rng(seed)
    looks = 0.85 ** np.arange(6)
    earned = np.zeros((requests, len(lists)))
    for request in range(requests):
        draft = team_draft(lists, 6, seed, request)
        earned[request] = credits(draft, (rng.random(6) < looks * likes[draft.items]).astype(float), len(lists))
    return earned, np.arange(requests) // 4


def test_rankers_that_are_the_same_are_credited_the_same():
    likes = np.linspace(0.7, 0.05, 12)
    same = list(range(12))
    far = [abs(one.advantage.mid) > 0 and one.p_value < 0.05 for seed in range(60)
           for one in preferences(*shown([same, same, same], likes, 80, seed))]  # fmt: skip
    # 180 looks at .05: 9 expected; 25 is more than five standard deviations above.
    assert sum(far) < 25
    earned, users = shown([same, same], likes, 4000, 99)
    (one,) = preferences(earned, users)
    assert one.p_value > 0.001
    assert earned.sum() > 4000


def test_the_better_ranker_is_found():
    likes = np.linspace(0.7, 0.05, 12)
    best, worse, worst = list(range(12)), [1, 0, 3, 2, 7, 6, 5, 4, 8, 9, 10, 11], list(range(12))[::-1]
    pairs = {(one.first, one.second): one for one in preferences(*shown([best, worst, worse], likes, 600, 5))}
    assert pairs[0, 1].advantage.high < 0
    assert pairs[1, 2].advantage.low > 0
    assert pairs[0, 2].advantage.mid < 0


def test_users_and_not_lists_are_counted():
    rng = np.random.default_rng(2)
    users = np.repeat(np.arange(30), 50)
    earned = np.zeros((1500, 2))
    earned[:, 1] = (rng.normal(0, 1, 30)[users] > 0).astype(float)
    (by_user,) = preferences(earned, users)
    (by_list,) = preferences(earned, np.arange(1500))
    assert by_user.advantage.n == 30
    total = by_list.advantage.high - by_list.advantage.low
    assert (by_user.advantage.high - by_user.advantage.low) / 50 > 4 * total


def test_bad_lists_and_credit_are_refused():
    for ask, code in (
        (lambda: team_draft([[1, 2]], 2, 7, 1), "launch-070"),
        (lambda: team_draft([[1, 1], [2]], 2, 7, 1), "launch-070"),
        (lambda: credits(team_draft([[1], [2]], 2, 7, 1), np.zeros(3), 2), "launch-070"),
        (lambda: preferences(np.zeros((3, 2)), np.arange(4)), "launch-071"),
        (lambda: preferences(np.zeros((3, 2)), np.zeros(3)), "launch-071"),
    ):
        with pytest.raises(LaunchError) as refused:
            ask()
        assert refused.value.code == code
    (even,) = preferences(np.zeros((4, 2)), np.arange(4))
    assert (even.advantage.mid, even.p_value) == (0.0, 1.0)
