import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.boundaries import boundaries, equal_looks
from mainstem.launch.returning import Looks, calendar, correlated_bounds, extended, mean_pulls


def returning_users(seed: int, users: int = 400, days: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, days, users)
    first[:5] = 0
    seen = np.arange(days) >= first[:, None]
    taste = rng.standard_normal((users, 1))
    daily = np.where(seen, taste + rng.standard_normal((users, days)), 0.0)
    return daily.cumsum(1) / np.maximum(seen.cumsum(1), 1), seen


def test_with_new_users_only_they_are_the_bounds_of_the_plain_test():
    looks = equal_looks(6)
    correlation = np.sqrt(np.minimum.outer(looks, looks) / np.maximum.outer(looks, looks))
    assert correlated_bounds(correlation, looks) == pytest.approx(boundaries(looks).bound, abs=0.02)


def test_paths_of_their_own_correlation_cross_as_often_as_they_may():
    values, seen = returning_users(1)
    looks = Looks.of_pulls(mean_pulls(values, seen))
    bounds = correlated_bounds(looks.correlation, calendar(8, 8))
    root = np.linalg.cholesky(looks.correlation + 1e-10 * np.eye(8))
    z = np.random.default_rng(2).standard_normal((100_000, 8)) @ root.T
    assert (z >= bounds).any(1).mean() == pytest.approx(0.05, abs=0.004)


def test_pulls_tell_how_the_mean_varies():
    values = np.random.default_rng(3).standard_normal((50, 1))
    found = Looks.of_pulls(mean_pulls(values, np.ones((50, 1), bool))).covariance
    assert found[0, 0] == pytest.approx(values.var() / 50)


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_the_first_bounds_do_not_wait_for_later_looks(seed, looks):
    values, seen = returning_users(seed)
    correlation = Looks.of_pulls(mean_pulls(values, seen)).correlation
    whole = correlated_bounds(correlation, calendar(8, 8), draws=2_000)
    part = correlated_bounds(correlation[:looks, :looks], calendar(looks, 8), draws=2_000)
    assert part == pytest.approx(whole[:looks], abs=1e-9)


def test_a_look_that_brings_nothing_new_is_no_fault():
    bounds = correlated_bounds(np.ones((3, 3)), calendar(3, 3), draws=5_000)
    assert np.isfinite(bounds).all()


@pytest.mark.parametrize("matrix", [np.zeros((2, 2)), np.full((2, 2), np.nan), np.ones((2, 3))])
def test_a_covariance_that_is_none_is_refused(matrix):
    with pytest.raises(LaunchError) as refused:
        Looks.of_covariance(matrix)
    assert refused.value.code == "launch-010"


def test_correlations_that_cannot_be_are_refused():
    for matrix in (np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])):
        with pytest.raises(LaunchError):
            correlated_bounds(matrix, calendar(len(matrix), 3), draws=100)
    with pytest.raises(LaunchError):
        mean_pulls([[1.0]], [[False]])


def test_a_test_that_goes_on_past_its_end_spends_its_reserve_and_no_more():
    values, seen = returning_users(5, days=12)
    correlation = Looks.of_pulls(mean_pulls(values, seen)).correlation
    clock = calendar(12, 4)
    bounds = correlated_bounds(correlation, clock, 0.045, reserve=0.005)
    without = correlated_bounds(correlation, clock, 0.045)
    assert bounds[:4] == pytest.approx(without[:4], abs=1e-9)
    assert np.isinf(without[4:]).all()
    assert np.isfinite(bounds).all()
    root = np.linalg.cholesky(correlation + 1e-10 * np.eye(12))
    z = np.random.default_rng(2).standard_normal((200_000, 12)) @ root.T
    crossed = z >= bounds
    assert crossed[:, :4].any(1).mean() == pytest.approx(0.045, abs=0.003)
    assert 0.046 < crossed.any(1).mean() < 0.0525


def test_the_reserve_is_never_spent_wholly():
    spent = extended(np.linspace(0.1, 40, 200), 0.005)
    assert (np.diff(spent) >= 0).all()
    assert spent[0] == 0
    assert spent[-1] < 0.005
    assert extended([1.25], 0.005)[0] == pytest.approx(0.6 * 0.005, rel=0.03)
    with pytest.raises(LaunchError) as refused:
        correlated_bounds(np.eye(2), calendar(2, 2), reserve=0.7)
    assert refused.value.code == "launch-002"
