"""The whole river on a small made log: trained, compared, shadowed, explained, broken on purpose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mainstem.data.log import read_log
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.stacks.faults import KINDS
from mainstem.workspace.blast_radius import surface_diff
from mainstem.workspace.compare import compare_running, held_out
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.log import split
from mainstem.workspace.platform import explain_item, open_stack
from mainstem.workspace.port import count_port
from mainstem.workspace.programs import serving
from mainstem.workspace.shadow import find_planted, sample_requests, shadow_remotes
from mainstem.workspace.train import train_legacy, train_unified

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workspace:
    """A workspace whose three stacks are trained."""
    folder = tmp_path_factory.mktemp("river")
    (folder / "mainstem.toml").write_text('[serve]\nclock = "log"\n[training]\nepochs = 2\n')
    workspace = Workspace.open(folder, {})
    world = make_world(WorldSettings(users=400, items=900, days=5, impressions=9_000, seed=3))
    write_world_log(world, workspace.log)
    log = read_log(workspace.log)
    parts = split(workspace, log)
    train_legacy(workspace, parts.validation_day, seed=3)
    train_unified(workspace, log, parts, 3, lambda *told, **named: None)
    return workspace


@pytest.fixture(scope="module")
def stack(place):
    return open_stack(place)


def test_side_by_side_of_a_frozen_and_a_continuous_state(place):
    log = read_log(place.log)
    parts = split(place, log)
    models = {name: place.legacy_model(name) for name in LEGACY}
    with serving(LEGACY, place.log, models, parts.validation_day) as running:
        urls = {name: one.url for name, one in running.items()}
        results = compare_running(place, log, parts, urls, seed=3)
        again = compare_running(place, log, parts, urls, seed=3, regimes=("frozen",))
    for regime, result in results.items():
        assert {"unified", *LEGACY, "popularity", "rank-average"} <= set(result.arms), regime
        assert result.split.test_rows == parts.test.height
        assert place.read_evidence(f"side_by_side_{regime}")["verdicts"]
    assert again["frozen"] == results["frozen"], "a replay after a reset gives the same figures"
    assert results["frozen"] != results["continuous"]
    assert held_out(log, parts).height == parts.test.height + parts.validation.height


def test_the_shadow_diff_tells_of_both_programs(place, stack):
    log = read_log(place.log)
    models = {name: place.legacy_model(name) for name in LEGACY}
    with serving(LEGACY, place.log, models, until=99_999_999) as running:
        urls = {name: one.url for name, one in running.items()}
        diffs = shadow_remotes(place, log, stack, urls, requests=20)
    assert set(diffs) == set(LEGACY)
    assert all(diff.first is not None for diff in diffs.values())
    assert set(place.read_evidence("shadow")) == set(LEGACY)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_planted_fault_is_found_in_its_stage(place, stack, kind, seed):
    found, diff = find_planted(stack, read_log(place.log), kind, seed, requests=40)
    assert found.right, diff.sentence


def test_a_healthy_stack_has_no_fault(place, stack):
    from mainstem.parity.shadow import diff_traces
    from mainstem.parity.trace import from_slate
    from mainstem.stacks.run import run

    dry = replace(stack, memories=())
    asked = sample_requests(read_log(place.log), 20, seed=1)
    diff = diff_traces([(from_slate(run(dry, one)), from_slate(run(dry, one))) for one in asked])
    assert diff.first is None
    assert diff.same_requests == diff.requests


def test_requests_are_sampled_from_every_surface_and_are_the_same_again(place):
    log = read_log(place.log)
    first, again = (sample_requests(log, 50, seed=1) for _ in range(2))
    assert first == again
    assert {one.surface for one in first} == set(log.impressions["surface"].unique())


def test_an_item_is_explained_whatever_became_of_it(place, stack):
    log = read_log(place.log)
    user = str(log.impressions["user_id"][-1])
    outcomes = {
        explain_item(place, user, str(item), "feed").outcome for item in log.items["item_id"].head(60).to_list()
    }
    assert explain_item(place, user, "987654321", "feed").outcome == "unknown_item"
    assert "not_retrieved" in outcomes or "scored_too_low" in outcomes
    assert len(outcomes) >= 2


def test_the_state_after_the_log_does_not_depend_on_how_it_was_fed(place, stack):
    again = open_stack(place)
    rows = np.arange(50, dtype=np.int32)
    request = sample_requests(read_log(place.log), 1, seed=1)[0]
    one, other = (each.features.items(request, each.features.user(request), rows) for each in (stack, again))
    assert np.array_equal(one, other)


def test_the_blast_radius_of_a_change_names_what_moves_and_what_does_not(place):
    still = surface_diff(place, "now", "now", requests=40)
    assert still.sentence.startswith("no slate of")
    assert still.creators == ()
    moved = surface_diff(
        place, "now", "feed.value=1 - long_view,feed.rules.creator_cap=1", requests=40, by=("utc_offset_min",)
    )
    by_surface = {one.value: one for one in moved.groups if one.group == "surface"}
    assert by_surface["feed"].changed is not None
    assert by_surface["feed"].changed.mid > 0.9
    assert by_surface["pages"].changed is not None
    assert by_surface["pages"].changed.mid == 0
    lost = next(one.change for one in moved.heads if one.head == "long_view")
    assert lost is not None
    assert lost.high < 0
    cap = next(one for one in moved.rules if one.rule == "creator_cap")
    assert cap.after != cap.before
    assert place.read_evidence("blast_radius")["sentence"] == moved.sentence


def test_what_the_port_removes_is_counted_from_the_files(place):
    rows = {row["what"]: row for row in count_port(place)}
    assert rows["lines of code"]["before"] > rows["lines of code"]["ported"] > 0
    assert (
        rows["lines of code"]["unified"] > 1_000
    )  # told as it is: a learned retrieval and ranker are no small program
    assert rows["processes that serve"] == {"what": "processes that serve", "before": 2, "ported": 0, "unified": 0}
    assert rows["models trained"]["before"] >= 2


def test_the_model_card_says_what_it_was_trained_on(place):
    card = json.loads((place.unified_model / "model.json").read_text())
    assert card["data"] == read_log(place.log).manifest.sha256
    assert card["split"] == split(place, read_log(place.log)).sha256


def test_a_model_whose_features_do_not_match_is_refused(place, tmp_path):
    from mainstem.base.errors import ModelError
    from mainstem.ranking.model import load_model

    for name in ("model.json", "model.npz"):
        (tmp_path / name).write_bytes((place.unified_model / name).read_bytes())
    card = json.loads((tmp_path / "model.json").read_text())
    card["signature"] = "another"
    card["features"]["item"] = card["features"]["item"][:-1]
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(ModelError) as refused:
        load_model(Path(tmp_path))
    assert refused.value.code == "model-001"


def test_a_model_of_another_version_is_refused(place, tmp_path):
    from mainstem.base.errors import ModelError
    from mainstem.ranking.model import load_model

    (tmp_path / "model.json").write_bytes((place.unified_model / "model.json").read_bytes())
    with np.load(place.unified_model / "model.npz") as held:
        np.savez(tmp_path / "model.npz", **{name: held[name] for name in held.files if name != "weight_gate_b"})
    with pytest.raises(ModelError) as refused:
        load_model(Path(tmp_path))
    assert refused.value.code == "model-002"
    assert "gate_b" in refused.value.message
