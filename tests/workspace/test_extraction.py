"""Extraction from a workspace's items: incremental, a table that definitions name, and the same bits served and back-filled."""

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
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.features.catalog import Catalog
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.plan import Plan
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading
from mainstem.features.statics import Rates, Statics
from mainstem.features.timeline import request_context
from mainstem.features.unified_tables import unified_tables
from mainstem.workspace.definitions import attribute_tables, feature_set
from mainstem.workspace.extraction import extract
from mainstem.workspace.feature_backfill import backfill
from mainstem.workspace.layout import Workspace
from mainstem.workspace.training_set import build_dataset

DECLARED = """
from mainstem.features.language import Attribute, Feature

words = Feature("words", Attribute("words", "vector", "item_id"))
kept_words = Feature("kept_words", Attribute("words", "vector", "kept.item_id"))
alike = Feature("word_alike", "max_of(dot(words, kept_words))", dtype="float64", unit="cosine", about="nearest kept item")
total = Feature("word_total", "sum(dot(words, kept_words))", dtype="float64", unit="cosine", about="all kept items")
"""


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    write_world_log(make_world(WorldSettings(users=60, items=500, days=4, impressions=900, seed=3)), tmp_path / "log")
    (tmp_path / "mainstem.toml").write_text(
        '[features]\ndefinitions = "features.py"\n[features.tables.words]\npath = "extract/words/1.parquet"\n'
    )
    (tmp_path / "features.py").write_text(DECLARED)
    return Workspace.open(tmp_path, {})


def _titles(place: Workspace) -> Path:
    """Titles of all items but a few, which say nothing."""
    items = read_log(place.log).items
    said = [("", "quiet river film", "loud river game", "old town walk")[at % 4] + f" {at % 37}" * (at % 4 > 0)
            for at in range(items.height)]  # fmt: skip
    path = place.folder / "titles.parquet"
    items.select("item_id", "tags").with_columns(title=pl.Series(said)).write_parquet(path)
    return path


def _run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, words)
    if isinstance(done.exception, FeatureError):
        raise done.exception
    return done.exit_code, done.stdout


@pytest.mark.parametrize("encoder", ["hashed", "svd"])
def test_extracted_vectors_are_served_and_back_filled_to_the_bit(place: Workspace, encoder: str) -> None:
    done = extract(place, "words", ("title", "tags"), dim=16, encoder=encoder, source=_titles(place))
    assert done.known > 400
    assert done.table == "extract/words/1.parquet"
    log, features = read_log(place.log), feature_set(place)
    columns = ("word_alike", "word_total")
    past = {name: pl.read_parquet(backfill(place, name).path / "values.parquet") for name in columns}
    rows = past["word_alike"]
    assert 0 < float((rows["word_alike__state"] == 0).mean()) < 1
    assert rows["word_alike"].n_unique() > 50
    whole = FeedbackBatch.from_history(log.history).then(FeedbackBatch.from_frame(log.impressions))
    catalog = Catalog.from_tables(log.items, log.users)
    tables = unified_tables(catalog, Statics.fit(catalog, whole, Rates.fit(whole))) | attribute_tables(place)
    server = LiveState(Plan(features.only(columns)), tables)
    reading = Reading(server.plan, tables, columns)
    events, applied = Events.from_feedback(whole, 0), 0
    for at in range(0, rows.height, 9):
        seen = int(rows["as_of"][at])
        server.apply("feedback", events.take(slice(applied, seen)))
        applied = seen
        asked = np.array([log.history.height + at])
        found = server.read(reading, request_context(whole, asked))
        for name in columns:
            known = past[name][f"{name}__state"][at] == 0
            assert known == (not np.isnan(found[name]).any())
            if known:
                assert np.ravel(found[name])[0].tobytes() == np.float64(past[name][name][at]).tobytes()


def test_a_second_run_computes_what_changed(place: Workspace) -> None:
    path = _titles(place)
    words = ("features", "extract", "words", "--text", "title tags", "--from", str(path), "-w", str(place.folder))
    code, told = _run(*words, "--json", "-q")
    first = json.loads(told)
    assert (code, first["computed"]) == (0, first["rows"])
    table = (place.folder / first["table"]).read_bytes()
    assert json.loads(_run(*words, "--json", "-q")[1])["computed"] == 0
    assert (place.folder / first["table"]).read_bytes() == table
    titles = pl.read_parquet(path)
    changed = pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("new words")).otherwise("title")
    titles.with_columns(title=changed).write_parquet(path)
    assert json.loads(_run(*words, "--json", "-q")[1])["computed"] == 3
    assert (place.folder / first["table"]).read_bytes() != table
    assert '[features.tables.words]\npath = "extract/words/1.parquet"' in _run(*words, "-q")[1]


def test_the_logs_own_items_have_tags(place: Workspace) -> None:
    done = extract(place, "tags", ("tags", "category", "kind"), dim=8)
    assert done.rows == read_log(place.log).items.height
    vectors = pl.read_parquet(place.folder / done.table)
    assert vectors.columns == ["item_id", "vector"]
    length = vectors["vector"].list.eval(pl.element() ** 2).list.sum()
    assert float((length - 1).abs().max()) < 1e-4  # type: ignore[arg-type]


def test_an_svd_keeps_its_space_when_items_come(place: Workspace) -> None:
    path = _titles(place)
    extract(place, "words", ("title",), dim=4, encoder="svd", source=path)
    before = pl.read_parquet(place.folder / "extract/words/1.parquet")
    items = pl.read_parquet(path)
    more = items.tail(1).with_columns(item_id=pl.lit(10**9, pl.Int64), title=pl.lit("quiet town"))
    pl.concat([items, more]).write_parquet(path)
    done = extract(place, "words", ("title",), dim=4, encoder="svd", source=path)
    assert done.computed == 1
    after = pl.read_parquet(place.folder / "extract/words/1.parquet")
    assert after.head(before.height).equals(before)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--text", "no_such"), "feature-061"),
        (("--text", "tags", "--encoder", "hash"), "feature-102"),
        (("--text", "tags", "--from", "nowhere.parquet"), "feature-066"),
        (("--text", "tags", "--version", "../1"), "feature-074"),
    ],
)
def test_wrong_wishes_are_refused(place: Workspace, more: tuple[str, ...], code: str) -> None:
    with pytest.raises(FeatureError) as refused:
        _run("features", "extract", "words", *more, "-w", str(place.folder), "-q")
    assert refused.value.code == code
    assert refused.value.hint


def test_a_changed_definition_needs_a_new_version(place: Workspace) -> None:
    extract(place, "tags", ("tags",), dim=8)
    with pytest.raises(FeatureError) as refused:
        extract(place, "tags", ("tags",), dim=16)
    assert refused.value.code == "feature-070"
    assert extract(place, "tags", ("tags",), dim=16, version="2").table == "extract/tags/2.parquet"


def test_a_training_set_holds_what_is_made_of_vectors_and_names_the_table(place: Workspace) -> None:
    path = _titles(place)
    extract(place, "words", ("title",), dim=8, source=path)
    first = build_dataset(place).record
    assert first.names("feature")[-2:] == ("word_alike", "word_total")
    changed = pl.when(pl.int_range(pl.len()) < 200).then(pl.lit("new words")).otherwise("title")
    pl.read_parquet(path).with_columns(title=changed).write_parquet(path)
    extract(place, "words", ("title",), dim=8, source=path)
    again = build_dataset(place).record
    assert again.definitions == first.definitions
    assert again.inputs["table words"] != first.inputs["table words"]
    assert again.sha256 != first.sha256
