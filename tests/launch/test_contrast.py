import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.contrast import ArmMean, contrast, equal_within

NEW = ArmMean(60, 9.9824995941802, 3.157189534801679)
OLD = ArmMean(45, 10.37583716154436, 7.647086274535822)
ARMS = st.builds(ArmMean, st.integers(2, 10**6), st.floats(0.1, 10), st.floats(0.01, 100))


@pytest.mark.parametrize(
    ("low", "high", "pooled", "p_low", "p_high"),
    [
        (-1, 1, True, 0.08752751540784395, 0.001115273689226162),
        (-1, 1, False, 0.10133391212819323, 0.0021338926960813845),
        (-0.3, 2.0, True, 0.5829959564160341, 2.2729228372634337e-07),
        (-0.3, 2.0, False, 0.5781341211753366, 1.524014430268458e-06),
        (-2, 0.05, True, 0.00023217037912281397, 0.1603287872638706),
        (-2, 0.05, False, 0.0005467557592918861, 0.1752769290966973),
    ],
)
def test_two_one_sided_tests_are_those_of_statsmodels(low, high, pooled, p_low, p_high):
    # statsmodels 0.15.0, ttost_ind(usevar="pooled" | "unequal"); the largest p, which it once got wrong (#8213).
    found = equal_within(NEW, OLD, low, high, pooled=pooled)
    assert (found.p_low, found.p_high, found.p) == pytest.approx((p_low, p_high, max(p_low, p_high)), rel=1e-9)


def test_the_noise_of_the_old_mean_counts():
    found = contrast(ArmMean(100, 10.0, 4.0), ArmMean(50, 10.0, 8.0), 0.1)
    assert found.not_worse == pytest.approx(1.0 / math.sqrt(0.04 + 0.81 * 0.16))
    assert found.not_better == pytest.approx(1.0 / math.sqrt(0.04 + 1.21 * 0.16))
    assert found.better == 0.0
    assert found.equivalence_p == pytest.approx(float(0.5 * math.erfc(found.not_better / math.sqrt(2))))


@given(ARMS, ARMS, st.floats(0.001, 0.5))
def test_when_down_is_good_the_two_sides_change_places(new, old, margin):
    up, down = contrast(new, old, margin), contrast(new, old, margin, "down")
    assert down.not_worse == pytest.approx(up.not_better, rel=1e-9, abs=1e-9)
    assert down.not_better == pytest.approx(up.not_worse, rel=1e-9, abs=1e-9)
    assert down.better == -up.better


@given(ARMS, ARMS, st.floats(0.001, 0.5))
def test_a_metric_below_zero_is_read_like_its_mirror_image(new, old, margin):
    mirrored = contrast(
        ArmMean(new.users, -new.mean, new.variance), ArmMean(old.users, -old.mean, old.variance), margin
    )
    plain = contrast(new, old, margin, "down")
    assert mirrored.not_worse == pytest.approx(plain.not_worse, rel=1e-9, abs=1e-9)


def test_at_the_margin_a_heavy_tailed_metric_passes_as_often_as_it_may():
    rng = np.random.default_rng(4)
    z = []
    for _ in range(2_000):
        old = rng.exponential(1.0, 200)
        new = rng.exponential(0.7, 200)
        arms = [ArmMean(200, float(one.mean()), float(one.var(ddof=1))) for one in (new, old)]
        z.append(contrast(arms[0], arms[1], 0.3).not_worse)
    assert np.mean(np.array(z) > 1.645) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2_000)


@pytest.mark.parametrize(("users", "mean", "variance"), [(1, 0, 1), (5, math.nan, 1), (5, 0, -1), (5, 0, math.inf)])
def test_an_arm_that_is_none_is_refused(users, mean, variance):
    with pytest.raises(LaunchError) as refused:
        ArmMean(users, mean, variance)
    assert refused.value.code == "launch-005"


def test_a_metric_that_never_varies_is_refused():
    with pytest.raises(LaunchError) as refused:
        contrast(ArmMean(5, 1, 0), ArmMean(5, 1, 0), 0.1)
    assert refused.value.code == "launch-006"


@pytest.mark.parametrize("margin", [0.0, -0.1, 1.0, math.nan])
def test_a_margin_of_nothing_is_refused(margin):
    with pytest.raises(LaunchError) as refused:
        contrast(NEW, OLD, margin)
    assert refused.value.code == "launch-007"
    with pytest.raises(LaunchError):
        equal_within(NEW, OLD, 1.0, 1.0)
