"""A rule's price is what building the control layer without it gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mainstem.base.errors import ControlError
from mainstem.base.request import Pool, Request
from mainstem.control.filters import Seen
from mainstem.control.shadow_price import prices, value_of
from mainstem.control.slate import Quota, SlateRules, SurfaceControl
from mainstem.control.slate_plain import fill_plainly

ITEMS = 120
RULES = SlateRules(
    creator_cap=1, quotas=(Quota("fresh", 3, 0), Quota("pages", 2, 1)), variety=0.6, exploration_share=0.3,
    caps=(("category", 4),), spacing=(("category", 1),), soft_quotas=(Quota("chance", 3, 2),), soft_price=0.4,
)  # fmt: skip
LESS = {
    "creator_cap": {"creator_cap": 0},
    "category_cap": {"caps": ()},
    "category_spacing": {"spacing": ()},
    "variety": {"variety": 1.0},
    "quota:fresh": {"quotas": RULES.quotas[1:]},
    "quota:pages": {"quotas": RULES.quotas[:1]},
    "soft_quota": {"soft_quotas": ()},
    "exploration": {"exploration_share": 0.0},
}


class Memory:
    def seen_rows(self, user, last):
        return np.arange(last)


def built(rules: SlateRules, *, seen: bool = True) -> SurfaceControl:
    random = np.random.default_rng(1)
    creators, categories = np.append(random.integers(1, 30, ITEMS), 0), np.append(random.integers(1, 6, ITEMS), 0)
    filters = (Seen(Memory(), last=10, catalog_size=ITEMS),) if seen else ()
    return SurfaceControl({"feed": filters}, {"feed": rules}, creators, categories, 3, passes=fill_plainly)


@pytest.mark.parametrize("request_id", range(4))
def test_every_price_is_that_of_a_layer_built_without_the_rule(request_id):
    random = np.random.default_rng(request_id)
    pool = Pool(np.arange(ITEMS), random.integers(0, 8, ITEMS).astype(np.uint32), np.zeros(ITEMS))
    asked = (Request(request_id, 1, "feed", 0, 10), "viewer", pool, random.normal(size=ITEMS))
    found = {one.rule: one for one in prices(built(RULES), *asked)}
    assert list(found) == [
        "seen", "variety", "creator_cap", "category_cap", "category_spacing", "quota:fresh", "quota:pages", "soft_quota",
        "exploration",
    ]  # fmt: skip
    worth = asked[3][built(RULES).select(*asked).order].sum()
    for rule, less in LESS.items():
        without = asked[3][built(replace(RULES, **less)).select(*asked).order].sum()
        assert found[rule].given_up == pytest.approx(without - worth, abs=1e-9), rule
    unseen = asked[3][built(RULES, seen=False).select(*asked).order].sum()
    assert found["seen"].given_up == pytest.approx(unseen - worth, abs=1e-9)
    assert found["seen"].removed == 10


def test_a_rule_that_moves_nobody_costs_exactly_nothing():
    pool = Pool(np.arange(ITEMS), np.zeros(ITEMS, np.uint32), np.zeros(ITEMS))
    asked = (Request(1, 1, "feed", 0, 10), "viewer", pool, np.random.default_rng(2).normal(size=ITEMS))
    loose = SlateRules(creator_cap=10, caps=(("category", 10),))
    assert [(one.given_up, one.moved) for one in prices(built(loose, seen=False), *asked)] == [(0.0, 0)] * 5


def test_a_value_that_is_not_a_number_is_worth_nothing():
    assert value_of(np.array([1.0, np.nan, -np.inf, 2.0]), np.arange(4)) == 3.0


def test_switching_off_what_is_not_there_is_refused_with_the_nearest_name():
    with pytest.raises(ControlError) as refused:
        built(RULES).without("creator_caps")
    assert refused.value.code == "control-001"
    assert "creator_cap" in refused.value.hint
