"""What a surface's block of settings says is what its slates keep."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import ControlError
from mainstem.base.request import Pool, Request
from mainstem.base.settings import Settings, parse_settings
from mainstem.base.withdrawn import Withdrawn
from mainstem.control.slate import SurfaceControl
from mainstem.features.catalog import Catalog
from mainstem.stacks.controlling import control_of

N = 40
CATALOG = Catalog.from_tables(
    pl.DataFrame(
        {
            "item_id": np.arange(N),
            "canonical_id": [0, 0, *range(2, N)],  # item 1 is a repost of item 0 by another creator
            "creator_id": [1, 2, *(3 + np.arange(N - 2) // 2)],
            "category": (np.arange(N) // 8).astype(np.int32),
            "kind": ["AD" if at % 4 == 0 else "NORMAL" for at in range(N)],
            "integrity": np.zeros(N, np.int8),
        }
    ),
    pl.DataFrame({"user_id": [1]}),
)


def control(rules: str, groups: str = "") -> SurfaceControl:
    settings: Settings = parse_settings(
        f"[groups]\n{groups}\n[surfaces.feed]\ncount = 8\n[surfaces.feed.rules]\nseen = 0\nexploration_share = 0.0\n{rules}"
    )
    return control_of(CATALOG, settings, ["popular", "fresh"], Withdrawn(N))[0]


def shown(layer: SurfaceControl, count: int = 8) -> tuple[np.ndarray, tuple]:
    pool = Pool(np.arange(N), np.ones(N, np.uint32), np.zeros(N))
    chosen = layer.select(Request(1, 1, "feed", 0, count), None, pool, -np.arange(N, dtype=float))
    return chosen.order, chosen.unmet


def test_caps_spacing_and_quotas_of_the_settings_hold():
    order, unmet = shown(
        control(
            'caps = {kind = 5, category = 3}\nspacing = {kind = 1}\nquotas = {high = 2, "category = 4" = 1}\nvariety = 1.0',
            'high = "item_id >= 30"',
        )
    )
    assert (order >= 30).sum() >= 2
    assert (order // 8 == 4).sum() >= 1
    assert np.bincount(order // 8).max() <= 3
    assert np.bincount(order % 4 == 0).max() <= 5
    assert (np.diff(order % 4 == 0)).all()  # two of one kind never stand next to each other
    assert unmet == ()


def test_a_repost_counts_for_the_creator_of_its_original():
    order, _ = shown(control("creator_cap = 1\noriginals = false\nvariety = 1.0"))
    assert order.tolist()[:3] == [0, 2, 4]


def test_a_quota_of_a_source_that_was_never_learned_is_told_and_not_refused():
    _, unmet = shown(control("quotas = {next_item = 2}\nvariety = 1.0"))
    assert [(one.name, one.least, one.met) for one in unmet] == [("next_item", 2, 0)]


@pytest.mark.parametrize("kind", ["discount", "determinantal", "sliding_spectrum"])
def test_each_kind_of_variety_can_be_set(kind):
    order, _ = shown(control(f'variety = 0.3\nvariety_by = "{kind}"'))
    assert len(set((order // 8).tolist())) > 1
    assert order[0] == 0


def test_settings_that_contradict_each_other_do_not_load():
    with pytest.raises(ControlError, match="cap on category"):
        control('caps = {category = 1}\nquotas = {"category = 2" = 2}')
