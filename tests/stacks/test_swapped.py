"""Two stacks, layer by layer: whole from one side it is that side, and nothing is mixed up on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mainstem.base.errors import RequestError
from mainstem.base.request import Request
from mainstem.data.log import Log, read_log
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.stacks.run import run
from mainstem.stacks.stage import Stack
from mainstem.stacks.swapped import LAYERS, Swapped, layer_groups, swaps
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.log import split
from mainstem.workspace.platform import open_stack
from mainstem.workspace.programs import train
from mainstem.workspace.students import PORTS, day_after
from mainstem.workspace.train import train_unified

Make = Callable[[str], Stack]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    folder: Path = tmp_path_factory.mktemp("swapped")
    (folder / "mainstem.toml").write_text('[serve]\nclock = "log"\n[training]\nepochs = 1\n')
    workspace = Workspace.open(folder, {})
    write_world_log(make_world(WorldSettings(users=120, items=500, days=5, impressions=3_000, seed=4)), workspace.log)
    log: Log = read_log(workspace.log)
    parts = split(workspace, log)
    train_unified(workspace, log, parts, 3, lambda *told, **named: None)
    for name in LEGACY:
        train(name, workspace.log, workspace.legacy_model(name), parts.validation_day, 3)

    def one(name: str) -> Stack:
        if name == "unified":
            return open_stack(workspace, log)
        return PORTS[name](workspace.legacy_model(name), log, day_after(log))

    return one


def requests(stack: Stack, count: int = 25) -> list[Request]:
    ids = stack.catalog.users.ids[:count]
    return [
        Request(100 + n, int(user), ("feed", "pages")[n % 2], 1_652_000_000_000 + n * 1_000, 8)
        for n, user in enumerate(ids)
    ]


@pytest.mark.parametrize("legacy", LEGACY)
def test_whole_from_one_side_it_is_that_side(make: Make, legacy: str) -> None:
    for which, name in ((frozenset[str](), legacy), (frozenset(LAYERS), "unified")):
        swapped, alone = Swapped(make(legacy), make("unified"), which), make(name)
        for request in requests(alone):
            found, expected = swapped.rank(request), run(alone, request, explain=False)
            np.testing.assert_array_equal(found.item_ids, expected.item_ids)
            np.testing.assert_array_equal(found.scores, expected.scores)
            np.testing.assert_array_equal(found.propensities, expected.propensities)


@pytest.mark.parametrize(("legacy", "arms"), [("content-first", 16), ("interest-first", 8)])
def test_every_combination_serves_and_each_layer_can_change_the_slate(make: Make, legacy: str, arms: int) -> None:
    old, new = make(legacy), make("unified")
    groups = layer_groups(old, new)
    assert sorted(layer for group in groups for layer in group) == sorted(LAYERS)
    assert len(swaps(groups)) == arms
    slates = {}
    for which in swaps(groups):
        arm = Swapped(make(legacy), make("unified"), which)
        slates[which] = [arm.rank(one).item_ids.tolist() for one in requests(new, 6)]
        assert all(slates[which])
    for group in groups:
        assert slates[frozenset(group)] != slates[frozenset()]


def test_a_value_without_its_heads_and_a_layer_nobody_knows_are_refused(make: Make) -> None:
    with pytest.raises(RequestError, match="which 'unified' does not predict"):
        Swapped(make("interest-first"), make("unified"), frozenset({"model"}))
    with pytest.raises(RequestError, match="no layer"):
        Swapped(make("content-first"), make("unified"), frozenset({"ranking"}))
