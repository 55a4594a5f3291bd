"""Two orders' likeness at the top: exact where they agree, and the same as the reference elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from mainstem.evaluate.agreement import agreement, kendall_tau


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=25))
def test_tau_is_the_references(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, float).T
    ours, theirs = kendall_tau(a, b), kendalltau(a, b)[0] if len(set(a)) > 1 and len(set(b)) > 1 else np.nan
    assert np.isnan(ours) == np.isnan(theirs)
    if not np.isnan(ours):
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_an_order_agrees_with_itself_and_not_with_its_reverse() -> None:
    scores = np.random.default_rng(0).permutation(100).astype(float)
    same, other = agreement(scores, 3 * scores + 1), agreement(scores, -scores)
    assert (same.tau, same.overlap) == (1.0, 1.0)
    assert (other.tau, other.overlap) == (-1.0, 0.0)


def test_fewer_candidates_than_places() -> None:
    assert agreement(np.array([3.0, 2.0, 1.0]), np.array([3.0, 2.0, 1.0])).overlap == 1.0
