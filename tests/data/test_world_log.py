"""The log folder of a made world, and the faults it can carry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import ConfigError
from mainstem.base.heads import HEADS
from mainstem.data.log import read_log
from mainstem.data.world import World, WorldFaults, WorldSettings, events, make_log, make_world, write_world_log

SMALL = WorldSettings(users=500, items=1500, days=5, impressions=8000, seed=5)
NO_FAULTS = WorldFaults()


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(SMALL)


@pytest.fixture(scope="module")
def clean(world: World) -> dict[str, pl.DataFrame]:
    return make_log(world)


def test_folder_is_a_log_and_says_it_is_made(world: World, tmp_path: Path) -> None:
    manifest = write_world_log(world, tmp_path / "log")
    log = read_log(tmp_path / "log")
    assert log.manifest.made
    assert log.manifest.facts["seed"] == 5
    assert log.impressions.height == manifest.rows["impressions"]
    assert log.days == [20220425, 20220426, 20220427, 20220428, 20220429]
    again = write_world_log(make_world(SMALL), tmp_path / "again")
    assert again.sha256 == manifest.sha256
    assert (tmp_path / "again" / "impressions.parquet").read_bytes() == (
        tmp_path / "log" / "impressions.parquet"
    ).read_bytes()
    other = write_world_log(world, tmp_path / "random", policy="random")
    assert other.sha256 != manifest.sha256


def test_impressions_are_whole(world: World, clean: dict[str, pl.DataFrame]) -> None:
    rows = clean["impressions"]
    assert 0.8 * SMALL.impressions < rows.height < 1.2 * SMALL.impressions
    assert rows.select("user_id", "item_id").is_duplicated().sum() == 0
    shown = rows.join(clean["items"], on="item_id", how="left")
    assert (shown["created_ms"] <= shown["time_ms"]).all()
    assert shown["category"].null_count() == 0
    assert rows["time_ms"].is_between(SMALL.start_ms, SMALL.end_ms - 1).all()
    position = rows.group_by("request_id").agg(pl.col("position").sort(), pl.len())
    assert (position["position"].list.max() == position["len"] - 1).all()
    assert (position["position"].list.min() == 0).all()
    one = rows.group_by("request_id").agg(pl.col("user_id", "surface", "time_ms").n_unique())
    assert one.drop("request_id").max().row(0) == (1, 1, 1)


def test_history_is_in_order_and_before_the_log(clean: dict[str, pl.DataFrame]) -> None:
    history = clean["history"]
    assert history["time_ms"].max() < SMALL.start_ms
    per_user = history.group_by("user_id").agg(
        pl.col("back").min().alias("low"), pl.col("back").max().alias("high"), pl.len()
    )
    assert (per_user["low"] == 0).all()
    assert (per_user["high"] == per_user["len"] - 1).all()
    assert per_user["len"].max() <= 50


def test_only_the_random_policy_knows_its_propensities(world: World, clean: dict[str, pl.DataFrame]) -> None:
    assert clean["impressions"]["propensity"].null_count() == clean["impressions"].height
    random = make_log(world, "random")["impressions"]["propensity"]
    assert random.null_count() == 0
    assert random.is_between(0, 0.02, closed="right").all()


def test_reposts_point_to_earlier_originals(clean: dict[str, pl.DataFrame]) -> None:
    items = clean["items"]
    copies = items.filter(pl.col("canonical_id") != pl.col("item_id"))
    assert 0.02 < copies.height / items.height < 0.08
    pairs = copies.join(items, left_on="canonical_id", right_on="item_id")
    assert (pairs["created_ms_right"] <= pairs["created_ms"]).all()
    assert (pairs["tags"] == pairs["tags_right"]).all()
    assert pairs["canonical_id_right"].null_count() == 0


def test_unknown_policy_is_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="standrad") as refused:
        make_log(world, "standrad")
    assert refused.value.code == "config-903"
    assert "standard" in refused.value.hint


def test_events_come_in_order_without_faults(clean: dict[str, pl.DataFrame]) -> None:
    sent = events(clean, NO_FAULTS, SMALL)
    assert sent["event_id"].n_unique() == sent.height == clean["impressions"].height
    assert sent["arrival_ms"].to_list() == sent["time_ms"].to_list()


def test_duplicates_arrive_twice_and_are_logged_once(
    world: World, clean: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    faults = WorldFaults(duplicate_share=0.1)
    log = make_log(world, faults=faults)
    assert log["impressions"].equals(clean["impressions"])
    assert log["dropped"].height == pytest.approx(0.1 * log["impressions"].height, rel=0.15)
    sent = events(log, faults, SMALL)
    assert sent.height - sent["event_id"].n_unique() == log["dropped"].height
    manifest = write_world_log(world, tmp_path / "log", faults=faults)
    assert manifest.dropped == {"duplicate": log["dropped"].height}
    assert manifest.facts["fault_duplicate_share"] == 0.1


def test_late_events_are_out_of_order_and_the_last_are_missed(world: World) -> None:
    faults = WorldFaults(late_share=0.3)
    log = make_log(world, faults=faults)
    sent = events(log, faults, SMALL)
    assert (np.diff(sent["time_ms"].to_numpy()) < 0).any()
    assert (sent["arrival_ms"] >= sent["time_ms"]).all()
    unknown = log["impressions"]["click"].is_null()
    late_rows = sent.filter(pl.col("click").is_null())
    assert unknown.sum() > 0
    assert (late_rows["arrival_ms"] >= SMALL.end_ms).all()
    assert (log["impressions"].filter(unknown)["watch_ms"].null_count()) == unknown.sum()


def test_day_shift_moves_days_and_not_times(world: World, clean: dict[str, pl.DataFrame]) -> None:
    log = make_log(world, faults=WorldFaults(day_shift_h=-8))["impressions"]
    assert log["time_ms"].equals(clean["impressions"]["time_ms"])
    moved = log["day"] != clean["impressions"]["day"]
    home_hour = (log["time_ms"] - SMALL.start_ms) // 3_600_000 % 24
    assert (moved == (home_hour < 8)).all()
    assert moved.any()


def test_unit_change_starts_on_its_day(world: World, clean: dict[str, pl.DataFrame]) -> None:
    log = make_log(world, faults=WorldFaults(watch_in_seconds=True, unit_change_day=2))["impressions"]
    before = pl.col("day") < 20220427
    assert log.filter(before).equals(clean["impressions"].filter(before))
    after, right = log.filter(~before), clean["impressions"].filter(~before)
    assert (after["watch_ms"] == right["watch_ms"] // 1000).all()
    assert (after["duration_ms"] == right["duration_ms"] // 1000).all()


def test_items_lose_attributes_and_checks(world: World, clean: dict[str, pl.DataFrame]) -> None:
    log = make_log(world, faults=WorldFaults(missing_item_share=0.2, safety_failed_share=0.3))
    items = log["items"]
    blank = items["creator_id"] == -1
    assert blank.mean() == pytest.approx(0.2, abs=0.04)
    assert (items.filter(blank)["tags"].list.len() == 0).all()
    assert items.filter(~blank).drop("integrity").equals(clean["items"].filter(~blank).drop("integrity"))
    assert items["integrity"].is_null().mean() == pytest.approx(0.3, abs=0.05)
    assert log["impressions"].equals(clean["impressions"])


def test_a_fault_share_beyond_one_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        WorldFaults(late_share=2.0)
    assert refused.value.code == "config-902"


def test_heads_are_columns_in_order(clean: dict[str, pl.DataFrame]) -> None:
    assert [name for name in clean["impressions"].columns if name in HEADS] == list(HEADS)
