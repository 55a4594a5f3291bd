"""Who it was better or worse for: planted harm is shown where it is, and no noise is called harm."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl

from mainstem.launch.creators import large_creators_items, sides_of
from mainstem.launch.exposure import MS_PER_DAY, Look
from mainstem.launch.for_whom import slices_of, waits_of
from mainstem.launch.plan_file import Metric
from mainstem.launch.standing import OriginStanding, SliceStanding

LOOK = Look(0, 14 * MS_PER_DAY)
METRICS = {"clicks": Metric(role="primary", column="clicks", margin=0.05)}


def made_units(seed: int, harm: float = 0.0, users: int = 4_000) -> pl.DataFrame:
    """Units of two weeks and all degrees of use; the new stack harms the most active quarter alone."""
    rng = np.random.default_rng(seed)
    new, before = rng.random(users) < 0.5, rng.integers(0, users, users)
    heavy = np.argsort(np.lexsort((np.arange(users), before))) >= users * 3 // 4
    clicks = rng.poisson(np.where(new & heavy, 8 * (1 - harm), 8))
    return pl.DataFrame(
        {
            "unit": np.arange(users), "arm": np.where(new, "treatment", "control"), "clicks": clicks.astype(float),
            "since_ms": rng.integers(0, 14 * MS_PER_DAY, users), "before_click": before,
        }
    )  # fmt: skip


def standing_of(slices: tuple[SliceStanding, ...]) -> OriginStanding:
    return OriginStanding("feed", "neutral", (), 1, 14, (), (), slices=slices)


def test_harm_of_one_quarter_is_shown_there_and_in_no_other():
    found = slices_of(made_units(1, harm=0.15), METRICS, LOOK, "before_click")
    assert [one.part for one in found][:3] == ["days 1 to 7", "days 8 to 14", "lowest quarter"]
    quarters = [one for one in found if one.by == "activity before"]
    assert [one.units for one in quarters] == [1000] * 4
    assert [one.part for one in quarters if one.wholly_harm] == ["highest quarter"]
    worst = standing_of(found).worst_slice
    assert worst is not None
    assert worst.part == "highest quarter"


def test_without_a_change_a_look_seldom_calls_any_part_harmed():
    looks = [
        standing_of(slices_of(made_units(seed, users=1_600), METRICS, LOOK, "before_click")).worst_slice
        for seed in range(100)
    ]
    # At most 2.5 % one-sided over all parts together; 3 Monte-Carlo deviations above 5 %.
    assert sum(one is not None for one in looks) <= 11


def test_harm_to_small_creators_is_shown_there_where_the_whole_sees_nothing():
    """The new stack moves clicks from small creators' items to a large one's."""
    rng = np.random.default_rng(4)
    users = 3_000
    new = rng.random(users) < 0.5
    unit = np.repeat(np.arange(users), 10)
    large = rng.random(len(unit)) < np.where(new[unit], 0.6, 0.5)
    item = np.where(large, rng.integers(10, 20, len(unit)), rng.integers(100, 200, len(unit)))
    events = pl.DataFrame({"unit": unit, "time_ms": np.full(len(unit), 5), "item": item, "click": 1.0})
    elsewhere = pl.DataFrame({"unit": [0, 1], "time_ms": [0, 5], "item": [15, -1], "click": [9.0, 9.0]})
    arms = np.where(new, "treatment", "control")
    units = pl.DataFrame({"unit": np.arange(users), "arm": arms, "since_ms": 1, "click": 10.0})
    units = units.with_columns(requests=pl.Series(rng.poisson(3, users) + 1.0))
    metrics = {
        "clicks": Metric(role="primary", column="click", margin=0.05),
        "requests": Metric(role="guardrail", column="requests", margin=0.05),
    }
    sides = sides_of(units, pl.concat([events, elsewhere]), metrics, np.arange(10, 20))
    assert [one["unit"].to_list() == units["unit"].to_list() for one in sides.values()] == [True, True]
    assert sum(one["click"].sum() for one in sides.values()) == len(unit)
    found = [one for one in slices_of(units, metrics, LOOK, sides=sides) if one.by == "creators"]
    assert [(one.part, one.metric, one.wholly_harm) for one in found] == [
        ("large", "clicks", False),
        ("small", "clicks", True),
    ]


def test_large_creators_are_as_few_as_had_half_of_what_was_shown():
    items = pl.DataFrame({"item_id": [1, 2, 3, 4, 5], "creator_id": [7, 7, 8, None, 9]})
    shown = pl.DataFrame({"item_id": [1] * 3 + [2] * 2 + [3] * 3 + [4] * 2})
    assert large_creators_items(shown, items).tolist() == [1, 2]
    assert large_creators_items(shown.clear(), items).tolist() == []
    assert sides_of(pl.DataFrame(), pl.DataFrame(), METRICS, np.zeros(0, np.int64)) == {}


def test_of_too_few_units_nothing_is_told():
    found = slices_of(made_units(2, users=300), METRICS, LOOK, "before_click")
    assert {one.part: one.change for one in found}["lowest quarter"] is None
    assert standing_of(tuple(one for one in found if one.change is None)).worst_slice is None


def test_waits_of_both_arms():
    rng = np.random.default_rng(3)
    unit = np.repeat(np.arange(600), 8)
    new = unit % 2 == 1
    ms = rng.gamma(4, 10, len(unit)) + np.where(new, 20, 0)
    rows = pl.DataFrame({"unit": unit, "arm": np.where(new, "treatment", "control"), "latency_ms": ms})
    found = waits_of(rows)
    assert [one.quantile for one in found] == [0.5, 0.9, 0.99]
    assert found[0].difference.low < 20 < found[0].difference.high
    assert waits_of(rows.head(80)) == ()


def test_a_standing_that_was_kept_before_them_still_opens():
    slices = slices_of(made_units(2, users=300), METRICS, LOOK, "before_click")
    origin = standing_of(slices)
    plain = msgspec.json.decode(msgspec.json.encode(origin))
    assert msgspec.convert(plain, OriginStanding) == origin
    del plain["slices"], plain["waits"]
    assert msgspec.convert(plain, OriginStanding).slices == ()
