import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln, gammaln

from mainstem.base.errors import LaunchError
from mainstem.launch.sample_ratio import check_sample_ratio, check_segments, log_e_value, ratios_of


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_two_equal_arms_are_the_beta_binomial(x, y):
    told = betaln(10_000 + x, 10_000 + y) - betaln(10_000, 10_000) - (x + y) * np.log(0.5)
    assert log_e_value([x, y], [0.5, 0.5], [20_000.0]) == pytest.approx(told, abs=1e-6)


def test_under_the_declared_shares_its_mean_is_one():
    x = np.arange(401)
    chance = np.exp(gammaln(401) - gammaln(x + 1) - gammaln(401 - x) + x * np.log(0.3) + (400 - x) * np.log(0.7))
    assert chance @ np.exp(log_e_value(np.stack([x, 400 - x], 1), [0.3, 0.7])) == pytest.approx(1.0, abs=1e-9)


def test_a_small_experiment_that_lost_a_third_of_an_arm_is_seen():
    """Drawn to the shares as strongly as 20,000 users alone, it was not: e-value 8 where chance is one in 10^12."""
    assert check_sample_ratio([1_000, 700], [0.5, 0.5]).alarm
    assert not check_sample_ratio([860, 840], [0.5, 0.5]).alarm


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


DAY_MS = 86_400_000


def arrived(lost: float = 0.0, users: int = 60_000, seed: int = 3) -> pl.DataFrame:
    """Units of two equal arms over seven days; on android this share of the new arm's exposures is lost, from day 3 to 4."""
    rng = np.random.default_rng(seed)
    since = rng.integers(0, 7 * DAY_MS, users)
    day = since // DAY_MS + 1
    new, android = rng.random(users) < 0.5, rng.random(users) < 0.3
    gone = new & android & np.isin(day, [3, 4]) & (rng.random(users) < lost)
    return pl.DataFrame(
        {
            "unit": np.arange(users),
            "arm": np.where(new, "treatment", "control"),
            "since_ms": since,
            "platform": np.where(android, "android", "ios"),
        }
    ).filter(~gone)


def test_each_day_and_platform_has_its_ratio_and_a_healthy_log_alarms_nowhere():
    found = ratios_of(arrived(), {"control": 0.5, "treatment": 0.5}, ["platform"])
    assert [one.segment for one in found] == [
        "all",
        *(f"day {k}" for k in range(1, 8)),
        "platform android",
        "platform ios",
    ]
    assert not any(one.alarm for one in found)
    assert sum(found[0].counts) == 60_000
    assert [one.alarm_at for one in found] == [3_000, *[21_000] * 7, *[6_000] * 2]


def test_a_fault_of_two_days_on_one_platform_is_found_there_and_the_alarm_stays():
    found = {one.segment: one for one in ratios_of(arrived(lost=0.6), {"control": 0.5, "treatment": 0.5}, ["platform"])}
    assert found["platform android"].alarm
    assert not found["platform ios"].alarm
    assert found["day 3"].observed[1] < found["day 1"].observed[1] - 0.03
    table = arrived(lost=0.6)
    late = pl.concat(
        [table, *[arrived(users=300_000, seed=9).with_columns(since_ms=pl.lit(8 * DAY_MS, dtype=pl.Int64))] * 5]
    )
    again = {one.segment: one for one in ratios_of(late, {"control": 0.5, "treatment": 0.5}, ["platform"])}
    assert again["platform android"].alarm
    assert again["platform android"].log_e < found["platform android"].log_e


def test_units_without_what_is_counted_are_refused():
    for table, parts in ((arrived(), ["country"]), (arrived().filter(arm="holdback"), []), (arrived().drop("arm"), [])):
        with pytest.raises(LaunchError) as refused:
            ratios_of(table, {"control": 0.5, "treatment": 0.5}, parts)
        assert refused.value.code == "launch-113"
