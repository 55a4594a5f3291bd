"""An exposure floor is met at the least price there is: the same as trying every slate."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.evaluate.mitigation import boosted, exposure_floor, floor_front, reweighted


def best_by_trying(values, group, places, floor):
    """The most value of any slates of the batch that meet the floor; None where none do."""
    options = []
    for row, mine in zip(values, group, strict=True):
        by_count = {}
        for slate in combinations(range(len(row)), places):
            count = int(mine[list(slate)].sum())
            by_count[count] = max(by_count.get(count, -np.inf), row[list(slate)].sum())
        options.append(by_count)
    needed = int(np.ceil(floor * places * len(values) - 1e-9))
    found = [
        sum(one[count] for one, count in zip(options, counts, strict=True))
        for counts in product(*options)
        if sum(counts) >= needed
    ]
    return max(found) if found else None


@given(st.integers(0, 100_000), st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]))
def test_it_is_the_optimum(seed, floor):
    rng = np.random.default_rng(seed)
    values = rng.integers(-3, 8, (3, 6)) + rng.random((3, 6)) * (seed % 2)
    group = rng.random((3, 6)) < 0.4
    found = exposure_floor(values, group, 3, floor)
    assert all(len(set(slate)) == 3 for slate in found.chosen.tolist())
    assert np.take_along_axis(group, found.chosen, 1).mean() == pytest.approx(found.share)
    expected = best_by_trying(values, group, 3, floor)
    assert found.met == (expected is not None)
    if expected is not None:
        assert found.value == pytest.approx(expected)
    else:
        assert found.share == pytest.approx(np.minimum(group.sum(axis=1), 3).sum() / 9)
    assert found.price >= -1e-9


def test_the_boost_gives_the_same_share_without_knowing_the_batch():
    rng = np.random.default_rng(3)
    values, group = rng.gamma(2, 1, (4_000, 40)), rng.random((4_000, 40)) < 0.2
    found = exposure_floor(values[:2_000], group[:2_000], 5, 0.4)
    again = np.take_along_axis(group[:2_000], boosted(values[:2_000], group[:2_000], 5, found.boost + 1e-12), 1).mean()
    assert again == pytest.approx(0.4, abs=1e-3)
    fresh = np.take_along_axis(group[2_000:], boosted(values[2_000:], group[2_000:], 5, found.boost), 1).mean()
    assert fresh == pytest.approx(0.4, abs=0.03)


def test_the_front_falls_and_the_floor_is_never_dearer_than_re_weighting():
    rng = np.random.default_rng(5)
    values, exposure = rng.gamma(2, 1, (200, 30)), rng.gamma(1, 1, (200, 30)) + 0.05
    group = exposure < 0.4
    front = floor_front(values, group, 1 / exposure, 5, (0.0, 0.4, 0.5, 0.6, 0.7), (0.0, 0.25, 0.5, 1.0))
    floors = [one for one in front if one.method == "floor"]
    assert [one.price for one in floors] == sorted(one.price for one in floors)
    assert [one.boost for one in floors] == sorted(one.boost for one in floors)
    for other in (one for one in front if one.method == "re-weighting"):
        assert exposure_floor(values, group, 5, other.share).price <= other.price + 1e-9


def test_a_larger_weight_helps_whatever_the_sign():
    values = np.array([[1.0, 1.0, -1.0, -1.0]])
    assert reweighted(values, np.array([[1.0, 4.0, 1.0, 4.0]]), 1.0, 4).tolist() == [[1, 0, 3, 2]]


def test_missing_candidates_are_never_preferred():
    values = np.array([[5.0, 1.0, -np.inf, -np.inf]])
    found = exposure_floor(values, np.array([[False, False, True, False]]), 2, 0.5)
    assert found.met is False
    assert sorted(found.chosen[0].tolist()) == [0, 1]
