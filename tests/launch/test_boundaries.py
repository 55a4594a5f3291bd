import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from mainstem.base.errors import LaunchError
from mainstem.launch.boundaries import boundaries, course, equal_looks, inflation
from mainstem.launch.spending import SPENDING

PUBLISHED = (4.8769, 3.3570, 2.6803, 2.2898, 2.0310)
"""Lan and DeMets 1983, O'Brien and Fleming's type at five looks, .05 on two sides."""


def test_the_published_table_to_four_decimals():
    assert boundaries(equal_looks(5), 0.025, "obf", two_sided=True).bound == pytest.approx(PUBLISHED, abs=5e-5)


def test_one_look_is_the_normal_quantile():
    assert boundaries([1.0]).bound == pytest.approx([ndtri(0.95)], abs=1e-9)


@pytest.mark.parametrize("name", SPENDING)
def test_paths_cross_as_often_as_was_spent(name):
    looks = equal_looks(7)
    bounds = boundaries(looks, 0.05, name)
    steps = np.random.default_rng(3).standard_normal((100_000, 7)) / np.sqrt(7)
    ever = ((steps.cumsum(1) / np.sqrt(looks)) >= bounds.bound).any(1).mean()
    assert ever == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 1e5))


@settings(max_examples=25)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=12), st.sampled_from(sorted(SPENDING)))
def test_at_irregular_looks_the_spent_alpha_is_the_chance_of_crossing(steps, name):
    looks = np.cumsum(steps) / np.sum(steps)
    bounds = boundaries(looks, 0.05, name)
    assert course(bounds, 0.0).crossing.cumsum() == pytest.approx(bounds.spent, abs=1e-9)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 50), min_size=2, max_size=8))
def test_a_bound_needs_no_look_that_is_still_to_come(steps):
    looks = np.cumsum(steps) / np.sum(steps)
    whole = boundaries(looks).bound
    assert boundaries(looks[:-1]).bound == pytest.approx(whole[:-1], abs=1e-9)


def test_a_finer_grid_moves_nothing(monkeypatch):
    from mainstem.launch import boundaries as module

    coarse = boundaries(equal_looks(28)).bound
    monkeypatch.setattr(module, "_NODES_A_STEP", 9.0)
    module._solve.cache_clear()
    assert boundaries(equal_looks(28)).bound == pytest.approx(coarse, abs=1e-7)
    module._solve.cache_clear()


def test_what_28_looks_cost():
    bounds = boundaries(equal_looks(28))
    single = float(ndtri(0.95) + ndtri(0.9))
    assert course(bounds, single).power == pytest.approx(0.8772, abs=1e-4)
    assert inflation(bounds) == pytest.approx(1.0859, abs=1e-4)
    assert inflation(boundaries(equal_looks(28), 0.045)) == pytest.approx(1.1242, abs=1e-4)


def test_after_the_planned_end_nothing_is_left_to_spend():
    bounds = boundaries([0.5, 1.0, 1.2])
    assert np.isinf(bounds.bound[-1])
    assert bounds.crossed([0.0, 0.0, 9.0]) is None
    assert bounds.crossed([0.0, 5.0]) == 1


@pytest.mark.parametrize("looks", [[], [0.5, 0.5], [0.5, 0.2], [-0.1, 1.0], [0.5, np.nan], [[0.5]]])
def test_information_that_does_not_rise_is_refused(looks):
    with pytest.raises(LaunchError) as refused:
        boundaries(looks)
    assert refused.value.code == "launch-003"


def test_looks_with_nothing_between_them_are_refused():
    with pytest.raises(LaunchError) as refused:
        boundaries([0.5, 0.50001])
    assert refused.value.code == "launch-004"
