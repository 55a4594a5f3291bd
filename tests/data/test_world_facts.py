"""The made world shows what KuaiRand publishes, and the table of facts is what KuaiRand publishes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from mainstem.data.world import World, make_log, make_world
from mainstem.data.world.facts import DAILY_LOAD, FACTS, HOURLY_SHARE


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def log(world: World) -> dict[str, pl.DataFrame]:
    return make_log(world)


@pytest.fixture(scope="module")
def figures(world: World, log: dict[str, pl.DataFrame]) -> dict[str, float]:
    rows, items = log["impressions"], log["items"]
    clicks = rows["click"].sum()
    found = {"click_standard": rows["click"].mean(), "hate": rows["hate"].mean()}
    for surface in ("feed", "groups", "pages"):
        part = rows.filter(pl.col("surface") == surface)
        found |= {f"share_{surface}": part.height / rows.height, f"click_{surface}": part["click"].mean()}
    found |= {f"{h}_per_click": rows[h].sum() / clicks for h in ("long_view", "like", "comment", "follow", "forward")}
    seconds = items["duration_ms"].to_numpy() / 1000
    exposure = rows.group_by("item_id").len()["len"].to_numpy()
    random_rows = make_log(world, "random")["impressions"]
    return found | {
        "click_random": random_rows["click"].mean(),
        "click_random_feed": random_rows.filter(pl.col("surface") == "feed")["click"].mean(),
        "item_top1_share": np.sort(exposure)[-(len(exposure) // 100) :].sum() / exposure.sum(),
        "item_gini": gini(exposure),
        "user_gini": gini(rows.group_by("user_id").len()["len"].to_numpy()),
        "items_per_request": rows.height / rows["request_id"].n_unique(),
        "duration_p50_s": np.quantile(seconds, 0.5),
        "duration_p90_s": np.quantile(seconds, 0.9),
        "items_without_tags": (items["category"] == -1).mean(),
    }


def gini(counts: NDArray[np.integer], weights: NDArray[np.integer] | None = None) -> float:
    """Twice the area between the Lorenz curve and the diagonal."""
    order = np.argsort(counts)
    x = counts[order].astype(float)
    w = np.ones(len(x)) if weights is None else weights[order].astype(float)
    share, held = np.cumsum(w) / w.sum(), np.cumsum(x * w) / (x * w).sum()
    return float(1 - np.sum(np.diff(np.r_[0, share]) * (held + np.r_[0, held[:-1]])))


@pytest.mark.parametrize("name", FACTS)
def test_made_log_shows_the_fact(name: str, figures: dict[str, float]) -> None:
    assert figures[name] == pytest.approx(FACTS[name].value, abs=FACTS[name].tolerance)


def test_made_log_follows_the_day_and_its_hours(log: dict[str, pl.DataFrame]) -> None:
    rows = log["impressions"].join(log["users"].select("user_id", "utc_offset_min"), on="user_id")
    hour = ((rows["time_ms"] + rows["utc_offset_min"].cast(pl.Int64) * 60_000) // 3_600_000 % 24).to_numpy()
    share = np.bincount(hour, minlength=24) / len(hour)
    assert np.abs(share - np.array(HOURLY_SHARE)).max() < 0.01
    load = rows.group_by("day").len().sort("day")
    expected = np.array([DAILY_LOAD[day] for day in load["day"]])
    # Dormant users come back in the last third, so the made log rises a little more than the published one.
    assert load["len"].to_numpy() / load["len"].mean() == pytest.approx(expected / expected.mean(), rel=0.12)


@pytest.mark.real
def test_facts_are_what_the_aggregates_say(pack: Callable[[str], Path]) -> None:
    folder = pack("kuairand27k_aggregates")
    said = dict(pl.read_csv(folder / "random_vs_standard_comparison.csv").iter_rows())
    tabs = pl.read_csv(folder / "log_standard_tab_stats.csv")
    of_surface = {"pages": (0, 6), "groups": (2, 4), "feed": (1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14)}
    published = {"click_standard": said["ctr_standard"], "click_random": said["ctr_random"]}
    for surface, numbers in of_surface.items():
        part = tabs.filter(pl.col("tab").is_in(numbers))
        published[f"share_{surface}"] = part["exposures"].sum() / tabs["exposures"].sum()
        published[f"click_{surface}"] = part["clicks"].sum() / part["exposures"].sum()
    frequency = pl.read_csv(folder / "log_standard_video_exposure_freq.csv")
    gaps = pl.read_csv(folder / "log_standard_time_gap_bins.csv")
    length = pl.read_csv(folder / "video_basic_video_duration_summary.csv")
    tags = pl.read_csv(folder / "video_basic_tag_count_distribution.csv")
    users = pl.read_csv(folder / "log_standard_user_stats_distribution.csv")["exposures"].to_numpy()
    published |= {
        "click_random_feed": pl.read_csv(folder / "log_random_tab_stats.csv").filter(pl.col("tab") == 1)["ctr"][0],
        "item_top1_share": said["top1pct_exposure_share_standard"],
        "item_gini": gini(frequency["exposure_per_video"].to_numpy(), frequency["video_count"].to_numpy()),
        "user_gini": gini(users),
        "items_per_request": gaps["cnt"].sum() / gaps.filter(pl.col("gap_bin") != "<1s")["cnt"].sum(),
        "duration_p50_s": length["p50"][0] / 1000,
        "duration_p90_s": length["p90"][0] / 1000,
        "items_without_tags": tags.filter(pl.col("tag_num") == 0)["video_count"].sum() / tags["video_count"].sum(),
    }
    for name, value in published.items():
        assert FACTS[name].value == pytest.approx(value, rel=5e-3), name
    assert {name for name in FACTS if name not in published} == {"hate"} | {
        f"{head}_per_click" for head in ("long_view", "like", "comment", "follow", "forward")
    }


@pytest.mark.real
def test_curves_are_what_the_aggregates_say(pack: Callable[[str], Path]) -> None:
    folder = pack("kuairand27k_aggregates")
    hours = pl.read_csv(folder / "log_standard_hourly.csv").sort("hour")["exposures"].to_numpy()
    assert np.array(HOURLY_SHARE) == pytest.approx(hours / hours.sum(), abs=1e-5)
    days = pl.read_csv(folder / "log_standard_daily.csv")
    expected = dict(zip(days["date"].to_list(), (days["exposures"] / days["exposures"].mean()).to_list(), strict=True))
    assert expected == pytest.approx(DAILY_LOAD, abs=1e-4)


@pytest.mark.real
def test_base_rates_are_those_of_the_pure_log(pack: Callable[[str], Path]) -> None:
    rows = pl.read_parquet(pack("kuairand_pure") / "log_standard_4_25_to_5_05_pure.parquet")
    clicks = rows["is_click"].sum()
    # The table is of the whole period, the pack of eleven days of it: the same within a quarter.
    for name, column in {
        "long_view": "long_view",
        "like": "is_like",
        "comment": "is_comment",
        "forward": "is_forward",
    }.items():
        assert rows[column].sum() / clicks == pytest.approx(FACTS[f"{name}_per_click"].value, rel=0.25), name
    assert rows["is_hate"].mean() == pytest.approx(FACTS["hate"].value, rel=0.25)
