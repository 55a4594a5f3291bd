import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.planner import (
    Measured,
    Traffic,
    Wish,
    arm_users,
    growth_of,
    plan_launch,
    surface_margins,
    users_per_arm,
)

CLICKS = Measured("clicks", 0.005, 1.02, 0.37)
STEPS = ((0.0, 168.0), (0.01, 24.0), (0.05, 48.0), (0.25, 72.0), (0.5, 168.0))


def test_the_users_of_a_known_case():
    # Research table: 692k users an arm at inflation 1.09, three metrics, no reserve.
    assert users_per_arm(CLICKS, Wish(reserve=0.0), tests=3) == pytest.approx(692_000, rel=0.02)


def test_neutral_costs_about_a_fifth_more():
    alone, both = users_per_arm(CLICKS, Wish(), tests=3), users_per_arm(CLICKS, Wish(neutral=True), tests=3)
    assert both / alone == pytest.approx(1.18, abs=0.02)


@given(st.floats(1e3, 1e7), st.floats(0.1, 1.0), st.floats(0.5, 28))
def test_days_and_users_are_each_others_inverse(daily, growth, days):
    traffic = Traffic(daily, growth)
    assert traffic.days(traffic.users(days)) == pytest.approx(days)


def test_a_margin_out_of_reach_is_refused_and_the_reachable_one_can_be_had():
    small = {"groups": Traffic(50_000)}
    with pytest.raises(LaunchError) as refused:
        plan_launch([CLICKS], small, STEPS)
    assert refused.value.code == "launch-016"
    assert "clicks on groups" in refused.value.message
    kept = plan_launch([CLICKS], {"groups": Traffic(2e7)}, STEPS).needs[0]
    assert kept.days == 7.0
    told = float(refused.value.message.split("reachable is ")[1].split("%")[0]) / 100
    eased = Measured("clicks", told * 1.01, 1.02, 0.37)
    assert plan_launch([eased], small, STEPS).days == pytest.approx(28, rel=0.05)


def test_more_surfaces_and_two_legacy_stacks_need_more():
    metric = Measured("clicks", 0.02, 1.0)
    one = plan_launch([metric], {"feed": Traffic(1e6)}, STEPS).needs[0].users_per_arm
    both = plan_launch([metric], {"feed": Traffic(1e6), "pages": Traffic(1e6)}, STEPS).needs[0].users_per_arm
    carried = {"feed": {"content-first": 0.7, "interest-first": 0.3}}
    legacy = plan_launch([metric], {"feed": Traffic(1e5)}, STEPS, carried=carried)
    assert one < both == legacy.needs[0].users_per_arm
    assert [one.legacy for one in legacy.needs] == ["content-first", "interest-first"]
    assert legacy.needs[0].days < legacy.needs[1].days


def test_later_steps_see_smaller_harm():
    found = plan_launch([Measured("clicks", 0.02, 0.81)], {"feed": Traffic(1e6)}, STEPS).steps
    harm = [one.visible_harm for one in found]
    assert harm == sorted(harm, reverse=True)
    assert harm[0] == pytest.approx(0.05, abs=0.01)


def test_the_smallest_surface_is_held_to_a_margin_it_can_show():
    margins = surface_margins(np.array([0.001] * 7 + [0.004]), Wish(reserve=0.0))
    assert margins[-1] / 0.004 == pytest.approx(1.6449 + 2.2414, abs=1e-3)


def test_growth_is_read_from_a_log_of_users():
    assert growth_of(1e5 * np.arange(1, 29) ** 0.6) == pytest.approx(0.6)
    assert growth_of([10, 20, 30]) == pytest.approx(1.0)


def test_a_ramp_s_first_steps_bring_few_users_and_its_days_count():
    traffic = Traffic(1e5)
    assert arm_users(traffic, STEPS, 0.5) == pytest.approx(0.01 * 5e4)
    assert arm_users(traffic, STEPS, 2.0) == pytest.approx(0.01 * traffic.users(2) + 0.04 * traffic.users(1))
    halves = arm_users(traffic, [(0.5, 24.0), (0.95, 24.0)], 10)
    assert halves == pytest.approx(0.5 * traffic.users(10))
    assert arm_users(traffic, STEPS, 10) < halves
    metric, traffic = Measured("clicks", 0.02, 1.0), Traffic(2e4)
    slow = plan_launch([metric], {"feed": traffic}, STEPS).days
    assert slow > plan_launch([metric], {"feed": traffic}, [(0.5, 168.0)]).days
    assert arm_users(traffic, STEPS, slow) == pytest.approx(
        plan_launch([metric], {"feed": traffic}, STEPS).needs[0].users_per_arm
    )


def test_windows_and_households_take_longer():
    traffic = {"feed": Traffic(2e4)}
    plain = plan_launch([Measured("back", 0.02, 1.0)], traffic, STEPS).needs[0]
    window = plan_launch([Measured("back", 0.02, 1.0, window_days=3)], traffic, STEPS).needs[0]
    homes = plan_launch([Measured("back", 0.02, 1.0, users_a_unit=1.2)], traffic, STEPS).needs[0]
    assert window.days == pytest.approx(plain.days + 3)
    assert homes.users_per_arm == pytest.approx(1.2 * plain.users_per_arm)
    with pytest.raises(LaunchError, match="its window alone is longer"):
        plan_launch([Measured("back", 0.02, 1.0, window_days=40)], traffic, STEPS)


def test_what_false_alarms_stop_is_made_up_for():
    free = Wish(false_pause=1e-9, false_rollback=1e-9)
    for tests in (1, 3):
        paid = users_per_arm(CLICKS, Wish(), tests=tests) / users_per_arm(CLICKS, free, tests=tests)
        assert paid == pytest.approx(1.023, abs=0.003)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Measured("x", 0.01, math.inf),
        lambda: Measured("x", 0.01, 1.0, r2=1.0),
        lambda: Traffic(0.0),
        lambda: Traffic(10.0, 1.5),
        lambda: Wish(reserve=0.05),
        lambda: users_per_arm(CLICKS, Wish(), true_change=-0.01),
        lambda: plan_launch([CLICKS], {"feed": Traffic(1e9)}, [(1.0, 24.0)]),
        lambda: plan_launch([], {"feed": Traffic(1e9)}, STEPS),
        lambda: surface_margins([]),
        lambda: growth_of([5.0]),
    ],
)
def test_numbers_that_no_plan_has_are_refused(call):
    with pytest.raises(LaunchError) as refused:
        call()
    assert refused.value.code == "launch-017"
