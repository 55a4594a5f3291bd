"""Every fault of a log is counted or refused by name, and a clean log gives the sums of its events."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.exposure import Health, Look, Tolerance, triggered, with_covariates

LOOK = Look(start_ms=1_000, at_ms=100_000)
LOOSE = Tolerance(skew_ms=500, crossed=1.0, unexposed=1.0, skewed=1.0, unreadable=1.0)


def rows(columns: str, *values: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(values), schema=columns.split(), orient="row", strict=False)


def exposed(*more: tuple[Any, ...]) -> pl.DataFrame:
    return rows("unit arm time_ms", (1, "control", 2_000), (2, "treatment", 3_000), (3, "treatment", 4_000), *more)


def happened(*more: tuple[Any, ...]) -> pl.DataFrame:
    return rows("unit time_ms clicks", (1, 2_500, 1.0), (2, 5_000, 2.0), (2, 6_000, 4.0), *more)


def read(exposures: pl.DataFrame, events: pl.DataFrame, look: Look = LOOK, **more: Any) -> tuple[dict, Health]:
    units, health = triggered(exposures, events, ["clicks"], look, tolerance=more.pop("tolerance", LOOSE), **more)
    return {row["unit"]: (row["arm"], row["clicks"]) for row in units.iter_rows(named=True)}, health


CLEAN = {1: ("control", 1.0), 2: ("treatment", 6.0), 3: ("treatment", 0.0)}


def test_a_clean_log():
    units, health = read(exposed(), happened(), tolerance=None)
    assert units == CLEAN
    assert (health.units, health.silent, health.exposures, health.events, health.broken) == (3, 1, 3, 3, ())
    counted = ("repeated", "crossed", "unreadable", "early", "ahead", "before", "beyond", "late", "skewed", "unexposed")
    assert all(getattr(health, name) == 0 for name in (*counted, "aside", "immature"))


@pytest.mark.parametrize(
    ("count", "exposures", "events"),
    [
        ("repeated", [(1, "control", 9_000)], []),
        ("unreadable", [(9, None, 9_000)], []),
        ("unreadable", [(None, "control", 9_000)], []),
        ("unreadable", [(9, "control", None)], []),
        ("early", [(9, "control", 500)], []),
        ("ahead", [(9, "control", 200_000)], []),
        ("before", [], [(2, 2_900, 5.0)]),
        ("late", [], [(2, 100_400, 5.0)]),
        ("skewed", [], [(2, 100_600, 5.0)]),
        ("skewed", [], [(2, None, 5.0)]),
        ("unexposed", [], [(8, 5_000, 5.0)]),
    ],
)
def test_each_fault_is_counted_and_changes_nothing_else(count, exposures, events):
    units, health = read(exposed(*exposures), happened(*events))
    assert units == CLEAN
    assert getattr(health, count) == 1


def test_a_unit_in_two_arms_is_in_neither():
    units, health = read(exposed((2, "control", 9_000)), happened())
    assert units == {1: CLEAN[1], 3: CLEAN[3]}
    assert (health.crossed, health.aside) == (1, 2)


def test_an_event_that_came_in_late_waits_for_the_next_look():
    events = rows(
        "unit time_ms clicks received_ms", (1, 2_500, 1.0, 2_600), (2, 5_000, 6.0, 5_100), (3, 5_000, 9.0, 100_001)
    )
    assert read(exposed(), events)[0] == CLEAN
    units, health = read(exposed(), events, Look(1_000, 200_000))
    assert units[3] == ("treatment", 9.0)
    assert health.late == 0
    skewed = events.with_columns(received_ms=pl.Series([1_000, 5_100, 5_000]))
    assert read(exposed(), skewed)[1].skewed == 1


def test_a_window_leaves_out_what_is_beyond_and_who_is_not_through():
    look = Look(1_000, 10_000, window_ms=2_500)
    units, health = read(exposed((4, "control", 8_000)), happened((4, 8_100, 1.0)), look)
    assert units == {1: ("control", 1.0), 2: ("treatment", 2.0), 3: ("treatment", 0.0)}
    assert (health.beyond, health.immature, health.aside) == (1, 1, 1)


@pytest.mark.parametrize(
    ("exposures", "events", "said"),
    [
        ([(1, "treatment", 9_000)], [], "two arms"),
        ([], [(8, 5_000, 5.0)], "without an exposure"),
        ([], [(1, 10**9, 5.0)], "future"),
        ([(None, "control", 9_000)], [], "unreadable"),
    ],
)
def test_above_its_tolerance_a_fault_makes_the_evidence_invalid(exposures, events, said):
    _, health = read(exposed(*exposures), happened(*events), tolerance=Tolerance())
    assert len(health.broken) == 1
    assert said in health.broken[0]


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_refused(bad):
    with pytest.raises(LaunchError, match="clicks") as refused:
        read(exposed(), happened((2, 7_000, bad)))
    assert refused.value.code == "launch-053"


def test_no_exposures_at_all():
    with pytest.raises(LaunchError) as refused:
        read(exposed().clear(), happened())
    assert refused.value.code == "launch-051"
    with pytest.raises(LaunchError, match="arm") as refused:
        read(exposed().drop("arm"), happened())
    assert refused.value.code == "launch-050"


def test_covariates_end_before_the_start():
    units, _ = triggered(exposed(), happened(), ["clicks"], LOOK)
    before = rows("unit measured_ms was", (1, 900, 4.0), (2, 1_000, 5.0))
    assert with_covariates(units, before, ["was"], LOOK, missing=0.0)["was"].to_list() == [4.0, 5.0, 0.0]
    for table, code in (
        (before.with_columns(measured_ms=pl.Series([900, 1_001])), "launch-052"),
        (before.with_columns(measured_ms=pl.lit(None)), "launch-052"),
        (pl.concat([before, before]), "launch-050"),
        (before.drop("was"), "launch-050"),
        (before, "launch-053"),
    ):
        with pytest.raises(LaunchError) as refused:
            with_covariates(units, table, ["was"], LOOK)
        assert refused.value.code == code


def test_kept_columns_are_those_of_the_first_exposure():
    exposures = exposed((1, "control", 9_000)).with_columns(surface=pl.Series(["feed", "feed", "pages", "pages"]))
    units, _ = triggered(exposures, happened(), ["clicks"], LOOK, keep=["surface"])
    assert units["surface"].to_list() == ["feed", "feed", "pages"]
