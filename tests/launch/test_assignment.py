"""Assignment is a pure function: even, independent over layers, nested over a ramp, exclusive within a layer."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency

from mainstem.base.errors import LaunchError
from mainstem.launch.assignment import (
    CONTROL,
    OUTSIDE,
    TREATMENT,
    Launch,
    Segment,
    block_keys,
    check_layers,
    positions,
    ramp,
    same_on_both,
    shares,
    unit_keys,
)

USERS = np.arange(40_000)
names = st.text("abcdefgh-0123456789", min_size=1, max_size=12)


def test_the_answer_is_the_same_for_ever_and_in_any_process():
    """Golden: a change here moves every user of every running launch."""
    launch = Launch("feed-1", ramp(0.25))
    assert positions("mainstem/launches/feed-1", unit_keys([0, 1, 2])).round(12).tolist() == [
        0.736063325455,
        0.965208869882,
        0.883410998894,
    ]
    assert [launch.arm_of(user) for user in ("ann", "bob", "eve", "zoë")] == ["treatment", "treatment", None, None]
    code = "from mainstem.launch.assignment import Launch, ramp; import zlib; "
    code += "print(zlib.crc32(Launch('feed-1', ramp(0.25)).assign(range(5000)).tobytes()))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {"3033567113\n"}


@given(names)
@settings(max_examples=15)
def test_units_are_spread_evenly(name):
    counts = np.histogram(positions(name, USERS), bins=50, range=(0, 1))[0]
    statistic = ((counts - len(USERS) / 50) ** 2 / (len(USERS) / 50)).sum()
    assert statistic < chi2.isf(1e-7, 49)


@given(names, names)
@settings(max_examples=15)
def test_layers_and_launches_do_not_know_of_each_other(first, second):
    if first == second:
        return
    one = Launch("x", same_on_both(), layer=first).assign(USERS)
    two = Launch("x", same_on_both(), layer=second).assign(USERS)
    table = np.histogram2d(one, two, bins=2)[0]
    assert chi2_contingency(table, correction=False).pvalue > 1e-7


@given(names, st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_who_is_in_stays_in(name, steps):
    ordered = sorted(steps)
    arms = [Launch(name, ramp(share)).assign(USERS[:3000]) for share in ordered]
    for before, after in itertools.pairwise(arms):
        assert np.all(after[before == 0] == 0)


@given(st.floats(0, 0.5))
def test_the_control_is_as_large_as_the_new_arm_and_apart_from_it(share):
    new, old = ramp(share)
    assert (new.arm, old.arm) == (TREATMENT, CONTROL)
    assert old.high - old.low == pytest.approx(new.high, abs=1e-12)
    assert old.low >= new.high


def test_the_holdback_was_control_in_every_step():
    held = Launch("x", ramp(0.95)).assign(USERS) == 1
    for share in (0.05, 0.25, 0.5):
        assert np.all(Launch("x", ramp(share)).assign(USERS)[held] == 1)


@given(st.floats(0.05, 0.95))
def test_launches_of_a_layer_never_share_a_unit(cut):
    one = Launch("one", same_on_both(), high=cut)
    two = Launch("two", same_on_both(), low=cut)
    check_layers([one, two])
    inside = [launch.assign(USERS[:3000]) != OUTSIDE for launch in (one, two)]
    assert not np.any(inside[0] & inside[1])
    assert np.all(inside[0] | inside[1])


def test_slices_that_overlap_are_refused():
    one = Launch("one", same_on_both(), high=0.6)
    with pytest.raises(LaunchError, match="overlap") as refused:
        check_layers([one, Launch("two", same_on_both(), low=0.5)])
    assert refused.value.code == "launch-047"
    check_layers([one, Launch("two", same_on_both(), low=0.5, layer="other")])


@pytest.mark.parametrize(
    "make",
    [
        lambda: ramp(1.2),
        lambda: ramp(0.7, control=0.5),
        lambda: shares({"a": 0.7, "b": 0.7}),
        lambda: Launch("x", ramp(0.1), low=0.5, high=0.5),
        lambda: Launch("x", (Segment("a", 0.0, 0.6), Segment("b", 0.5, 1.0))),
        lambda: block_keys(np.array([1]), 0),
    ],
)
def test_shares_that_do_not_fit_are_refused(make):
    with pytest.raises(LaunchError) as refused:
        make()
    assert refused.value.code == "launch-046"


@pytest.mark.parametrize("units", [[1.5, 2.0], ["a", None], np.array(["2020-01-01"], "datetime64[D]")])
def test_units_without_one_meaning_are_refused(units):
    with pytest.raises(LaunchError) as refused:
        unit_keys(units)
    assert refused.value.code == "launch-048"


def test_text_and_numbers_are_units_and_none_is_fine():
    assert unit_keys([]).shape == (0,)
    assert unit_keys(["7"])[0] != 7
    assert Launch("x", ramp(0.0)).arm_of(1) is None
    assert Launch("x", ramp(1.0)).arm_of("ann") == TREATMENT


def test_time_blocks_are_units():
    hours = np.arange(48, dtype=np.int64) * 3_600_000
    keys = block_keys(hours, 4 * 3_600_000)
    assert len(set(keys.tolist())) == 12
    assert not set(keys.tolist()) & set(block_keys(hours, 4 * 3_600_000, place=1).tolist())
    arms = Launch("surge", same_on_both()).assign(keys)
    assert np.all(arms.reshape(12, 4) == arms.reshape(12, 4)[:, :1])
