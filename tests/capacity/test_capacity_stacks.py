"""Whole stacks told from small deployments: lines that are known, figures that may not tell themselves, servers' files."""

import json
import math
import os
import threading
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mainstem.base.errors import CapacityError
from mainstem.capacity.stacks import Sample, errors, median_error, savings, told, took
from mainstem.cli.capacity import app
from mainstem.data.records import pack_impression
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.store.event_log import EventLog
from mainstem.workspace import capacity_stacks, capacity_told
from mainstem.workspace.capacity_stacks import (
    SMALL,
    Server,
    carried_by,
    cpu_s,
    logged_by_slate,
    part_of,
    resident_bytes,
    scale_legacy,
    scaled_settings,
)
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log

SURFACES = {"feed": "old", "pages": "old"}


def sample(stack: str, share: float, scale: float, *, factor: float = 1.0, noise: float = 0.0) -> Sample:
    draw = np.random.default_rng([round(share * 100), round(scale * 100)])
    cost = factor * (4e-3 + 6e-3 * scale)
    each = {name: cost * draw.lognormal(0, 0.1, 400) for name in SURFACES}
    each = {name: values * cost / values.mean() * (1 + noise * draw.normal()) for name, values in each.items()}
    rows = 1_000_000 * share
    logged = {size: factor * (100.0 + 20 * size + 300 * scale) for size in (4, 7, 10)}
    return Sample(stack, share, scale, each, factor * (2e8 + 3e8 * share), rows, factor * (5 + 2e-5 * rows), logged)


def test_what_is_linear_is_told_exactly():
    small, whole = [sample("old", *at) for at in SMALL], sample("old", 1.0, 1.0)
    found = told(small, rows=whole.rows, count=10, cores=2, slo_s=0.1)
    real = took(whole, count=10, cores=2, slo_s=0.1)
    assert found.request_s["feed"] == pytest.approx(0.01)
    assert found.resident == pytest.approx(5e8)
    assert found.logged == pytest.approx(600)
    assert found.rows_s == pytest.approx(1e6 / 25)
    assert found.knee == pytest.approx(real.knee, rel=0.03)
    assert real.knee < 2 / 0.01
    assert median_error(errors({"old": found}, {"old": real})) < 0.01


def test_a_saving_is_told_in_points():
    needs = {}
    for name, factor in (("old", 1.0), ("new", 0.4)):
        small = [sample(name, *at, factor=factor, noise=0.01) for at in SMALL]
        needs[name] = told(small, rows=1e6, count=10, cores=1, slo_s=0.1)
    real = {
        name: took(sample(name, 1.0, 1.0, factor=factor), count=10, cores=1, slo_s=0.1)
        for name, factor in (("old", 1.0), ("new", 0.4))
    }
    found = savings(needs, real, SURFACES, "new")
    assert [one.measured for one in found] == pytest.approx([0.6] * 4)
    assert all(abs(one.points) < 3 for one in found)


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [sample("old", *at) for at in SMALL] + [sample("old", 1.0, 1.0)],
        [sample("old", 0.3, 0.2), sample("new", 0.6, 0.4)],
        [sample("old", 0.3, 0.2), sample("old", 0.3, 0.4)],
    ],
)
def test_a_stack_is_not_told_from_itself_nor_from_too_little(samples: list[Sample]):
    with pytest.raises(CapacityError) as refused:
        told(samples, rows=1e6, count=10, cores=1, slo_s=0.1)
    assert refused.value.code == "capacity-068"


def test_settings_of_a_small_deployment_are_the_file_with_fewer_candidates(tmp_path: Path):
    text = 'name = "x"\n[serve]\nclock = "log"\n[surfaces.base]\ncount = 5\n[surfaces.base.rules]\nseen = 9\n'
    text += '[surfaces.feed]\nextends = "base"\nsources = { fresh = 100 }\n[surfaces.feed.rules]\ncreator_cap = 1\n'
    (tmp_path / "mainstem.toml").write_text(text)
    place = Workspace.open(tmp_path)
    (tmp_path / "mainstem.toml").write_text(scaled_settings(place, 0.4))
    found = Workspace.open(tmp_path).settings.served()["feed"]
    assert (found.candidates, found.rank, found.count) == (400, 200, 5)
    assert (found.sources["fresh"], found.sources["popular"]) == (40, 120)
    assert (found.rules.seen, found.rules.creator_cap) == (9, 1)
    assert carried_by(place) == {"feed": "content-first"}
    assert tomllib.loads((tmp_path / "mainstem.toml").read_text())["serve"]["clock"] == "log"


def test_legacy_programs_fetch_fewer(tmp_path: Path):
    (tmp_path / "flags.json").write_text(json.dumps({"feed.quota.fresh": 200, "feed.creator_cap": 2}))
    (tmp_path / "plans.toml").write_text("[plan.base]\nfetch = 600  # posts\nshare = 0.5\n")
    scale_legacy(tmp_path, 0.25)
    assert json.loads((tmp_path / "flags.json").read_text()) == {"feed.quota.fresh": 50, "feed.creator_cap": 2}
    assert tomllib.loads((tmp_path / "plans.toml").read_text()) == {"plan": {"base": {"fetch": 150, "share": 0.5}}}


