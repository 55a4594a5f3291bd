"""A workspace's log as a training set: the same hash however it is made, what the ranker reads, nothing from the future."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from mainstem.base.errors import FeatureError
from mainstem.base.heads import HEADS
from mainstem.cli.verbs import app
from mainstem.data.log import read_log, write_log
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.features.backfill import Backfill, Requests
from mainstem.features.dataset.build import CONTRACT
from mainstem.features.dataset.dataset import open_dataset
from mainstem.features.events import Events
from mainstem.features.reading import Reading
from mainstem.features.timeline import request_context
from mainstem.ranking.lesson import lesson
from mainstem.workspace.definitions import feature_set
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import split
from mainstem.workspace.training_set import Offline, build_dataset, parts_of

DECLARED = """
from mainstem.features.language import Feature, Listed, count
from mainstem.features.unified import FEEDBACK

creator_likes = Feature("creator_likes", count("{where}"), over="creator_id", source=FEEDBACK, windows=("1d", "7d"),
                        unit="likes", about="likes of its creator's items", version={version})
newest = Feature("newest_items", Listed("kept.item_id", 3), about="the latest items")
unread = Feature("in_list", "kept.item_id == item_id", about="a list of its own: no value of a row")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("sets")
    world = make_world(WorldSettings(users=60, items=500, days=6, impressions=1_500, seed=5))
    write_world_log(world, folder / "log")
    (folder / "mainstem.toml").write_text('[features]\ndefinitions = "features.py"\n')
    (folder / "features.py").write_text(DECLARED.format(where="like == 1", version=1))
    return Workspace.open(folder, {})


@pytest.fixture(scope="module")
def own(place: Workspace) -> pl.DataFrame:
    return build_dataset(place).lazy().collect()


def _run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, words)
    if isinstance(done.exception, FeatureError):
        raise done.exception
    return done.exit_code, done.stdout


def test_one_hash_across_chunks_and_processes(place: Workspace, own: pl.DataFrame, tmp_path: Path) -> None:
    first = open_dataset(place.folder / "datasets" / "own").record
    other = build_dataset(place, out=tmp_path / "other" / "own", chunk_rows=97).record
    assert other.sha256 == first.sha256
    assert len(other.files) > len(first.files)
    words = ("dataset", "build", "-w", str(place.folder), "--out", str(tmp_path / "again" / "own"), "--json", "-q")
    code = f"from mainstem.cli.verbs import app; app({words!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sha256"] == first.sha256


def test_it_holds_what_the_ranker_learns_from(place: Workspace, own: pl.DataFrame) -> None:
    log = read_log(place.log)
    parts = split(place, log)
    taught = lesson(
        log.items, log.users, log.impressions, log.history, parts.validation_day,
        tuple(place.settings.served()), place.settings.training.feedback_delay_ms, feature_set(place),
    )  # fmt: skip
    first = log.history.height + log.impressions.filter(pl.col("day") <= parts.validation_day).height
    offset = np.arange(first - len(taught.feedback), first)[taught.timed]
    rows = own.filter(pl.col("offset").is_in(offset.tolist()))
    assert rows.height > 300
    at = np.searchsorted(offset, rows["offset"].to_numpy())
    for role, side in (("user", taught.values.user), ("item", taught.values.item), ("cross", taught.values.cross)):
        names = taught.features.columns_of(role)
        learned = side[taught.timed][at]
        for place_, name in enumerate(names):
            mine = rows[name].to_numpy()
            assert mine.dtype == np.float32
            assert mine.tobytes() == np.ascontiguousarray(learned[:, place_]).tobytes(), name


