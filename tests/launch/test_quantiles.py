"""Quantiles with intervals over users hold the truth as often as they say; intervals over requests would not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.quantiles import Measurements, quantile_effects


def made(users: int, seed: int, slower: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(users), 1 + rng.poisson(5, users))
    own = rng.normal(0, 0.4, users)[units]
    return slower * np.exp(4.5 + own + rng.normal(0, 0.3, len(units))), units


QUANTILES = (0.5, 0.9, 0.99)


def test_intervals_over_users_hold_the_truth():
    # User and request noise are both normal on the log scale, so the mixture's quantiles are known.
    from scipy.stats import norm

    truth = np.array([math.exp(4.5 + 0.5 * norm.ppf(one)) for one in QUANTILES])
    runs, held, apart, by_request = 300, np.zeros(3), np.zeros(3), 0
    for seed in range(runs):
        old, new = made(400, seed), made(400, 10_000 + seed)
        effects = quantile_effects(Measurements(*old), Measurements(*new), QUANTILES)
        held += [one.control.low <= true <= one.control.high for one, true in zip(effects, truth, strict=True)]
        apart += [one.difference.low <= 0 <= one.difference.high for one in effects]
        naive = Measurements(old[0], np.arange(len(old[0]))).interval(0.5)
        by_request += naive.low <= truth[0] <= naive.high
    # Four standard deviations of 300 draws at .95 are .05.
    assert np.all(np.abs(held / runs - 0.95) < 0.05), held / runs
    assert np.all(np.abs(apart / runs - 0.95) < 0.05), apart / runs
    assert by_request / runs < 0.85


def test_a_slower_stack_is_seen_in_its_tail():
    effects = quantile_effects(Measurements(*made(2000, 1)), Measurements(*made(2000, 2, slower=1.2)), QUANTILES)
    assert all(one.difference.low > 0 for one in effects)
    assert effects[2].difference.mid > effects[0].difference.mid


def test_the_order_of_rows_changes_nothing():
    values, units = made(300, 4)
    order = np.random.default_rng(1).permutation(len(values))
    assert Measurements(values, units).interval(0.9) == Measurements(values[order], units[order]).interval(0.9)


def test_the_quantile_is_numpys_and_beyond_the_data_it_is_unknown():
    values, units = made(50, 5)
    found = Measurements(values, units)
    for share in (0.01, 0.5, 0.99):
        assert found.at(share) == np.quantile(values, share, method="inverted_cdf")
    assert found.interval(0.999).high == math.inf


@pytest.mark.parametrize(
    ("values", "units", "code"),
    [
        ([1.0, math.nan] * 20, range(40), "launch-067"),
        ([1.0] * 40, range(39), "launch-067"),
        ([1.0] * 40, [1] * 40, "launch-068"),
        ([], [], "launch-068"),
    ],
)
def test_what_has_no_quantile_is_refused(values, units, code):
    with pytest.raises(LaunchError) as refused:
        Measurements(np.array(values, np.float64), np.array(units))
    assert refused.value.code == code


def test_a_quantile_in_percent_is_refused():
    found = Measurements(*made(50, 6))
    with pytest.raises(LaunchError) as refused:
        quantile_effects(found, found, (99,))
    assert refused.value.code == "launch-067"


def test_the_difference_joins_the_sides_that_face_each_other():
    (one,) = quantile_effects(Measurements(*made(300, 7)), Measurements(*made(300, 8)), (0.99,))
    old, new, both = one.control, one.treatment, one.difference
    assert both.mid == new.mid - old.mid
    assert (both.mid - both.low) ** 2 == pytest.approx((new.mid - new.low) ** 2 + (old.high - old.mid) ** 2)
    assert (both.high - both.mid) ** 2 == pytest.approx((new.high - new.mid) ** 2 + (old.mid - old.low) ** 2)


def test_a_figure_holds_its_error_and_what_each_unit_has_to_do_with_it():
    found = Measurements(*made(800, 7))
    figure = found.figure(0.9)
    within = found.interval(0.9)
    assert (figure.pulls**2).sum() == pytest.approx(figure.error**2)
    assert figure.error == pytest.approx((within.high - within.low) / 2 / 1.96, rel=0.15)
    assert len(figure.units) == len(figure.pulls) == 800


def test_whole_milliseconds_have_an_error_and_what_does_not_vary_has_none():
    values, units = made(400, 8)
    whole, fine = Measurements(np.round(values / 40), units).figure(0.5), Measurements(values / 40, units).figure(0.5)
    assert 0.2 * fine.error < whole.error < 8 * fine.error
    for value, quantile in ((np.ones_like(values), 0.5), (values, 0.9999)):
        with pytest.raises(LaunchError) as refused:
            Measurements(value, units).figure(quantile)
        assert refused.value.code == "launch-110"
