"""The effect by days since exposure: what fades is seen to fade, and late joiners alone bend nothing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.exposure import MS_PER_DAY, Look, triggered
from mainstem.launch.plan_file import Metric
from mainstem.launch.pulls import pulls_of
from mainstem.launch.since_exposure import since_exposure

CLICKS = Metric(role="primary", column="clicks", margin=0.05)
AT = 14 * MS_PER_DAY


def lived(seed: int, fades: float = 0.0, early: float = 0.0, users: int = 1500) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Units and events: the new arm's lift falls by ``fades`` a day; users who came in the first days have ``early`` more of it."""
    rng = np.random.default_rng(seed)
    unit, new = np.arange(users), rng.random(users) < 0.5
    first = rng.integers(0, 12, users)
    unit_day = np.repeat(unit, 14)
    day = np.tile(np.arange(14), users)
    since = day - first[unit_day]
    here = since >= 0
    lift = np.where(new[unit_day], 0.3 - fades * since + early * (first[unit_day] < 4), 0.0)
    taste = rng.gamma(4, 1, users)[unit_day]
    clicks = rng.poisson(np.maximum(taste * (1 + lift), 0))
    start = first * MS_PER_DAY
    exposures = pl.DataFrame({"unit": unit, "arm": np.where(new, "treatment", "control"), "time_ms": start})
    events = pl.DataFrame(
        {
            "unit": unit_day[here],
            "time_ms": (day[here] * MS_PER_DAY + rng.integers(0, MS_PER_DAY, int(here.sum()))),
            "clicks": clicks[here],
            "seen": 10.0,
        }
    )
    units, _ = triggered(exposures, events, ["clicks", "seen"], Look(0, AT))
    return units, events


def test_what_fades_is_seen_to_fade():
    found = since_exposure(*lived(1, fades=0.05), CLICKS, AT)
    assert len(found.days) == 7
    assert found.days[0].mid == pytest.approx(0.3, abs=0.1)
    assert found.slope.low < -0.05 < found.slope.high < 0
    assert found.p_value < 0.001
    units, _ = lived(1, fades=0.05)
    assert found.units == units.filter(pl.col("since_ms") <= 7 * MS_PER_DAY).height
    assert found.late == 1500 - found.units
    assert found.days[0].n == found.units


def test_late_joiners_with_less_of_an_effect_mimic_no_novelty():
    found = since_exposure(*lived(2, early=0.8), CLICKS, AT)
    assert found.slope.low < 0 < found.slope.high
    # Over whoever has the day to show, the same data rise: only early units have late days.
    units, events = lived(2, early=0.8)
    lifts = []
    for day in (0, 12):
        there = units.filter(pl.col("since_ms") + (day + 1) * MS_PER_DAY <= AT)
        mine = events.join(there, on="unit").filter(
            (pl.col("time_ms") - pl.col("since_ms")).floordiv(MS_PER_DAY) == day
        )
        sums = mine.group_by("arm").agg(pl.col("clicks").sum()).join(there.group_by("arm").len(), on="arm")
        rate = {arm: clicks / n for arm, clicks, n in sums.iter_rows()}
        lifts.append(rate["treatment"] / rate["control"] - 1)
    assert lifts[1] > lifts[0] + 0.1


def test_a_day_s_interval_is_that_of_a_relative_change():
    units, events = lived(5)
    found = since_exposure(units, events, CLICKS, AT)
    ripe = units.filter(pl.col("since_ms") <= 7 * MS_PER_DAY)
    mine = events.join(ripe.select("unit", "since_ms"), on="unit")
    third = mine.filter((pl.col("time_ms") - pl.col("since_ms")).floordiv(MS_PER_DAY) == 2)
    sums = third.group_by("unit").agg(pl.col("clicks").sum().cast(pl.Float64))
    table = ripe.drop("clicks").join(sums, on="unit", how="left").with_columns(pl.col("clicks").fill_null(0.0))
    known = pulls_of(table, CLICKS).standing(CLICKS)
    assert found.days[2].mid == pytest.approx(known.relative)
    assert found.days[2].high - found.days[2].mid == pytest.approx(1.959964 * known.relative_error, rel=2e-3)


def test_where_nothing_moves_the_test_says_so_as_often_as_it_should():
    small, held = 0, 0
    for seed in range(120):
        found = since_exposure(*lived(seed, users=300), CLICKS, AT, days=5)
        small += found.p_value < 0.05
        held += found.days[2].low <= 0.3 <= found.days[2].high
    # Four standard deviations of 120 draws at .05 are .08.
    assert abs(small / 120 - 0.05) < 0.08
    assert abs(held / 120 - 0.95) < 0.08


def test_ratios_rates_and_clusters_have_curves_too():
    units, events = lived(3)
    ratio = since_exposure(
        units, events, Metric(role="primary", kind="ratio", column="clicks", per="seen", margin=0.05), AT
    )
    assert ratio.days[0].mid == pytest.approx(0.3, abs=0.2)
    events = events.with_columns(any=(pl.col("clicks") > 2).cast(pl.Int8))
    rate = since_exposure(units, events, Metric(role="primary", kind="binary", column="any", margin=0.05), AT)
    assert rate.units == ratio.units
    alone = units.with_columns(cluster=pl.col("unit"))
    cluster = since_exposure(alone, events, Metric(role="primary", column="clicks", margin=0.05, unit="cluster"), AT)
    user = since_exposure(units, events, CLICKS, AT)
    assert cluster.slope.mid == pytest.approx(user.slope.mid)
    assert cluster.slope.high == pytest.approx(user.slope.high, rel=1e-6)


def test_what_cannot_be_followed_is_refused():
    units, events = lived(4, users=100)
    for days, table in ((1, events), (15, events), (7, events.with_columns(clicks=pl.lit(0)))):
        with pytest.raises(LaunchError) as refused:
            since_exposure(units, table, CLICKS, AT, days=days)
        assert refused.value.code in ("launch-112", "launch-065")
    quiet = events.join(units.filter(pl.col("arm") == "control"), on="unit", how="anti")
    with pytest.raises(LaunchError) as refused:
        since_exposure(units, quiet, CLICKS, AT)
    assert refused.value.code == "launch-112"
