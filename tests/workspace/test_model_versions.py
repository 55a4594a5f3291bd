"""Versions of a trained workspace: refreshed day by day, judged against each other, and followed from a slate to rows."""

from __future__ import annotations

import json

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from mainstem.base.errors import ModelError
from mainstem.cli.models import app
from mainstem.data.log import read_log
from mainstem.data.records import Impression, decode_impression, pack_impression
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.ranking.model import load_model
from mainstem.workspace.daily import EVERY_DAY, Refreshed, learned_until, refresh, rolling
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import split
from mainstem.workspace.model_lineage import model_lineage, model_lineage_text
from mainstem.workspace.platform import open_live
from mainstem.workspace.stability import judge_versions
from mainstem.workspace.train import train_unified

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("versions")
    (folder / "mainstem.toml").write_text('[serve]\nclock = "log"\n[training]\nepochs = 1\n')
    workspace = Workspace.open(folder, {})
    write_world_log(make_world(WorldSettings(users=80, items=500, days=7, impressions=3_500, seed=5)), workspace.log)
    log = read_log(workspace.log)
    train_unified(workspace, log, split(workspace, log), 3, lambda *told, **named: None)
    return workspace


@pytest.fixture(scope="module")
def done(place: Workspace) -> Refreshed:
    log = read_log(place.log)
    return refresh(place, until=log.days[-2])


def test_a_training_leaves_a_version_and_nothing_of_its_checkpoints(place: Workspace) -> None:
    first = place.models().versions()[0]
    assert first.about["learned_from"]["sha256"]
    assert not (place.models().folder / ".training").exists()


def test_a_refresh_learns_every_new_day_up_to_one(place: Workspace, done: Refreshed) -> None:
    log, registry = read_log(place.log), place.models()
    first = registry.versions()[0]
    assert done.parent == first.id
    assert registry.current == done.version
    validation = first.about["learned_from"]["validation_day"]
    assert done.days == tuple(day for day in log.days if validation <= day <= log.days[-2])
    assert set(done.judged_days) <= set(done.days)
    version = registry.get(done.version)
    rows = log.impressions.filter(pl.col("day").is_in(done.days)).height
    assert version.about["learned_from"]["rows"]["train"] == rows == sum(one["rows"] for one in done.warm)
    assert learned_until(log, version.about) == log.days[-2]
    assert load_model(place.unified_model).card["continued"] == first.id


def test_what_is_known_already_is_not_learned_again(place: Workspace, done: Refreshed) -> None:
    with pytest.raises(ModelError) as refused:
        refresh(place, until=done.days[-1])
    assert refused.value.code == "model-045"


def test_a_model_of_another_log_is_not_gone_on_with(
    place: Workspace, done: Refreshed, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = read_log(place.log)
    other = msgspec.structs.replace(log.manifest, name="another")
    monkeypatch.setattr("mainstem.workspace.daily.open_log", lambda workspace: type(log)(log.folder, other))
    with pytest.raises(ModelError) as refused:
        refresh(place)
    assert refused.value.code == "model-047"


def test_versions_are_judged_on_days_that_neither_learned(place: Workspace, done: Refreshed) -> None:
    found = judge_versions(place)
    assert (found.before, found.after) == (done.parent, done.version)
    assert found.days == (read_log(place.log).days[-1],)
    assert found.learned == ()
    assert {cell.head for cell in found.found.cells} >= {"click", "long_view"}
    known = judge_versions(place, days=done.days)
    assert known.learned == done.days
    with pytest.raises(ModelError) as refused:
        judge_versions(place, after="1")
    assert refused.value.code == "model-054"


def test_the_verbs_tell_of_versions(place: Workspace, done: Refreshed) -> None:
    run, where = CliRunner(), ["-w", str(place.folder)]
    rows = json.loads(run.invoke(app, ["list", *where, "--json"]).stdout)["versions"]
    assert [row["serves"] for row in rows] == [False, True]
    assert all(row["whole"] for row in rows)
    shown = run.invoke(app, ["show", "current", *where])
    assert shown.exit_code == 0
    assert done.version in shown.stdout
    judged = run.invoke(app, ["stability", *where, "--json", "-q"])
    answer = json.loads(judged.stdout)["found"]["answer"]
    assert judged.exit_code == (3 if answer == "unstable" else 0)
    back = run.invoke(app, ["promote", done.parent, "--reason", "to look", *where])
    assert back.exit_code == 0
    assert place.models().current == done.parent
    run.invoke(app, ["promote", done.version, *where])
    assert place.models().current == done.version


def test_what_a_night_is_worth_is_measured_before_it_is_learned(place: Workspace, done: Refreshed) -> None:
    place.models().promote(done.parent)
    try:
        gains = rolling(place, heads=("long_view",))
    finally:
        place.models().promote(done.version)
    assert [one.day for one in gains] == [*read_log(place.log).days[-len(gains) + 1 :], EVERY_DAY]
    whole = gains[-1]
    assert whole.rows == sum(one.rows for one in gains[:-1])
    assert len(place.models().versions()) == 2


def test_a_slate_is_followed_to_its_version_and_the_rows_it_learned(place: Workspace, done: Refreshed) -> None:
    live = open_live(place)
    live.follower.start()
    request = live.request(10**12, 7, "feed")
    assert live.remember(request, live.rank(request))
    assert live.remember(live.request(10**12 + 1, 7, "feed"), live.fallback(request, "drill"))
    live.log.flush()
    live.log.close()
    found = model_lineage(place, 10**12)
    assert found.request is not None
    assert found.request["model"] == done.version
    assert [link.version for link in found.chain] == [done.version, done.parent]
    assert found.gaps == ()
    log = read_log(place.log)
    new, first = found.chain
    (table,) = new.tables
    assert log.impressions["day"][table.first] == done.days[0]
    assert log.impressions["day"][table.last] == done.days[-1]
    assert first.offsets is not None
    assert sum(part.rows for part in first.tables) == first.offsets[1] - first.offsets[0] + 1
    text = model_lineage_text(found)
    assert done.version in text
    assert f"learned {first.learned_from[:12]}" in text
    words = ["lineage", "--request", str(10**12), "-w", str(place.folder)]
    assert CliRunner().invoke(app, words).stdout.strip() == text
    with pytest.raises(ModelError) as refused:
        model_lineage(place, 5)
    assert refused.value.code == "model-053"


def test_an_impression_from_before_versions_is_still_read(place: Workspace) -> None:
    import numpy as np

    record = pack_impression(
        np.arange(3), {}, request_id=1, user_id=2, surface="feed", time_ms=1_650_000_000_000, stack="unified"
    )
    body = msgspec.msgpack.decode(record.payload())
    assert "model" not in body
    assert decode_impression(msgspec.msgpack.encode(body)).model == ""
    named = msgspec.structs.replace(record, model="0001-abc")
    assert isinstance(named, Impression)
    assert decode_impression(named.payload()).model == "0001-abc"
