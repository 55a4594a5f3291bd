import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln

from mainstem.base.errors import LaunchError
from mainstem.launch.sample_ratio import check_sample_ratio, check_segments, log_e_value


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_two_equal_arms_are_the_beta_binomial(x, y):
    told = betaln(10_000 + x, 10_000 + y) - betaln(10_000, 10_000) - (x + y) * np.log(0.5)
    assert log_e_value([x, y], [0.5, 0.5]) == pytest.approx(told, abs=1e-6)


def test_under_the_declared_shares_its_mean_stays_one():
    counts = np.random.default_rng(1).multinomial(3_000, [0.2, 0.3, 0.5], size=40_000)
    assert np.exp(log_e_value(counts, [0.2, 0.3, 0.5])).mean() == pytest.approx(1.0, abs=0.02)


def test_a_healthy_ramp_is_quiet_and_a_faulty_one_is_not():
    rng = np.random.default_rng(2)
    fair = rng.binomial(100_000, 0.5, size=28).cumsum()
    off = rng.binomial(100_000, 0.504, size=28).cumsum()
    total = 100_000 * np.arange(1, 29)
    assert not check_sample_ratio(np.stack([fair, total - fair], 1), [0.5, 0.5]).alarm
    found = check_sample_ratio(np.stack([off, total - off], 1), [0.5, 0.5])
    assert found.alarm
    assert found.p < 1e-3
    assert found.observed[0] == pytest.approx(0.504, abs=0.002)


def test_an_alarm_is_not_forgotten():
    found = check_sample_ratio([[60_000, 40_000], [1_060_000, 1_060_000]], [0.5, 0.5])
    assert found.alarm
    assert found.log_e < 0


def test_a_fault_of_one_segment_is_seen_there():
    found = check_segments({"feed": [50_000, 50_100], "groups": [5_000, 7_000]}, [0.5, 0.5])
    assert [one.segment for one in found if one.alarm] == ["groups"]


def test_nobody_yet_is_no_evidence():
    found = check_sample_ratio([0, 0], [0.5, 0.5])
    assert (found.log_e, found.alarm, found.observed) == (0.0, False, (0.0, 0.0))


@pytest.mark.parametrize(
    ("counts", "shares"), [([1, -1], [0.5, 0.5]), ([1, 2], [0.5, 0.6]), ([1, 2, 3], [0.5, 0.5]), ([1, 2], [0.0, 1.0])]
)
def test_counts_that_are_none_are_refused(counts, shares):
    with pytest.raises(LaunchError) as refused:
        check_sample_ratio(counts, shares)
    assert refused.value.code == "launch-011"
