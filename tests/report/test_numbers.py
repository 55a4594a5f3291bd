"""How numbers read: each kind by its one rule."""

from __future__ import annotations

import math

import pytest

from mainstem.report import numbers


def found(low: float, mid: float, high: float) -> dict[str, float]:
    return {"low": low, "mid": mid, "high": high}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (found(0.004, 0.008, 0.012), "+0.008 (+0.004…+0.012)"),
        (found(-0.011, 0.0084, 0.027), "+0.008 (−0.011…+0.027)"),
        (found(0.0002, 0.0081, 0.012), "+0.0081 (+0.0002…+0.0120)"),
        (found(-0.00004, 0.0081, 0.012), "+0.00810 (−0.00004…+0.01200)"),
        (found(0.0, 0.01, 0.02), "+0.010 (0.000…+0.020)"),
        (None, "–"),
        (found(math.nan, math.nan, math.nan), "–"),
    ],
)
def test_a_difference_never_hides_the_side_of_zero_its_bounds_are_on(given, told) -> None:
    assert numbers.interval(given) == told


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (0, "0 %"), (1, "100 %"), (0.0002, "< 0.1 %"), (0.9999, "> 99.9 %"), (0.01, "1 %"), (0.034, "3.4 %"), (0.5, "50 %"),
        (0.994, "99.4 %"), (-0.009, "−0.9 %"), (None, "–"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_a_share_is_only_0_or_100_when_it_is(share, told) -> None:
    assert numbers.share(share).replace("\u00a0", " ") == told


def test_other_kinds() -> None:
    assert numbers.metric(0.59456) == "0.5946"
    assert numbers.level(found(0.59, 0.6, 0.61)) == "0.6000 (0.5900…0.6100)"
    assert numbers.count(1234567) == "1\u202f234\u202f567"
    assert numbers.value(-0.0012345) == "−0.001234"
    assert numbers.value(6.536e-05) == "0.00006536"
    assert numbers.value(math.inf) == "∞"
    assert numbers.milliseconds(12.34) == "12.3\u00a0ms"
    assert numbers.duration_s(84.31) == "84.3\u00a0s"
    assert numbers.duration_s(180) == "3.0\u00a0min"
    assert numbers.days((20220430, 20220429)) == "2022-04-29 to 2022-04-30"
    assert numbers.dated("on 20220429–20220430 and 20221399") == "on 2022-04-29 to 2022-04-30 and 20221399"
    assert numbers.listed(["a", "b", "c"]) == "a, b and c"
    assert numbers.listed(["a"]) == "a"
    assert numbers.moment(1_650_812_741_436) == "2022-04-24 15:05:41 UTC"


def test_a_relative_change_is_told_in_percent_and_keeps_its_bounds_on_their_side_of_0() -> None:
    assert numbers.change({"low": -0.002, "mid": 0.0041, "high": 0.0102}) == "+0.41\u00a0% (−0.20…+1.02)"
    assert numbers.change({"low": 0.00001, "mid": 0.0041, "high": 0.0102}) == "+0.410\u00a0% (+0.001…+1.020)"
    assert numbers.change(None) == numbers.NONE
