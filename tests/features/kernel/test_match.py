"""The join of a list and candidates says what a look at every pair says."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.features.kernel.match import distinct, matched


def _every_pair(keys: np.ndarray, asked: np.ndarray, values: np.ndarray, sums: int) -> np.ndarray:
    out = np.empty((len(values), *asked.shape))
    for part, request, candidate in np.ndindex(out.shape):
        same = (keys[request] == asked[request, candidate]) & (asked[request, candidate] >= 0)
        held = [value for value in values[part, request, same] if not np.isnan(value)]
        total = 0.0
        for value in held:
            total += value
        out[part, request, candidate] = total if part < sums else max(held, default=np.nan)
    return out


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    places=st.integers(0, 40),
    candidates=st.integers(0, 12),
    sums=st.integers(0, 3),
    spread=st.sampled_from([2, 9, 2**52]),
)
def test_the_join_equals_a_look_at_every_pair(seed: int, places: int, candidates: int, sums: int, spread: int) -> None:
    draw = np.random.default_rng(seed)
    keys = draw.integers(-1, spread, (3, places))
    asked = draw.integers(-1, spread, (3, candidates))
    if places and candidates:
        asked[:, ::2] = draw.choice(keys.ravel(), asked[:, ::2].shape)
    values = np.where(draw.random((3, 3, places)) < 0.2, np.nan, draw.normal(size=(3, 3, places)))
    found = matched(keys, asked, values, sums)
    np.testing.assert_array_equal(found, _every_pair(keys, asked, values, sums))


def test_a_key_below_zero_matches_nothing() -> None:
    found = matched(np.array([[-1, -1]]), np.array([[-1]]), np.ones((2, 1, 2)), 1)
    assert found[0, 0, 0] == 0.0
    assert np.isnan(found[1, 0, 0])


@settings(max_examples=40, deadline=None)
@given(keys=st.lists(st.integers(-5, 20) | st.integers(-(2**62), 2**62), max_size=60))
def test_different_keys_stand_in_the_order_of_their_first_places(keys: list[int]) -> None:
    different, places = distinct(np.array(keys, np.int64))
    assert different.tolist() == list(dict.fromkeys(keys))
    assert different[places].tolist() == keys
