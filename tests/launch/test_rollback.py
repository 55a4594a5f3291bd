import numpy as np
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.rollback import Budgets, first_alarm


def test_a_whole_ramp_of_eight_metrics_is_hardly_ever_rolled_back_for_nothing():
    rng = np.random.default_rng(8)
    hours = np.arange(1, 505)
    bound = Budgets(8).rollback_bound(hours / 504)
    z = rng.standard_normal((1_500, 8, 504)).cumsum(-1) / np.sqrt(hours)
    assert (z > bound).any((1, 2)).mean() <= 0.01 + 3 * np.sqrt(0.01 * 0.99 / 1_500)


def test_large_harm_is_found_within_hours_and_small_harm_by_the_daily_test():
    days = np.arange(1, 22) / 21
    budgets = Budgets(8)
    assert first_alarm(-30.0 * np.sqrt(days), budgets.rollback_bound(days)) == 0
    assert first_alarm(-3.05 * np.sqrt(days), budgets.rollback_bound(days)) is None
    assert first_alarm(-3.05 * np.sqrt(days), budgets.pause_bound(days)) is not None


def test_gain_is_no_harm():
    days = np.arange(1, 22) / 21
    assert first_alarm(30.0 * np.sqrt(days), Budgets(8).rollback_bound(days)) is None


def test_every_metric_more_makes_both_bounds_wider():
    at = np.arange(1, 8) / 7
    few, many = Budgets(1), Budgets(8)
    assert (many.rollback_bound(at) > few.rollback_bound(at)).all()
    assert (many.pause_bound(at) > few.pause_bound(at)).all()


def test_budgets_and_evidence_that_are_none_are_refused():
    with pytest.raises(LaunchError) as refused:
        Budgets(0)
    assert refused.value.code == "launch-008"
    with pytest.raises(LaunchError) as refused:
        Budgets(1, false_rollback=0.0)
    assert refused.value.code == "launch-002"
    with pytest.raises(LaunchError) as refused:
        first_alarm([0.0, np.nan], [1.0, 1.0])
    assert refused.value.code == "launch-009"
