"""One unit at a time: the same answers as for a whole table, and who waits on purpose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.assignment import Launch, Segment, origins_of, positions, ramp
from mainstem.launch.one_unit import Line, OneArm, OneOrigin
from mainstem.launch.plan_file import Latency, Metric, Plan, Step
from mainstem.launch.slowed import DOSE, MATCHED, MS_PER_DAY, slowed_arms

UNITS = st.integers(-(2**63), 2**63 - 1)
PLAN = Plan(
    name="one",
    surfaces=["feed", "pages"],
    legacy=["a", "b", "c"],
    metrics={"clicks": Metric(role="primary", column="click", margin=0.01)},
    steps=[Step(share=0.5, hold_hours=1)],
    origins={"feed": {"a": 0.2, "b": 0.0, "c": 0.8}},
)


@given(st.text(max_size=20), UNITS)
def test_a_place_on_a_line_is_that_of_the_array_twin(salt: str, unit: int) -> None:
    assert Line(salt).at(unit) == positions(salt, np.array([unit], np.int64))[0]


@given(st.text(min_size=1, max_size=9), st.floats(0, 1), st.tuples(st.floats(0, 0.9), st.floats(0.05, 0.1)), UNITS)
def test_an_arm_is_that_of_the_array_twin(name: str, share: float, cut: tuple[float, float], unit: int) -> None:
    launch = Launch(name, ramp(share), low=cut[0], high=cut[0] + cut[1])
    for one in (launch, Launch(name, ramp(share))):
        assert OneArm(one).of(unit) == one.arm_of(unit)


@pytest.mark.parametrize("surface", ["feed", "pages"])
def test_an_origin_is_that_of_the_array_twin(surface: str) -> None:
    units = np.arange(3_000) * 7_919
    one = OneOrigin(PLAN, surface)
    assert [one.of(unit) for unit in units.tolist()] == [one.names[code] for code in origins_of(PLAN, surface, units)]


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=6), UNITS)
def test_who_is_in_stays_in_while_the_share_grows(shares: list[float], unit: int) -> None:
    inside = [OneArm(Launch("one", ramp(share))).of(unit) == "treatment" for share in sorted(shares)]
    assert inside == sorted(inside)


@given(st.floats(0.001, 1), st.floats(0.001, 0.1), st.floats(0, 500))
def test_slowed_arms_never_meet_the_arms_of_the_step(share: float, slowed: float, dose: float) -> None:
    arms = slowed_arms(share, Latency(share=slowed, dose_ms=dose), 0, 0)
    Launch("one", (*ramp(share), *arms))  # refuses arms that overlap
    assert [one.arm for one in arms] in ([], [MATCHED], [MATCHED, DOSE])
    assert all(one.high - one.low <= 0.1 + 1e-12 for one in arms)


def test_nobody_is_slowed_for_longer_than_promised_or_after_a_rollback() -> None:
    latency = Latency(share=0.1, days=2.0, dose_ms=100.0)
    assert slowed_arms(0.05, latency, 0, 2 * MS_PER_DAY - 1) == (Segment(MATCHED, 0.5, 0.6), Segment(DOSE, 0.4, 0.5))
    assert slowed_arms(0.05, latency, 0, 2 * MS_PER_DAY) == ()
    assert slowed_arms(0.05, latency, 10, 0) == ()  # another clock
    assert slowed_arms(0.0, latency, 0, 1) == ()
    assert slowed_arms(0.45, latency, 0, 1) == ()
    assert slowed_arms(0.05, latency, None, 1) == ()
    assert slowed_arms(0.05, Latency(), 0, 1) == ()
    with pytest.raises(LaunchError, match="slowed arm"):
        slowed_arms(0.05, Latency(share=0.2), 0, 1)
