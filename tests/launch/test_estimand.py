"""What was promised of a metric's window and unit, from the plan's text to the figure."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.analyse import Arms, analyse
from mainstem.launch.estimand import ROWS, columns_of, independent, look_for, measure_for, unit_column
from mainstem.launch.exposure import MS_PER_DAY, triggered
from mainstem.launch.plan_file import Metric, parse_plan
from mainstem.launch.switchback import blocks_of, judge_switchback

RATIO = Metric(
    role="primary",
    kind="ratio",
    column="a",
    per="b",
    margin=0.1,
    unit="cluster",
    covariates=["c", "d / e"],
    winsor_cap=3.0,
)


def test_a_window_waits_for_units_whose_window_is_not_over():
    metric = Metric(role="primary", column="clicks", margin=0.1, window_days=1.5)
    look = look_for(metric, 0, 4 * MS_PER_DAY)
    assert look.window_ms == 36 * 3_600_000
    exposures = pl.DataFrame({"unit": [1, 2, 3], "arm": ["a", "b", "a"], "time_ms": [0, MS_PER_DAY, 3 * MS_PER_DAY]})
    events = pl.DataFrame(
        {
            "unit": [1, 1, 2, 3],
            "time_ms": [MS_PER_DAY, 2 * MS_PER_DAY, 2 * MS_PER_DAY, 3 * MS_PER_DAY],
            "clicks": [1.0, 10.0, 100.0, 1000.0],
        }
    )
    units, health = triggered(exposures, events, ["clicks"], look)
    assert dict(units.select("unit", "clicks").iter_rows()) == {1: 1.0, 2: 100.0}
    assert (health.immature, health.beyond) == (1, 1)
    assert look_for(Metric(role="primary", column="clicks", margin=0.1), 0, 9).window_ms == 0


def test_a_ratio_by_clusters_is_the_ratio_of_their_sums_capped_row_by_row():
    table = pl.DataFrame(
        {
            "cluster": [1, 1, 2],
            "arm": ["new", "new", "old"],
            "part": ["x", "y", "x"],
            "a": [2.0, 9.0, 1.0],
            "b": [1.0, 1.0, 2.0],
            "c": [1.0, 2.0, 3.0],
            "d": [1.0, 1.0, 1.0],
            "e": [2.0, 2.0, 2.0],
        }
    )
    found = independent(table, RATIO, "arm")
    assert found.sort("cluster").select("a", "b", "c", ROWS).rows() == [(5.0, 2.0, 3.0, 2.0), (1.0, 2.0, 3.0, 1.0)]
    assert independent(table, RATIO, "arm", by=["part"]).height == 3
    assert columns_of(RATIO) == ("a", "b", "c", "d", "e")
    assert unit_column(RATIO) == "cluster"
    measure = measure_for("x", RATIO)
    below = [one.bottom.name if one.bottom else "" for one in measure.parts]
    assert below == ["b", ROWS, "e"]
    with pytest.raises(LaunchError) as refused:
        measure_for("x", Metric(role="primary", kind="quantile", column="a", quantile=0.5, margin=0.1))
    assert refused.value.code == "launch-060"
    missing = table.with_columns(a=pl.when(pl.col("part") == "y").then(None).otherwise("a"))
    assert independent(missing, RATIO, "arm").sort("cluster")["a"].to_list() == [None, 1.0]


PLAN = """
name = "load"
surfaces = ["feed"]
legacy = ["old"]
[metrics.ms]
role = "primary"
column = "ms"
direction = "down"
margin = 0.2
unit = "block"
[[steps]]
share = 0.5
hold_hours = 1
"""


def test_blocks_of_time_say_what_a_switchback_says():
    rng = np.random.default_rng(1)
    block = np.repeat(np.arange(40), rng.integers(80, 120, 40))
    new = (block * 7919 % 40) % 2 == 1
    ms = 100 + rng.normal(0, 5, 40)[block] + rng.normal(0, 1, len(block)) + 2.0 * new
    rows = pl.DataFrame({"block": block, "arm": np.where(new, "new", "old"), "ms": ms})
    found = analyse(rows, parse_plan(PLAN), Arms("arm", "old", "new"))
    known = judge_switchback(blocks_of(block * 10, ms, new, 10))
    reading = found.readings["ms"]
    assert reading.effect.control.units + reading.effect.treatment.units == 40
    assert (reading.change.low, reading.change.high) == pytest.approx((known.effect.low, known.effect.high), rel=1e-9)
    assert found.verdict.verdict == "NEUTRAL"
    bound = reading.verdict
    assert bound is not None