def test_bytes_are_those_of_the_durable_log(tmp_path: Path):
    with EventLog(tmp_path / "events.sqlite") as log:
        for at in range(60):
            ids = np.arange(10 if at % 2 else 4)
            scores = {"scores": np.zeros(ids.size)}
            log.offer(
                pack_impression(
                    ids, scores, request_id=at, user_id=1, surface="feed", time_ms=1_700_000_000_000, stack="unified"
                )
            )
        log.flush()
    found = logged_by_slate(tmp_path / "events.sqlite")
    assert set(found) == {4, 10}
    assert found[10] > found[4] > 64


def test_what_a_process_used_is_told_and_what_is_none_is_refused():
    first = cpu_s(os.getpid())
    assert sum(x * x for x in range(200_000)) > 0
    assert cpu_s(os.getpid()) >= first > 0
    assert resident_bytes(os.getpid()) > 1e7
    with pytest.raises(CapacityError) as refused:
        cpu_s(2**22 + 1)
    assert refused.value.code == "capacity-071"


def test_a_server_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Reply:
        status = 503

        def read(self) -> bytes:
            return b"loading"

    class Link:
        def request(self, *_: object) -> None: ...
        def getresponse(self) -> Reply:
            return Reply()

    one = Server("unified", 1.0, 1.0, tmp_path, os.getpid(), "http://127.0.0.1:1", [1], 0, 1, 1.0)
    monkeypatch.setattr(Server, "_linked", lambda _: Link())
    with pytest.raises(CapacityError) as refused:
        one.ask("feed", 10, counted=True)
    assert refused.value.code == "capacity-070"


def test_the_verb_says_met_or_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small = {
        name: [sample(name, *at, factor=f) for at in SMALL] for name, f in (("content-first", 1), ("unified", 0.5))
    }
    whole = {name: replace(sample(name, 1.0, 1.0, factor=f)) for name, f in (("content-first", 1), ("unified", 0.5))}
    found = {name: [*small[name], whole[name]] for name in small}
    monkeypatch.setattr(capacity_told, "deployments", lambda *_, **__: found)
    monkeypatch.setattr(capacity_told, "carried_by", lambda _: dict.fromkeys(SURFACES, "content-first"))
    monkeypatch.setattr("mainstem.workspace.log.open_log", lambda _: None)
    monkeypatch.setattr("mainstem.workspace.log.split", lambda *_: type("Parts", (), {"sha256": "abc"}))
    asked = CliRunner().invoke(app, ["stacks", "-w", str(tmp_path), "--requests", "20"])
    assert asked.exit_code == 0, asked.output
    assert "met" in asked.output
    assert "missed" not in asked.output
    held = Workspace.open(tmp_path).read_evidence("capacity_stacks")
    assert held is not None
    assert held["split"] == "abc"


def test_a_process_that_ended_threads_keeps_their_time():
    def work() -> None:
        assert sum(x * x for x in range(300_000)) > 0

    before = cpu_s(os.getpid())
    one = threading.Thread(target=work)
    one.start()
    one.join()
    assert cpu_s(os.getpid()) - before > 1e-3


@pytest.mark.parametrize(("took", "times"), [([1.5, 1.2, 1.9], 3), ([50.0], 1)])
def test_a_stopped_run_goes_on_with_what_it_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took: list[float], times: int
):
    """What is short is trained a few times, and the least is kept: what else a machine does only makes it dearer."""
    called = []
    monkeypatch.setattr(capacity_stacks, "_apart", lambda *given: called.append(given) or (7, took[len(called) - 1]))
    for _ in range(2):
        assert capacity_stacks._once(tmp_path, "unified", 1) == (7, min(took))
    assert len(called) == times


def test_a_part_of_a_workspace_has_some_users_and_every_item(tmp_path: Path):
    place = Workspace.open(tmp_path / "whole")
    write_world_log(make_world(WorldSettings(users=80, items=500, days=4, impressions=900, seed=3)), place.log)
    whole = open_log(place)
    kept = open_log(part_of(place, tmp_path / "part", 0.5))
    again = open_log(part_of(place, tmp_path / "again", 0.5))
    more = open_log(part_of(place, tmp_path / "more", 0.8))
    users = set(kept.users["user_id"])
    assert 0.3 < len(users) / whole.users.height < 0.7
    assert kept.items.equals(whole.items)
    assert set(kept.impressions["user_id"]) <= users <= set(more.users["user_id"])
    assert kept.impressions.equals(again.impressions)


def test_without_a_training_none_is_told():
    small = [replace(sample("old", *at), train_s=math.nan) for at in SMALL]
    whole = replace(sample("old", 1.0, 1.0), train_s=math.nan)
    first = told(small, rows=1e6, count=10, cores=1, slo_s=0.1)
    second = took(whole, count=10, cores=1, slo_s=0.1)
    assert len(second.metrics()) == len(errors({"old": first}, {"old": second})) == 3
    found = savings({"old": first}, {"old": second}, SURFACES, "old")
    assert "CPU of training" not in [one.what for one in found]


def test_the_workspaces_own_models_serve_or_are_missed(tmp_path: Path):
    place, part = Workspace.open(tmp_path / "whole"), Workspace.open(tmp_path / "part")
    for name in (*capacity_stacks.STACKS, "retrieval"):
        with pytest.raises(CapacityError) as refused:
            capacity_stacks.copy_models(place, part)
        assert refused.value.code == "capacity-069"
        (place.folder / "models" / name).mkdir(parents=True)
        (place.folder / "models" / name / "held").write_text(name)
    capacity_stacks.copy_models(place, part)
    assert (part.folder / "models" / "retrieval" / "held").read_text() == "retrieval"
