"""Rules that cannot hold together are refused when they are loaded, both named; groups are parsed and never run."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import ConfigError, ControlError
from mainstem.base.settings import parse_settings
from mainstem.control.groups import ItemAttributes
from mainstem.control.rule_checks import item_groups, slate_rules
from mainstem.features.catalog import Catalog

DAY_MS = 86_400_000
ITEMS = pl.DataFrame(
    {
        "item_id": [10, 11, 12, 13, 14],
        "creator_id": [1, 1, 1, 2, -1],
        "category": pl.Series([5, 6, 5, None, -1], dtype=pl.Int32),
        "created_ms": [0, 1 * DAY_MS, 2 * DAY_MS, 3 * DAY_MS, None],
        "kind": ["AD", "NORMAL", "", "AD", None],
        "price": [0.5, None, 2.0, 3.0, 4.0],
        "empty": pl.Series([None, -1, None, None, None], dtype=pl.Int64),
        "tags": [[1], [2], [], [], []],
    }
)
CATALOG = Catalog.from_tables(ITEMS, pl.DataFrame({"user_id": [1]}))
ATTRIBUTES = ItemAttributes(CATALOG)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("creator_items <= 2", [3]),
        ("creator_items>2", [0, 1, 2]),
        ("category = 5", [0, 2]),
        ("category != 5", [1]),
        ("creator == 1", [0, 1, 2]),
        ("creator_id=1", [0, 1, 2]),
        ("kind = AD", [0, 3]),
        ('kind != "AD"', [1]),
        ("price >= 2.0", [2, 3, 4]),
        ("item_age_days < 3", [1, 2, 3]),
    ],
)
def test_a_group_is_the_items_for_which_its_comparison_holds_and_unknown_values_are_in_none(text, rows):
    group = ATTRIBUTES.group(text)
    mask = group.rows_now(4 * DAY_MS - 1 if "age" in text else 0)
    assert np.flatnonzero(mask).tolist() == rows
    assert len(mask) == len(ITEMS) + 1
    assert not mask[-1]


def test_codes_number_the_values_and_leave_the_unknown_at_zero():
    assert ATTRIBUTES.codes("category").tolist() == [1, 2, 1, 0, 0, 0]
    assert ATTRIBUTES.codes("kind").tolist() == [1, 2, 0, 1, 0, 0]
    assert "tags" not in ATTRIBUTES.names


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("__import__('os')", "control-003", "creator_items <= 3"),
        ("creator_items", "control-003", ""),
        ("categorie = 5", "control-002", "category"),
        ("tags = 5", "control-002", ""),
        ("kind < AD", "control-004", ""),
        ("category = many", "control-004", ""),
        ("empty = 3", "control-006", "data check"),
    ],
)
def test_a_group_that_cannot_be_is_refused(text, code, told):
    with pytest.raises(ControlError) as refused:
        item_groups({"odd": text}, ATTRIBUTES)
    assert refused.value.code == code
    assert told in refused.value.hint


def load(rules: str, count: int = 5, groups: str = ""):
    given = parse_settings(f"[groups]\n{groups}\n[surfaces.feed]\ncount = {count}\n[surfaces.feed.rules]\n{rules}")
    named = item_groups(given.groups, ATTRIBUTES)
    return slate_rules(given.surfaces["feed"], "surfaces.feed", ["popular"], ["popular", "fresh"], named, ATTRIBUTES)


@pytest.mark.parametrize(
    ("rules", "code", "both"),
    [
        ("quotas = {popular = 3, fresh = 3}", "control-007", ("popular 3 + fresh 3", "count is 5")),
        ('caps = {category = 1}\nquotas = {"category = 5" = 3}', "control-008", ("category = 5", "cap on category")),
        ('creator_cap = 2\nquotas = {"creator = 1" = 3}', "control-008", ("creator = 1", "cap on creator")),
        ('spacing = {category = 2}\nquotas = {"category = 5" = 3}', "control-009", ("category = 5", "spacing of category")),
        ('floors = {"kind = AD" = 0.6, "category = 5" = 0.5}', "control-010", ("kind = AD 0.6", "category = 5 0.5")),
        ("quotas = {popular = 2}\nsoft_quotas = {popular = 2}\nsoft_price = 1.0", "control-011", ("soft_quotas", "quotas.popular")),
        ("soft_quotas = {popular = 2}", "control-012", ("soft_quotas", "soft_price")),
        ("creator_cap = 2\ncaps = {creator_id = 3}", "control-013", ("creator_cap is 2", "says 3")),
        ("quotas = {popula = 2}", "control-005", ("popula",)),
        ("caps = {categori = 2}", "control-002", ("categori",)),
        ("caps = {empty = 2}", "control-006", ("empty",)),
        ("spacing = {empty = 2}", "control-006", ("empty",)),
        ('quotas = {"empty = 2" = 2}', "control-006", ("empty",)),
    ],
)  # fmt: skip
def test_rules_that_cannot_hold_are_refused_and_both_are_named(rules, code, both):
    with pytest.raises(ControlError) as refused:
        load(rules)
    assert refused.value.code == code
    for name in both:
        assert name in refused.value.message


def test_rules_that_can_hold_are_resolved():
    rules = load(
        'quotas = {popular = 1, small = 1, fresh = 1}\ncaps = {category = 2, kind = 0}\nspacing = {kind = 1}\n'
        'soft_quotas = {"kind = AD" = 2}\nsoft_price = 0.5\nvariety_by = "determinantal"',
        groups='small = "creator_items <= 2"',
    )  # fmt: skip
    assert [(one.name, one.least, one.source) for one in rules.all_quotas()] == [
        ("popular", 1, 0), ("small", 1, -1), ("fresh", 1, -1), ("kind = AD", 2, -1),
    ]  # fmt: skip
    assert rules.cap_of() == {"creator": 2, "category": 2}
    assert rules.gap_of() == {"kind": 1}
    assert rules.variety_by == "determinantal"


@pytest.mark.parametrize(
    "rules", ["caps = {category = -1}", 'variety_by = "determinant"', "soft_price = -1.0", "floors = {a = 1.5}", "fatigue = 2.0"]
)  # fmt: skip
def test_numbers_no_slate_can_make_sense_of_are_refused_with_the_settings(rules):
    with pytest.raises(ConfigError) as refused:
        load(rules)
    assert refused.value.code == "config-003"
