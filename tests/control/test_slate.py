"""No slate breaks a cap, everything not shown has a reason, and chance is logged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.request import FIRST_RULE, KEPT, SCORED_TOO_LOW, Pool, Request
from mainstem.control.filters import FINE, UNKNOWN, VIOLATING, Integrity, Originals, Seen
from mainstem.control.slate import SlateRules, SurfaceControl

ITEMS = 60


class Nobody:
    def seen_rows(self, user, last):
        return np.asarray(user[:last], np.int64)


def control(rules: SlateRules, creators=None, categories=None, filters=(), seed=7) -> SurfaceControl:
    creators = np.append(np.arange(ITEMS) if creators is None else np.asarray(creators), -1) + 1
    categories = np.append(np.full(ITEMS, -1) if categories is None else np.asarray(categories), -1) + 1
    return SurfaceControl({"feed": tuple(filters)}, {"feed": rules}, creators, categories, seed)


def ask(count=5, request_id=1, failures=()) -> Request:
    return Request(request_id, 1, "feed", 0, count, failures=frozenset(failures))


def pool(n=ITEMS, mask=None) -> Pool:
    return Pool(np.arange(n), np.zeros(n, np.uint32) if mask is None else np.asarray(mask, np.uint32), np.zeros(n))


def test_without_rules_the_slate_is_the_highest_values_and_ties_go_to_the_smaller_row():
    values = np.array([1.0, 3.0, 3.0, 0.0, 2.0])
    chosen = control(SlateRules()).select(ask(3), [], pool(5), values)
    assert chosen.order.tolist() == [1, 2, 4]
    assert chosen.removed_by.tolist() == [SCORED_TOO_LOW, KEPT, KEPT, SCORED_TOO_LOW, KEPT]
    assert chosen.propensities.tolist() == [1, 1, 1]


@settings(deadline=None, max_examples=150)
@given(data=st.data(), seed=st.integers(0, 2**31), count=st.integers(1, 12), cap=st.integers(1, 3))
def test_no_slate_breaks_the_creator_cap_or_shows_an_item_twice(data, seed, count, cap):
    random = np.random.default_rng(seed)
    n = data.draw(st.integers(0, ITEMS))
    creators = random.integers(0, 8, ITEMS)
    rules = SlateRules(creator_cap=cap, quotas=((0, 2), (1, 3)), variety=0.7, exploration_share=0.4)
    chosen = control(rules, creators, random.integers(-1, 4, ITEMS)).select(
        ask(count, request_id=seed), [], pool(n, random.integers(0, 4, n)), random.normal(size=n)
    )
    assert len(set(chosen.order.tolist())) == len(chosen.order) <= count
    if len(chosen.order):
        assert np.bincount(creators[chosen.order]).max() <= cap
    assert set(np.flatnonzero(chosen.removed_by == KEPT)) == set(chosen.order.tolist())
    assert ((chosen.propensities > 0) & (chosen.propensities <= 1)).all()


def test_a_quota_is_met_when_its_source_has_candidates_and_exploration_cannot_break_it():
    mask = np.zeros(ITEMS)
    mask[50:] = 1
    values = -np.arange(ITEMS, dtype=float)
    for request_id in range(50):
        rules = SlateRules(quotas=((0, 3),), exploration_share=0.5)
        chosen = control(rules).select(ask(6, request_id), [], pool(mask=mask), values)
        assert (chosen.order >= 50).sum() >= 3
        assert chosen.order[0] == 0


def test_variety_lifts_another_category_and_says_so():
    values = np.array([1.0, 0.99, 0.98, 0.9, 0.0])
    chosen = control(SlateRules(variety=0.5), categories=np.r_[[0, 0, 0, 1, 2], np.full(ITEMS - 5, -1)]).select(
        ask(2), [], pool(5), values
    )
    assert chosen.order.tolist() == [0, 3]
    assert ("variety", 3, "promoted") in chosen.fired


def test_exploration_is_fixed_by_the_request_and_happens_as_often_as_declared():
    rules = SlateRules(exploration_share=0.1)
    values = -np.arange(ITEMS, dtype=float)
    explored = 0
    for request_id in range(400):
        one = control(rules).select(ask(11, request_id), [], pool(), values)
        again = control(rules).select(ask(11, request_id), [], pool(), values)
        assert one.order.tolist() == again.order.tolist()
        explored += int((one.propensities < 0.5).sum())
    assert explored / 4000 == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("closed", "failing", "shown"),
    [(True, False, [0]), (False, False, [0, 2]), (True, True, []), (False, True, [0, 1, 2])],
)
def test_a_failed_safety_lookup_does_what_the_surface_declares(closed, failing, shown):
    rule = Integrity(np.array([FINE, VIOLATING, UNKNOWN, UNKNOWN], np.int8), closed=closed)
    chosen = control(SlateRules(), filters=[rule]).select(
        ask(5, failures=["safety"] if failing else []), [], pool(3), np.array([3.0, 2.0, 1.0])
    )
    assert chosen.order.tolist() == shown
    assert {name for name, _, _ in chosen.fired} <= {"integrity"}


def test_what_was_seen_and_worse_reposts_are_removed_with_the_rule_named():
    canonical = np.arange(ITEMS)
    canonical[3] = 2
    filters = [Seen(Nobody(), last=2, catalog_size=ITEMS), Originals(canonical)]
    layer = control(SlateRules(), filters=filters)
    chosen = layer.select(ask(5), [1, 0, 4], pool(5), np.array([5.0, 4.0, 3.0, 2.0, 1.0]))
    assert chosen.order.tolist() == [2, 4]
    assert [layer.rules[code - FIRST_RULE] for code in chosen.removed_by[[0, 1, 3]]] == ["seen", "seen", "originals"]


def test_an_item_the_catalog_does_not_hold_is_no_ones_creator():
    rows = np.array([-1, -1, 2])
    candidates = Pool(rows, np.zeros(3, np.uint32), np.zeros(3))
    chosen = control(SlateRules(creator_cap=1)).select(ask(3), [], candidates, np.array([3.0, 2.0, 1.0]))
    assert chosen.order.tolist() == [0, 1, 2]


@pytest.mark.parametrize("rule", ["creator_cap", "variety", "quota", "exploration", "seen"])
def test_a_rule_that_is_switched_off_no_longer_fires(rule):
    mask = np.zeros(ITEMS)
    mask[56:] = 1
    rules = SlateRules(creator_cap=1, quotas=((0, 1),), variety=0.3, exploration_share=0.9)
    layer = control(rules, np.arange(ITEMS) // 3, np.arange(ITEMS) // 10, [Seen(Nobody(), last=3, catalog_size=ITEMS)])
    asked = (ask(9), [0, 1, 2], pool(mask=mask), -np.arange(ITEMS, dtype=float))
    fired = {name for name, _, _ in layer.select(*asked).fired}
    assert rule in fired
    assert rule not in {name for name, _, _ in layer.without(rule).select(*asked).fired}
    assert layer.without(rule).rules == layer.rules
