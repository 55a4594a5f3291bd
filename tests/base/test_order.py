"""The shared order is the plain one: by score, then by row, then by position."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base import order
from mainstem.base.order import best_first

SCORES = st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0, np.inf, -np.inf, np.nan, 1e-300])


@settings(deadline=None, max_examples=200)
@given(pairs=st.lists(st.tuples(SCORES, st.integers(-1, 6)), max_size=60))
def test_it_is_the_order_of_a_plain_sort(pairs: list[tuple[float, int]]) -> None:
    scores = np.array([score for score, _ in pairs], np.float64)
    rows = np.array([row for _, row in pairs], np.int32)
    np.testing.assert_array_equal(best_first(scores, rows), np.lexsort((rows, -scores)))


@pytest.mark.parametrize("most", [10, 1 << 15])
def test_many_with_ties_and_without(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "_MANY", most)
    random = np.random.default_rng(2)
    rows = random.permutation(2**31 - 1 - np.arange(3_000))
    for scores in (random.random(3_000), random.integers(0, 40, 3_000).astype(np.float32)):
        np.testing.assert_array_equal(best_first(scores, rows), np.lexsort((rows, -scores)))
