"""Caps hold for every place, quotas are met as far as they can be, spacing yields last, and chances are exactly those logged."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.request import Pool, Request, Unmet
from mainstem.control.slate import Quota, SlateRules, SurfaceControl
from mainstem.control.slate_kernel import fill
from mainstem.control.slate_plain import fill_plainly
from mainstem.control.slate_task import NO_VARIETY, SlateTask
from mainstem.testing.slate_tasks import random_task

EMPTY = np.empty(0)


def task(
    score, count, *, codes=(), caps=(), gaps=(), members=(), least=(), hard=None, price=0.0, share=0.0, draws=None
):
    n = len(score)
    return SlateTask(
        count, np.asarray(score, float), NO_VARIETY, 1.0, EMPTY, EMPTY, np.empty(0, np.int32),
        np.empty((0, 0), np.float32), np.asarray(codes, np.int32).reshape(-1, n), np.asarray(caps, np.int64),
        np.asarray(gaps or [0] * len(caps), np.int64), np.asarray(members, bool).reshape(-1, n),
        np.asarray(least, np.int64), len(least) if hard is None else hard, price, share,
        np.zeros((2, 0)) if draws is None else draws,
    )  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(seed=st.integers(0, 2**40))
def test_no_slate_breaks_a_cap_whatever_else_is_asked_of_it(seed):
    made = random_task(np.random.default_rng(seed))
    filled = fill(made)
    assert len(set(filled.slate.tolist())) == len(filled.slate) <= made.count
    for codes, cap in zip(made.codes, made.caps, strict=True):
        shown = codes[filled.slate]
        assert cap == 0 or np.bincount(shown[shown > 0], minlength=1).max() <= cap
    assert ((filled.propensities > 0) & (filled.propensities <= 1)).all()


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 2**40))
def test_spacing_holds_wherever_it_is_not_told_to_have_yielded(seed):
    made = random_task(np.random.default_rng(seed))
    filled = fill(made)
    for at, gap in enumerate(made.gaps.tolist()):
        shown = made.codes[at][filled.slate].tolist()
        near = sum(
            any(code > 0 and code == above for above in shown[max(0, place - gap) : place])
            for place, code in enumerate(shown)
        )
        assert near == filled.crowded[at]


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**40))
def test_one_quota_under_one_cap_gets_all_the_places_it_can(seed):
    """Against every slate there is: no set of allowed candidates of that size holds more members."""
    random = np.random.default_rng(seed)
    n, count, cap, least = 9, int(random.integers(1, 6)), int(random.integers(1, 3)), int(random.integers(1, 6))
    codes, members = random.integers(1, 4, n), random.random(n) < 0.4
    score = np.sort(random.normal(size=n))[::-1]
    filled = fill(task(score, count, codes=codes, caps=[cap], members=members, least=[least]))
    k = len(filled.slate)
    most = max(
        int(members[list(chosen)].sum())
        for chosen in combinations(range(n), k)
        if np.bincount(codes[list(chosen)]).max() <= cap
    )
    assert members[filled.slate].sum() >= min(least, most)


def test_spacing_yields_before_a_place_stays_empty_and_not_earlier():
    both = fill(task([5, 4, 3, 2], 4, codes=[1, 1, 2, 2], caps=[0], gaps=[1]))
    assert both.slate.tolist() == [0, 2, 1, 3]
    assert both.crowded.tolist() == [0]
    one = fill(task([5, 4, 3], 3, codes=[1, 1, 1], caps=[0], gaps=[2]))
    assert one.slate.tolist() == [0, 1, 2]
    assert one.crowded.tolist() == [2]


def test_a_soft_quota_is_met_while_a_place_costs_little():
    made = task([9, 8, 7, 6.5, 1], 3, members=[0, 0, 0, 1, 1], least=[2], hard=0, price=1.0)
    assert fill(made).slate.tolist() == [0, 1, 3]
    assert fill(replace(made, soft_price=8.0)).slate.tolist() == [0, 4, 3]
    assert fill(replace(made, soft_price=0.1)).slate.tolist() == [0, 1, 2]
    assert fill(replace(made, hard=1)).slate.tolist() == [0, 4, 3]


CHANCES = {
    "free": task([6, 5, 4, 3, 2, 1], 3, share=0.5),
    "capped": task([6, 5, 4, 3, 2, 1], 3, codes=[1, 2, 2, 1, 3, 2], caps=[1], share=0.4),
    "spaced": task([6, 5, 4, 3, 2, 1], 4, codes=[1, 2, 3, 1, 2, 1], caps=[0], gaps=[1], share=0.6),
    "quota": task([6, 5, 4, 3, 2, 1], 3, members=[0, 0, 0, 1, 1, 0], least=[1], share=0.5),
    "refused": task([6, 5, 4, 3], 3, codes=[1, 2, 3, 3], caps=[1], members=[0, 1, 0, 0], least=[1], share=0.3),
    "nobody": task([6, 5, 4], 3, share=0.5),
}


@pytest.mark.parametrize("name", CHANCES)
@pytest.mark.parametrize("passes", [fill, fill_plainly])
def test_the_chances_of_all_slates_add_up_to_one_and_are_those_with_which_they_come(name, passes):
    """A slate's places are decided one after another, so its chance is the product of what was logged for each."""
    random = np.random.default_rng(3)
    times = 6000 if passes is fill else 1500
    seen: dict[tuple[int, ...], int] = {}
    told: dict[tuple[int, ...], float] = {}
    for _ in range(times):
        made = CHANCES[name]
        filled = passes(replace(made, draws=random.random((2, made.count))))
        slate = tuple(filled.slate.tolist())
        seen[slate] = seen.get(slate, 0) + 1
        chance = float(np.prod(filled.propensities))
        assert told.setdefault(slate, chance) == chance
    assert math.fsum(told.values()) == pytest.approx(1.0, abs=0.01 if passes is fill_plainly else 1e-9)
    for slate, chance in told.items():
        assert abs(seen[slate] / times - chance) < 4.5 * math.sqrt(chance * (1 - chance) / times) + 1e-12


