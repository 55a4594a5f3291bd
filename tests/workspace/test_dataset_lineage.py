"""From a served item back to rows: live impressions and imported ones, every value and every event counted again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from mainstem.base.errors import FeatureError
from mainstem.cli.verbs import app
from mainstem.data.log import read_log
from mainstem.data.records import Feedback
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.workspace.layout import Workspace
from mainstem.workspace.lineage import Lineage, lineage
from mainstem.workspace.lineage_text import lineage_text
from mainstem.workspace.log import split
from mainstem.workspace.platform import open_live
from mainstem.workspace.train import train_unified
from mainstem.workspace.training_set import build_dataset

HOUR_MS = 3_600_000


def _world(folder: Path, toml: str) -> Workspace:
    (folder / "mainstem.toml").write_text(toml)
    workspace = Workspace.open(folder, {})
    write_world_log(make_world(WorldSettings(users=60, items=500, days=6, impressions=2_000, seed=5)), workspace.log)
    return workspace


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return _world(tmp_path_factory.mktemp("lineage"), "")


def _events(found: Lineage, feature: str) -> int:
    return next(one.events for one in found.features if one.name == feature)


def test_a_row_of_the_log_is_followed_to_the_rows_that_polars_counts(place: Workspace) -> None:
    log = read_log(place.log)
    shown = log.impressions.with_row_index("row")
    often = shown.filter(pl.col("row") > 1_000)["item_id"].value_counts(sort=True)["item_id"][0]
    row = shown.filter((pl.col("item_id") == often) & (pl.col("row") > 1_000)).tail(1).to_dicts()[0]
    found = lineage(place, row["request_id"], row["item_id"])
    assert found.origin == "log"
    assert found.slate.user_id == row["user_id"]
    known = found.slate.as_of - log.history.height
    seen = shown.filter(pl.col("row") < known)
    assert seen["time_ms"].max() <= row["time_ms"] - 60_000
    of_item = seen.filter(pl.col("item_id") == often).height + log.history.filter(pl.col("item_id") == often).height
    assert _events(found, "item_count") == of_item > 0
    tile = row["time_ms"] // (6 * HOUR_MS)
    lately = seen.filter((pl.col("item_id") == often) & ((tile - pl.col("time_ms") // (6 * HOUR_MS)).is_between(0, 3)))
    assert _events(found, "item_count_24h") == lately.height
    kept = seen.filter(pl.col("user_id") == row["user_id"]).height
    earlier = log.history.filter(pl.col("user_id") == row["user_id"]).height
    assert _events(found, "recent_count") == min(50, kept + earlier)
    for name in ("item_count", "item_count_24h", "lifetime_count", "place_count", "creator_count"):
        one = next(feature for feature in found.features if feature.name == name)
        assert np.isclose(np.expm1(one.values[name]), one.events)
    tables = {"log/impressions.parquet": log.impressions, "log/history.parquet": log.history}
    for state in found.states:
        assert state.last_offset < found.slate.as_of
        for event in state.rows:
            there = tables[event.segment].row(event.row, named=True)
            assert event.segment != "log/impressions.parquet" or there["time_ms"] == event.time_ms
            assert all(there[name] == value for name, value in state.key.items() if name in ("user_id", "item_id"))
    assert found.gaps == ("the workspace has no model",)


def test_training_sets_of_the_same_log_and_definitions_are_named(place: Workspace) -> None:
    record = build_dataset(place).record
    row = read_log(place.log).impressions.row(1_500, named=True)
    found = lineage(place, row["request_id"], row["item_id"])
    assert found.datasets == {"own": record.sha256}
    told = open_set_values(place, found)
    for one in found.features:
        for column, value in one.values.items():
            assert np.float32(value).tobytes() == np.float32(told[column]).tobytes(), column


def open_set_values(place: Workspace, found: Lineage) -> dict[str, float]:
    """The same row as the training set holds it; without a model both learn their constants from the log alike."""
    rows = pl.scan_parquet(place.folder / "datasets" / "own" / "*" / "*.parquet")
    wanted = (pl.col("request_id") == found.slate.request_id) & (pl.col("item_id") == found.item_id)
    return rows.filter(wanted).collect().to_dicts()[0]


def test_what_is_not_there_is_refused(place: Workspace) -> None:
    row = read_log(place.log).impressions.row(0, named=True)
    for request, item in ((10**15, 1), (row["request_id"], 10**15)):
        with pytest.raises(FeatureError) as refused:
            lineage(place, request, item)
        assert refused.value.code == "feature-094"


@pytest.mark.slow
def test_a_served_item_is_followed_through_the_live_log(tmp_path: Path) -> None:
    place = _world(tmp_path, '[serve]\nclock = "log"\n[training]\nepochs = 1\n')
    log = read_log(place.log)
    model = train_unified(place, log, split(place, log), 3, lambda *told, **named: None)
    taught = model.card["learned_from"]
    assert taught["log"]["sha256"] == log.manifest.sha256
    assert taught["feature_set"] == model.features.fingerprint
    assert taught["definitions"]["item_count"] == [1, model.features.fingerprints["item_count"]]
    live = open_live(place)
    live.follower.start()
    user, item = 7, int(log.items["item_id"][3])

    def happened(first: int, count: int) -> None:
        now = live.clock.now_ms()
        live.log.append(
            [
                Feedback(request_id=first + n, user_id=user, item_id=item, surface="feed", time_ms=now, long_view=n % 2)
                for n in range(count)
            ]
        )
        live.follower.catch_up()

    happened(10**9, 4)
    request = live.request(10**12, user, "feed")
    slate = live.rank(request)
    assert live.remember(request, slate)
    live.log.flush()
    happened(10**10, 3)
    live.log.close()
    first = int(slate.item_ids[0])
    found = lineage(place, 10**12, first)
    assert found.origin == "live"
    assert found.slate.as_of == log.history.height + log.impressions.height + 4
    assert found.log["live"] == 7
    assert found.agree[1] > 150
    assert found.agree[0] == found.agree[1]
    mine = next(state for state in found.states if dict(state.key) == {"user_id": user} and state.window == "ever")
    assert [event.segment for event in mine.rows[:4]] == ["live/events.sqlite"] * 4
    assert [event.row for event in mine.rows[:4]] == [4, 3, 2, 1]
    assert found.model["learned_from"] == taught["sha256"]
    assert found.model["version"] == place.models().current
    assert found.gaps == ()
    text = lineage_text(found)
    assert "served live" in text
    assert taught["sha256"][:12] in text
    words = ["dataset", "lineage", "--request", str(10**12), "--item", str(first), "-w", str(place.folder), "-q"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert json.loads(done.stdout)["slate"]["as_of"] == found.slate.as_of
    assert CliRunner().invoke(app, words).stdout.strip() == text
