"""Who it was better or worse for: planted harm is shown where it is, and no noise is called harm."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl

from mainstem.launch.exposure import MS_PER_DAY, Look
from mainstem.launch.for_whom import slices_of, waits_of, wholly_harm, worst_slice
from mainstem.launch.plan_file import Metric
from mainstem.launch.standing import OriginStanding

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


def test_harm_of_one_quarter_is_shown_there_and_in_no_other():
    found = slices_of(made_units(1, harm=0.15), METRICS, LOOK, "before_click")
    assert [one.part for one in found][:3] == ["days 1 to 7", "days 8 to 14", "lowest quarter"]
    quarters = [one for one in found if one.by == "activity before"]
    assert [one.units for one in quarters] == [1000] * 4
    assert [one.part for one in quarters if wholly_harm(one)] == ["highest quarter"]
    worst = worst_slice(found)
    assert worst is not None
    assert worst.part == "highest quarter"


def test_without_a_change_a_look_seldom_calls_any_part_harmed():
    looks = [
        worst_slice(slices_of(made_units(seed, users=1_600), METRICS, LOOK, "before_click")) for seed in range(100)
    ]
    # At most 2.5 % one-sided over all parts together; 3 Monte-Carlo deviations above 5 %.
    assert sum(one is not None for one in looks) <= 11


def test_of_too_few_units_nothing_is_told():
    found = slices_of(made_units(2, users=300), METRICS, LOOK, "before_click")
    assert {one.part: one.change for one in found}["lowest quarter"] is None
    assert worst_slice(tuple(one for one in found if one.change is None)) is None


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
    origin = OriginStanding("feed", "neutral", (), 1, 14, (), (), slices=slices)
    plain = msgspec.json.decode(msgspec.json.encode(origin))
    assert msgspec.convert(plain, OriginStanding) == origin
    del plain["slices"], plain["waits"]
    assert msgspec.convert(plain, OriginStanding).slices == ()
