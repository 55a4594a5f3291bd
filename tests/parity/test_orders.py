from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from mainstem.parity.orders import kendall_tau_at, overlap_at, rank_biased_overlap

SLATES = st.lists(st.integers(0, 12), unique=True, max_size=8).map(lambda items: np.array(items, int))


def plain_rbo(left: list[int], right: list[int], p: float) -> float:
    """Webber's formula, one depth at a time."""
    deepest = max(len(left), len(right))
    agreements = [len(set(left[:d]) & set(right[:d])) / d for d in range(1, deepest + 1)]
    return agreements[-1] * p**deepest + (1 - p) / p * sum(a * p**d for d, a in enumerate(agreements, 1))


def test_overlap_by_hand() -> None:
    left, right = np.array([1, 2, 3, 4]), np.array([2, 1, 9, 3])
    assert [overlap_at(left, right, k) for k in (1, 2, 3, 4, 9)] == [0, 1, pytest.approx(2 / 3), 0.75, 0.75]
    assert overlap_at(left[:1], left[:2], 5) == 0.5
    assert overlap_at(left[:0], left[:0], 5) == 1
    assert overlap_at(left, left[:0], 5) == 0


@given(SLATES, SLATES)
def test_rank_biased_overlap_is_the_papers_formula(left: np.ndarray, right: np.ndarray) -> None:
    found = rank_biased_overlap(left, right)
    if len(left) or len(right):
        assert found == pytest.approx(plain_rbo(left.tolist(), right.tolist(), 0.9))
    assert found == pytest.approx(rank_biased_overlap(right, left))
    assert -1e-12 <= found <= 1 + 1e-12
    assert rank_biased_overlap(left, left) == pytest.approx(1)


def test_a_swap_at_the_top_weighs_more_than_one_at_the_end() -> None:
    slate = np.arange(8)
    top, end = slate.copy(), slate.copy()
    top[[0, 1]], end[[6, 7]] = top[[1, 0]], end[[7, 6]]
    assert rank_biased_overlap(slate, top) < rank_biased_overlap(slate, end) < 1
    assert rank_biased_overlap(slate, slate + 100) == 0


def test_kendall_tau_agrees_with_scipy_on_the_best_k() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        left, right = rng.normal(size=60), rng.integers(0, 6, 60).astype(float)
        top = np.argsort(-left, kind="stable")[:20]
        assert kendall_tau_at(left, right, 20) == pytest.approx(kendalltau(left[top], right[top]).statistic)


def test_kendall_tau_where_nothing_is_ordered() -> None:
    assert kendall_tau_at(np.array([1.0]), np.array([2.0]), 20) is None
    assert kendall_tau_at(np.array([1.0, 2.0]), np.array([3.0, 3.0]), 20) is None
    assert kendall_tau_at(np.empty(0), np.empty(0), 20) is None
    assert kendall_tau_at(np.array([1.0, 2.0]), np.array([4.0, 3.0]), 20) == -1
