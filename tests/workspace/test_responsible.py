"""The assessment on a small made workspace: what is measured, written, read back, and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from served_world import made_workspace
from typer.testing import CliRunner

from mainstem.base.errors import EvidenceError
from mainstem.cli.verbs import app
from mainstem.data.world import WorldSettings, make_world
from mainstem.evaluate.risk import read_risks
from mainstem.report.figure import Drawn
from mainstem.report.floor_front import floor_front_figure
from mainstem.workspace.canaries import run_canaries, with_future_changed, with_outcomes_dealt
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log, split
from mainstem.workspace.mitigation import mitigate, small_below
from mainstem.workspace.responsible import assess
from mainstem.workspace.responsible_floor import floor_prices, side_by_side
from mainstem.workspace.responsible_rows import column_of
from mainstem.workspace.responsible_text import (
    canary_rows,
    exposure_rows,
    floor_rows,
    mitigation_rows,
    risk_rows,
    slice_rows,
)

SMALL = WorldSettings(users=60, items=600, days=3, impressions=600, seed=5)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return made_workspace(tmp_path_factory.mktemp("responsible"))


@pytest.fixture(scope="module")
def found(workspace):
    return assess(workspace, ("kind", "following_count", "duration_ms"), legacy=False, canaries=False, seed=3)


def test_everything_is_measured_and_written(workspace, found):
    assert {one.arm for one in found.exposure} == {"unified", "popularity"}
    by = {cell.by for cell in found.slices}
    assert {"all", "surface", "user activity", "item age, days", "creator impressions before", "duration_ms"} <= by
    read = read_risks(workspace.evidence("risk"), log=open_log(workspace).manifest.sha256)
    assert read == found.assessment
    names = {risk.name: risk for risk in read.risks}
    assert names["leak: future row"].state == "not measured"
    assert names["popularity"].value is not None
    told = json.loads(workspace.evidence("responsible").read_text())
    assert len(told["slices"]) == len(found.slices)
    for rows in (slice_rows(found.slices, "click"), exposure_rows(found.exposure), risk_rows(read)):
        assert rows
    assert canary_rows(()) == []


def test_a_floor_on_the_log_is_priced_in_what_happened(found):
    assert len(found.floors) == 4
    assert [one.expected for one in found.floors] == sorted(one.expected for one in found.floors)
    assert len(floor_rows(found.floors)) == 4


def test_rows_side_by_side_and_their_floor():
    users = np.array([7, 7, 3, 7, 3])
    values, small = np.array([0.9, 0.5, 0.2, 0.1, 0.8]), np.array([0, 1, 0, 1, 1])
    choices = side_by_side(users, values, small, np.array([1, 0, 1, 1, 0]), places=2)
    assert choices.viewers.tolist() == [7]
    assert choices.values.tolist() == [[0.9, 0.5, 0.1]]
    first, all_small = floor_prices(choices, (0.75, 1.5), places=2)
    assert (first.share, first.expected) == (0.5, 0.0)
    assert all_small.share == 1.0
    assert all_small.expected == pytest.approx((0.9 - 0.1) / 1.4)
    assert floor_prices(side_by_side(users, values, small * 0, small, places=2)) == ()
    assert floor_prices(side_by_side(users, values, small, small, places=5)) == ()


def test_the_same_seed_says_the_same(workspace, found):
    again = assess(workspace, ("kind", "following_count", "duration_ms"), legacy=False, canaries=False, seed=3)
    assert again.slices == found.slices
    assert again.exposure == found.exposure
    assert again.assessment.risks == found.assessment.risks


def test_a_column_is_found_wherever_it_is(workspace):
    log = open_log(workspace)
    rows = log.impressions
    assert len(column_of(log, "surface")) == rows.height
    owner = dict(log.items.select("item_id", "category").iter_rows())
    assert column_of(log, "category")[:9].tolist() == [str(owner[item]) for item in rows["item_id"][:9].to_list()]
    assert column_of(log, "registered_days").dtype == np.float64
    for name in ("tags", "colour"):
        with pytest.raises(EvidenceError) as refused:
            column_of(log, name)
        assert refused.value.code == "evidence-014"


def test_the_canaries_say_what_they_must(workspace):
    birds = {(one.name, one.expected_clean): one for one in run_canaries(workspace, 3, 80)}
    for name in ("label permutation", "future row"):
        assert birds[name, True].passed, birds[name, True]
        assert birds[name, False].passed, birds[name, False]
    assert birds["shuffled timing", False].passed
    assert canary_rows(list(birds.values()))


def test_dealing_and_planting_change_only_what_they_say(workspace):
    log = open_log(workspace)
    parts = split(workspace, log)
    early = log.impressions["day"].to_numpy() < parts.validation_day
    dealt = with_outcomes_dealt(log, parts, 1).impressions
    assert dealt.filter(early).equals(log.impressions.filter(early))
    assert dealt["click"].sum() == log.impressions["click"].sum()
    assert not dealt["click"].equals(log.impressions["click"])
    assert dealt.select("user_id", "item_id", "time_ms").equals(log.impressions.select("user_id", "item_id", "time_ms"))
    cut = int(log.impressions["time_ms"].median())
    later = log.impressions["time_ms"].to_numpy() > cut
    planted = with_future_changed(log, cut).impressions
    assert planted.filter(~later).equals(log.impressions.filter(~later))
    assert (planted.filter(later)["click"] + log.impressions.filter(later)["click"]).to_list() == [1] * int(later.sum())
    assert open_log(workspace).impressions.equals(log.impressions)


def test_a_floor_has_a_price_and_a_front(tmp_path):
    workspace = Workspace.open(tmp_path, {})
    found = mitigate(workspace, requests=25, seed=5, world=SMALL)
    assert found.met
    assert found.share >= found.floor > found.free
    assert 0 < found.price_share < 0.2
    assert abs(found.later_share - found.floor) < 0.15
    assert small_below(make_world(SMALL)) >= 1
    figure = floor_front_figure(json.loads(workspace.evidence("mitigation").read_text()))
    assert len(figure.table.rows) == len(found.front) == len(mitigation_rows(found))
    assert "<path" in Drawn().svg(figure, figure.narrow, "narrow")


def test_the_verbs(workspace, found):
    run = CliRunner()
    done = run.invoke(app, ["responsible", "-w", str(workspace.folder), "--check", "--json", "-q"])
    assert done.exit_code in (0, 3)
    assert json.loads(done.stdout)["log"] == open_log(workspace).manifest.sha256
    required = run.invoke(app, ["responsible", "-w", str(workspace.folder), "--check", "--require", "leak: future row"])
    assert required.exit_code == 3
    unknown = run.invoke(app, ["responsible", "-w", str(workspace.folder), "--check", "--require", "weather"])
    assert isinstance(unknown.exception, (EvidenceError, SystemExit))