def test_nothing_of_the_future_is_in_it(place: Workspace, own: pl.DataFrame) -> None:
    log = read_log(place.log)
    features = feature_set(place)
    offline = Offline.of(log, features, tuple(place.settings.served()), split(place, log).validation_day, {})
    columns = offline.columns([features.by_name["creator_likes"]])
    reading = Reading(offline.plan, offline.tables, columns)
    rows = own.slice(own.height // 2, 40)
    cut = int(rows["as_of"].max())  # type: ignore[arg-type]
    known = Events.from_feedback(offline.feedback, 0).take(slice(0, cut))
    blind = Backfill(offline.plan, offline.tables, {"feedback": known})
    asked, as_of = rows["offset"].to_numpy(), rows["as_of"].to_numpy()
    found = blind.values(reading, Requests(request_context(offline.feedback, asked), as_of))
    for column in reading.columns:
        told = np.where(np.isnan(found[column.name]), column.feature.when_empty, found[column.name])
        assert told.astype(column.feature.dtype).tobytes() == rows[column.name].to_numpy().tobytes(), column.name
    assert cut < len(offline.feedback) - 100


def test_declared_features_are_in_it_and_a_new_meaning_is_another_set(place: Workspace, tmp_path: Path) -> None:
    own = open_dataset(build_dataset(place).folder)
    names = own.record.names("feature")
    assert names[-3:] == ("creator_likes_1d", "creator_likes_7d", "newest_items")
    assert "in_list" not in names
    by_name = {one.name: one for one in own.record.definitions}
    assert by_name["creator_likes"].fingerprint == feature_set(place).fingerprints["creator_likes"]
    assert own.record.features_version == feature_set(place).fingerprint
    (place.folder / "features.py").write_text(DECLARED.format(where="click == 1", version=2))
    try:
        changed = build_dataset(place, out=tmp_path / "own").record
    finally:
        (place.folder / "features.py").write_text(DECLARED.format(where="like == 1", version=1))
    assert changed.sha256 != own.record.sha256
    assert {one.name: one for one in changed.definitions}["creator_likes"].version == 2


def test_labels_are_the_rules(place: Workspace, own: pl.DataFrame, tmp_path: Path) -> None:
    shown = read_log(place.log).impressions.with_row_index("at")
    first = read_log(place.log).history.height
    joined = own.join(shown.with_columns(offset=pl.col("at").cast(pl.Int64) + first), on="offset", suffix="_log")
    assert joined.height == own.height == shown.height
    for head in HEADS:
        assert joined[f"label_{head}"].to_list() == joined[head].to_list()
    touched = build_dataset(place, "content-first", tmp_path / "touched").record
    assert {rule.window_ms for rule in touched.rules} == {1_800_000}
    anyone = build_dataset(place, "interest-first", tmp_path / "anyone").record
    assert {rule.join for rule in anyone.rules} == {"any_touch"}
    assert any(one.reason == "window crosses the part's end" for one in anyone.removed)
    for record in (touched, anyone):
        assert record.rows + record.rows_removed == shown.height
    with pytest.raises(FeatureError) as refused:
        build_dataset(place, "content")
    assert refused.value.code == "feature-100"
    assert "content-first" in refused.value.hint


def test_rows_that_constants_were_learned_from_are_left_out(place: Workspace, tmp_path: Path) -> None:
    log = read_log(place.log)
    bare = Workspace.open(tmp_path, {})
    tables = {"impressions": log.impressions, "items": log.items, "users": log.users}
    write_log(tables, bare.log, log.manifest)
    record = build_dataset(bare).record
    taught = log.impressions.filter(pl.col("day") < split(bare, read_log(bare.log)).validation_day).height
    gone = [one for one in record.removed if one.rule == "click"]
    assert [one.reason for one in gone] == ["constants were learned from it"]
    assert record.rows_removed == gone[0].positives + gone[0].negatives + gone[0].unknown == taught // 3


def test_days_that_do_not_follow_times_are_refused(place: Workspace, tmp_path: Path) -> None:
    log = read_log(place.log)
    mixed = log.impressions.with_columns(day=pl.col("day").reverse())
    write_log({"impressions": mixed, "items": log.items, "users": log.users}, tmp_path / "log", log.manifest)
    other = read_log(tmp_path / "log")
    with pytest.raises(FeatureError) as refused:
        parts_of(other, other.days[2], other.days[3:])
    assert refused.value.code == "feature-101"


def test_days_between_and_after_the_parts_are_parts_of_their_own(place: Workspace) -> None:
    log = read_log(place.log)
    days = log.days
    assert parts_of(log, days[1], (days[3],)).names == ("train", "validation", "between", "test", "after")
    assert parts_of(log, days[1], days[2:]).names == ("train", "validation", "test")


def test_a_broken_set_is_told_and_ends_with_3(place: Workspace, own: pl.DataFrame, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    code, told = _run("dataset", "build", "-w", str(place.folder), "--out", str(folder), "-q")
    assert code == 0
    code, told = _run("dataset", "check", str(folder), "--json", "-q")
    assert (code, json.loads(told)["whole"], json.loads(told)["rules"] > 237) == (0, True, True)
    code, described = _run("dataset", "describe", str(folder))
    assert code == 0
    assert json.loads(told)["sha256"] in described
    contract = folder / CONTRACT
    text = contract.read_text()
    contract.write_text(text.replace("urn:mainstem:dataset:", "urn:mainstem:dataset:0"))
    code, told = _run("dataset", "check", str(folder), "-q")
    assert code == 3
    assert "the contract beside the rows" in told
    rows = open_dataset(folder).record.rows
    contract.write_text(text.replace(f'"mustBe": {rows}', f'"mustBe": {rows + 1}'))
    code, told = _run("dataset", "check", str(folder), "-q")
    assert code == 3
    assert "feature-091" in told
    contract.write_text(text)
    part = next(folder.rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    code, told = _run("dataset", "check", str(folder), "-q")
    assert code == 3
    assert "feature-089" in told
    with pytest.raises(FeatureError) as refused:
        _run("dataset", "check", str(tmp_path), "-q")
    assert refused.value.code == "feature-088"


def test_a_feature_of_a_table_that_is_not_there_is_refused_and_not_left_out(place: Workspace, tmp_path: Path) -> None:
    more = 'from mainstem.features.language import Attribute, Feature\nx = Feature("x", Attribute("nowhere", "x", "item_id"))\n'
    (place.folder / "features.py").write_text(more)
    try:
        with pytest.raises(FeatureError) as refused:
            build_dataset(place, out=tmp_path / "own")
    finally:
        (place.folder / "features.py").write_text(DECLARED.format(where="like == 1", version=1))
    assert refused.value.code == "feature-012"
    assert not (tmp_path / "own").exists()
