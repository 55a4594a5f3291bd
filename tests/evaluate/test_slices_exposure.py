"""Slices and exposure: equal to what a loop finds, and a planted wrong is found in its slice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.evaluate.exposure import against_chance, concentration, effective_share, exposure_of, share_of, shown
from mainstem.evaluate.metrics import grouped_auc
from mainstem.evaluate.rows import ArmScores
from mainstem.evaluate.slices import Judging, by_edges, slice_cells, slicing_of


@pytest.fixture
def judging():
    rng = np.random.default_rng(2)
    users = rng.integers(0, 300, 6_000)
    group = (users % 3 == 0).astype(int)
    p = rng.uniform(0.1, 0.9, 6_000)
    label = (rng.random(6_000) < p).astype(float)
    # For one group probabilities are doubled in error and the order is luck.
    told = np.where(group == 1, np.clip(rng.permutation(p) * 1.5, 0, 1), p)
    arm = ArmScores(order=told, heads={"click": told}, calibrated=True)
    return Judging(users, {"click": label}, {"one": arm, "bare": ArmScores(order=told)}), group


def test_a_slice_with_a_planted_wrong_is_found(judging):
    rows, group = judging
    cells = slice_cells(rows, [slicing_of("group", group)], ["click"], resamples=200)
    by = {(one.arm, one.slice): one for one in cells}
    assert by["one", "all"].gap is None
    assert by["one", "1"].over_observed.low > 1.2
    assert by["one", "0"].over_observed.low < 1 < by["one", "0"].over_observed.high
    assert by["one", "1"].gap.high < 0 < by["one", "0"].gap.low
    assert by["one", "1"].error > 5 * by["one", "1"].floor
    assert by["bare", "1"].over_observed is None
    mine = group == 1
    expected = grouped_auc(rows.arms["one"].order[mine], rows.labels["click"][mine], rows.users[mine])
    assert by["one", "1"].gauc == pytest.approx(expected)


def test_a_slice_with_few_positives_is_listed_and_not_judged(judging):
    rows, _ = judging
    few = np.zeros(6_000)
    few[:40] = 1
    cells = slice_cells(rows, [slicing_of("few", few)], ["click"], resamples=50)
    small = next(one for one in cells if one.slice == "1" and one.arm == "one")
    assert (small.rows, small.enough, small.gap) == (40, False, None)


def test_columns_of_every_kind_are_parted():
    assert slicing_of("x", np.array([1.0, np.nan, 2.0])).codes.tolist() == [0, -1, 1]
    names = slicing_of("x", np.array(["b", "", "a", "b"]))
    assert [names.names[code] if code >= 0 else None for code in names.codes] == ["b", None, "a", "b"]
    many = slicing_of("x", np.array([f"n{i % 40}" for i in range(400)] + ["n1"] * 50))
    assert len(many.names) == 12
    assert many.names[0] == "n1"
    assert many.names[-1] == "other"
    quarters = slicing_of("x", np.arange(100.0))
    assert np.bincount(quarters.codes).tolist() == [25, 25, 25, 25]
    assert by_edges("x", np.array([0.0, 1.0, 5.0]), [1.0]).codes.tolist() == [0, 1, 1]
    assert by_edges("x", np.array([3.0, 3.0]), []).names == ("all",)


def slow_taken(users, scores, k):
    """By drawing every order of ties would be long: the share of a tied run that fits, one row at a time."""
    taken = np.zeros(len(users))
    for user in np.unique(users):
        mine = np.flatnonzero(users == user)
        for row in mine:
            above = (scores[mine] > scores[row]).sum()
            tied = (scores[mine] == scores[row]).sum()
            taken[row] = min(max(k - above, 0), tied) / tied
    return taken


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_what_is_shown_is_what_a_loop_shows(seed, k):
    rng = np.random.default_rng(seed)
    users, scores = rng.integers(0, 6, 40), rng.integers(0, 4, 40).astype(float)
    one = shown(users, scores, k)
    expected = slow_taken(users, scores, k)
    assert one.taken == pytest.approx(expected[one.rows])
    assert np.bincount(one.users, one.taken) == pytest.approx(np.full(len(one.user_ids), float(k)))
    assert np.bincount(one.users, one.chance) == pytest.approx(np.full(len(one.user_ids), float(k)))


def test_concentration_by_hand():
    even = concentration(np.ones(200))
    assert (even.gini, even.effective, even.reached) == (pytest.approx(0, abs=1e-12), pytest.approx(200), 1.0)
    one = np.zeros(200)
    one[3] = 5
    assert concentration(one).gini == pytest.approx(1 - 1 / 200)
    assert concentration(one).top_share == 1.0
    assert concentration(np.array([1.0, 3.0])).gini == pytest.approx(0.25)
    assert concentration(np.zeros(3)).effective == 0


def test_a_random_order_is_not_biased_and_a_popular_one_is():
    rng = np.random.default_rng(4)
    users, items = rng.integers(0, 400, 8_000), rng.geometric(0.02, 8_000)
    popular = 1.0 / items
    luck, biased = shown(users, rng.random(8_000)), shown(users, popular)
    fair = against_chance(luck, popular)
    assert fair.low < 1 < fair.high
    assert against_chance(biased, popular).low > 1.5
    assert effective_share(biased, items).high < effective_share(luck, items).low
    taken, chance = exposure_of(biased, items)
    assert taken.gini > chance.gini
    shown_share, chance_share = share_of(biased, (items < 10).astype(float))
    assert shown_share > chance_share
    assert against_chance(luck, np.zeros(8_000)) is None
