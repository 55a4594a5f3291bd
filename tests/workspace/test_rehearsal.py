"""A short rehearsal over real processes: server and pilot killed without warning, and nothing lost or done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainstem.base.errors import LaunchError
from mainstem.data.log import read_log
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.workspace.launching import book_of, read_standing, stop_launch
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.live_records import LiveRecords
from mainstem.workspace.log import split
from mainstem.workspace.programs import train
from mainstem.workspace.rehearsal import NAME, Script, rehearse_in
from mainstem.workspace.train import train_unified


@pytest.mark.slow
def test_a_day_with_two_deaths(tmp_path: Path) -> None:
    (tmp_path / "mainstem.toml").write_text("[training]\nepochs = 1\n[surfaces.feed]\ncount = 8\n")
    place = Workspace.open(tmp_path, {})
    world = make_world(WorldSettings(users=300, items=500, days=5, impressions=4_000, seed=4))
    write_world_log(world, place.log)
    log = read_log(place.log)
    parts = split(place, log)
    train_unified(place, log, parts, 3, lambda *told, **named: None)
    for name in LEGACY:
        train(name, place.log, place.legacy_model(name), parts.validation_day, 3)

    script = Script(harmed="", kills=2, visits=500, most_days=1, seed=4)
    found = rehearse_in(world, place, script, lambda *told: None)

    assert 0 < found.killed <= 2  # the seed may put one behind the only day
    stage = Workspace.open(found.folder)
    acts = book_of(stage).acts(NAME)
    assert [one.action for one in acts[:3]] == ["start"] * 3
    for surface in ("feed", "groups", "pages"):
        mine = [one for one in acts if one.surface == surface]
        assert [one.action for one in mine[:2]] == ["start", "forward"]
        assert len({(one.action, one.after) for one in mine}) == len(mine)
    # Every answer that made users got was written down once, under the arm it was served in.
    shown = LiveRecords.read(stage.live, ("feed", "groups", "pages")).impressions
    assert len(shown) == found.requests
    assert {one.state for one in found.standing.surfaces} <= {"ramp", "judged", "held"}
    assert found.standing.made

    stop_launch(stage, NAME, "enough")
    assert {one.state for one in book_of(stage).placements(NAME)} == {"stopped"}
    assert read_standing(stage, NAME).launch == NAME
    book_of(stage).check(NAME)


def test_a_layer_that_cannot_be_broken_is_named() -> None:
    with pytest.raises(LaunchError, match="found the layer 'ranker'"):
        Script(layer="ranker")