def control(rules: SlateRules, n=60, **more) -> SurfaceControl:
    random = np.random.default_rng(5)
    creators, categories = np.append(random.integers(1, 9, n), 0), np.append(random.integers(1, 5, n), 0)
    vectors = random.normal(size=(n + 1, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[-1] = 0
    return SurfaceControl({"feed": ()}, {"feed": rules}, creators, categories, 7, vectors=vectors, **more)


def asked(count, request_id=1, n=60, mask=0):
    masks = np.broadcast_to(np.asarray(mask, np.uint32), n).copy()
    return (
        Request(request_id, 1, "feed", 0, count),
        None,
        Pool(np.arange(n), masks, np.zeros(n)),
        -np.arange(n, dtype=float),
    )


@pytest.mark.parametrize("share", [0.05, 0.4])
def test_over_many_requests_each_place_explores_as_often_as_declared_and_weights_average_one(share):
    layer = control(SlateRules(creator_cap=2, variety=0.8, exploration_share=share))
    explored, weights, places = 0, 0.0, 0
    for request_id in range(1500):
        chosen = layer.select(*asked(8, request_id))
        by_chance = {at for rule, at, effect in chosen.fired if (rule, effect) == ("exploration", "promoted")}
        for at, chance in zip(chosen.order[1:].tolist(), chosen.propensities[1:].tolist(), strict=True):
            explored += at in by_chance
            weights += 1.0 / chance if at not in by_chance else 0.0
            places += 1
    error = 4 * math.sqrt(share * (1 - share) / places)
    assert explored / places == pytest.approx(share, abs=error)
    assert weights / places == pytest.approx(1.0, abs=4 * math.sqrt(share / (1 - share) / places))


def test_what_cannot_be_met_is_met_as_far_as_possible_and_told():
    mask = np.zeros(60)
    mask[[40, 50]] = 1
    rules = SlateRules(quotas=(Quota("fresh", 3, 0), Quota("absent", 1)))
    chosen = control(rules).select(*asked(5, mask=mask))
    assert {40, 50} <= set(chosen.order.tolist())
    assert chosen.unmet == (
        Unmet("quota", "fresh", 3, 2, "only 2 candidates belong to it"),
        Unmet("quota", "absent", 1, 0, "only 0 candidates belong to it"),
    )


def test_a_slate_that_is_shorter_than_asked_for_says_why():
    assert control(SlateRules()).select(*asked(9, n=4)).unmet == (
        Unmet("count", "slate", 9, 4, "there are no more candidates"),
    )
    short = control(SlateRules(creator_cap=1)).select(*asked(20))
    assert short.unmet == (Unmet("count", "slate", 20, 8, "caps leave no other candidate"),)
    assert control(SlateRules(exploration_share=0.5)).select(*asked(5, n=0)).order.tolist() == []


def test_rules_stand_in_the_order_in_which_they_are_applied():
    rules = SlateRules(
        creator_cap=1, caps=(("category", 2),), spacing=(("category", 1),), quotas=(Quota("a", 1, 0), Quota("b", 1, 1)),
        soft_quotas=(Quota("c", 1, 1),), soft_price=1.0, variety=0.5, exploration_share=0.1,
    )  # fmt: skip
    layer = control(rules)
    assert layer.rules == (
        "variety", "creator_cap", "category_cap", "category_spacing", "quota", "soft_quota", "exploration",
    )  # fmt: skip
    assert layer.parts("feed")[4:6] == ("quota:a", "quota:b")


def test_a_cap_outranks_a_quota_and_a_quota_outranks_chance():
    mask = np.zeros(60)
    layer = control(SlateRules(creator_cap=1, quotas=(Quota("one", 2, 0),), exploration_share=0.5))
    creators = layer._codes["creator"]
    mask[np.flatnonzero(creators[:60] == creators[59])] = 1
    for request_id in range(40):
        chosen = layer.select(*asked(4, request_id, mask=mask))
        assert mask[chosen.order].sum() == 1
        assert chosen.unmet[0].why == "one more place breaks a cap or a quota before it"


class Lift:
    name = "lift"

    def boost(self, request, user, pool, values):
        return np.where(pool.rows == 30, 100.0, 0.0)


def test_a_boost_moves_the_order_and_not_the_value_and_can_be_switched_off():
    layer = control(SlateRules(), boosts={"feed": (Lift(),)})
    chosen = layer.select(*asked(3))
    assert chosen.order.tolist() == [30, 0, 1]
    assert chosen.fired[:2] == (("lift", 30, "promoted"), ("lift", 2, "demoted"))
    assert layer.without("lift").select(*asked(3)).order.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["discount", "determinantal", "sliding_spectrum"])
def test_values_that_are_not_numbers_come_last_and_break_nothing(kind):
    request, user, pool, values = asked(6)
    values = values.copy()
    values[:55] = np.nan
    values[10:20] = -np.inf
    chosen = control(SlateRules(variety=0.5, variety_by=kind)).select(request, user, pool, values)
    assert np.isfinite(values[chosen.order]).tolist() == [True] * 5 + [False]


class Drops:
    def __init__(self, name, rows, *, ranks=False):
        self.name, self.rows, self.ranks = name, rows, ranks

    def removes(self, request, user, pool):
        return np.arange(len(pool.rows)) > 0 if self.ranks else np.isin(pool.rows, self.rows)


def test_a_filter_that_compares_candidates_sees_only_those_that_are_left():
    layer = SurfaceControl(
        {"feed": (Drops("first", [0, 1]), Drops("best", [], ranks=True))}, {"feed": SlateRules()},
        np.zeros(61, int), np.zeros(61, int), 1,
    )  # fmt: skip
    chosen = layer.select(*asked(5))
    assert chosen.order.tolist() == [2]
    assert (chosen.removed_by == 3).sum() == 2
