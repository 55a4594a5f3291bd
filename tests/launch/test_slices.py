"""Parts of units and parts of events: who is in each, and what stays whole."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.exposure import MS_PER_DAY, Look, triggered
from mainstem.launch.plan_file import Metric
from mainstem.launch.slices import COHORT, effects_in, events_by, units_by, with_cohort

LOOK = Look(0, 14 * MS_PER_DAY)
METRICS = {
    "clicks": Metric(role="primary", column="clicks", margin=0.05),
    "p99": Metric(role="diagnostic", kind="quantile", column="clicks", quantile=0.99),
}


def lived(users: int = 800) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The new stack moves clicks from large creators to small ones."""
    rng = np.random.default_rng(1)
    new = rng.random(users) < 0.5
    since = rng.integers(0, 13 * MS_PER_DAY, users)
    exposures = pl.DataFrame({"unit": np.arange(users), "arm": np.where(new, "treatment", "control"), "time_ms": since})
    unit = np.repeat(np.arange(users), 6)
    small = rng.random(len(unit)) < np.where(new[unit], 0.5, 0.2)
    side = np.where(small, "small", "large")
    return exposures, pl.DataFrame({"unit": unit, "time_ms": since[unit] + 5, "creator_side": side, "clicks": 1.0})


def test_every_unit_is_on_every_side_of_creators_and_sides_add_up():
    exposures, events = lived()
    sides = events_by(exposures, events, ["clicks"], LOOK, "creator_side")
    assert [*sides] == ["large", "small"]
    assert {one.height for one in sides.values()} == {800}
    found, silent = effects_in(sides, METRICS)
    whole, _ = triggered(exposures, events, ["clicks"], LOOK)
    change = whole.group_by("arm").agg(pl.col("clicks").mean()).rows()
    assert found["small"]["clicks"].interval().low > 0 > found["large"]["clicks"].interval().high
    total = found["small"]["clicks"].difference + found["large"]["clicks"].difference
    assert total == pytest.approx(dict(change)["treatment"] - dict(change)["control"])
    assert silent == ()


def test_cohorts_split_units_by_the_week_they_came():
    exposures, events = lived()
    units, _ = triggered(exposures, events, ["clicks"], LOOK)
    weeks = units_by(with_cohort(units, LOOK), COHORT)
    assert [*weeks] == ["days 1 to 7", "days 8 to 14"]
    assert sum(one.height for one in weeks.values()) == 800
    found, silent = effects_in(weeks | {"nobody": units.clear()}, METRICS)
    # Everybody clicks six times, so nothing varies in either week; that is told, and stops nothing.
    assert found == {}
    assert len(silent) == 3


def test_parts_stand_in_the_order_people_count():
    table = pl.DataFrame({"week": ["days 15 to 21", None, "days 8 to 14", "b", "a"]})
    assert [*units_by(table, "week")] == ["a", "b", "days 8 to 14", "days 15 to 21", "None"]


def test_a_part_that_was_not_kept_is_refused():
    exposures, events = lived()
    units, _ = triggered(exposures, events, ["clicks"], LOOK)
    for call in (
        lambda: units_by(units, "platform"),
        lambda: events_by(exposures, events, ["clicks"], LOOK, "platform"),
        lambda: effects_in({"all": units.drop("clicks")}, METRICS),
    ):
        with pytest.raises(LaunchError) as refused:
            call()
        assert refused.value.code == "launch-060"
