import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.contrast import ArmMean
from mainstem.launch.latency_split import DelayArm, check_slowdown, price_delay, split_latency

ARMS = st.builds(ArmMean, st.integers(2, 10**7), st.floats(0.5, 2), st.floats(0.01, 100))


@given(ARMS, ARMS, ARMS)
def test_the_parts_add_to_the_total(old, matched, new):
    found = split_latency(old, matched, new)
    assert abs(found.latency.mid + found.ranking.mid - found.total.mid) < 1e-12
    total, latency, ranking = found.relative
    assert abs(latency.mid + ranking.mid - total.mid) < 1e-12


def test_the_control_is_shared_and_its_noise_counts():
    found = split_latency(ArmMean(100, 2.0, 4.0), ArmMean(50, 1.9, 4.0), ArmMean(200, 2.1, 4.0))
    reach = (found.latency.high - found.latency.low) / 2
    assert reach == pytest.approx(1.959964 * math.sqrt(0.04 + 0.08), rel=1e-6)
    relative = found.relative[1]
    assert relative.mid == pytest.approx(-0.05)
    assert (relative.high - relative.low) / 2 == pytest.approx(1.959964 * math.sqrt(0.02 + 0.95**2 * 0.01), rel=1e-6)


def test_without_an_old_mean_there_is_no_share():
    assert split_latency(ArmMean(9, 0.0, 1.0), ArmMean(9, 1.0, 1.0), ArmMean(9, 1.0, 1.0)).relative == ()


@pytest.mark.parametrize("curved", [False, True])
def test_whatever_the_response_to_delay_the_truth_is_covered(curved):
    rng = np.random.default_rng(6)
    hit = 0
    for _ in range(600):
        delay = rng.exponential(1.0, (2, 400))
        cost = 0.1 * delay**2 if curved else 0.2 * delay
        old, slow, new = rng.normal(5, 1, 400), rng.normal(5, 1, 400) - cost[0], rng.normal(5.1, 1, 400) - cost[1]
        arms = [ArmMean(400, float(one.mean()), float(one.var(ddof=1))) for one in (old, slow, new)]
        part = split_latency(arms[0], arms[1], arms[2]).latency
        hit += part.low <= -0.2 <= part.high
    assert abs(hit / 600 - 0.95) < 0.03


def test_the_price_of_a_straight_line_is_its_slope_and_a_bent_one_is_told():
    def arms(*means: float) -> list[DelayArm]:
        return [DelayArm(ms, ArmMean(10_000, mean, 1.0)) for ms, mean in zip((0.0, 80.0, 200.0), means, strict=True)]

    straight = price_delay(arms(5.0, 4.92, 4.8))
    assert straight.per_100_ms.mid == pytest.approx(-0.1)
    assert straight.misfit == pytest.approx(0.0, abs=1e-9)
    assert straight.is_straight
    bent = price_delay(arms(5.0, 5.0, 4.0))
    assert bent.misfit_p < 1e-6
    assert not bent.is_straight


def test_two_arms_always_fit_so_nothing_is_claimed():
    found = price_delay([DelayArm(0.0, ArmMean(10, 5.0, 1.0)), DelayArm(100.0, ArmMean(10, 4.0, 1.0))])
    assert found.per_100_ms.mid == pytest.approx(-1.0)
    assert not found.is_straight


def test_arms_without_a_difference_in_delay_are_refused():
    with pytest.raises(LaunchError) as refused:
        price_delay([DelayArm(0.0, ArmMean(10, 5.0, 1.0))] * 2)
    assert refused.value.code == "launch-014"


@pytest.mark.parametrize(("share", "days"), [(0.2, 1), (0.05, 8), (0.0, 1)])
def test_a_slowed_arm_is_small_and_short(share, days):
    check_slowdown(0.1, 7)
    with pytest.raises(LaunchError) as refused:
        check_slowdown(share, days)
    assert refused.value.code == "launch-015"
