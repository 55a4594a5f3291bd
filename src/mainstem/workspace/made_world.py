"""The made world of a workspace: its own where its log is made, else a small one beside it with all three stacks trained on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from mainstem.data.log import read_log
from mainstem.data.world import World, WorldSettings, make_world, write_world_log
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import split
from mainstem.workspace.retrieval import train_retrieval
from mainstem.workspace.train import legacy_in_training, train_unified

SMALL: Final = {"users": 4_000, "items": 3_000, "days": 5, "impressions": 60_000}
"""The world beside a real log: large enough to train on and to tell arms apart, small enough to wait for."""


def world_of(workspace: Workspace, seed: int, progress: Callable[[float, str], None]) -> tuple[World, Workspace]:
    """A world, and the workspace with its log and all three stacks trained on it.

    A workspace whose own log is made has its world and models already.
    """
    manifest = read_log(workspace.log).manifest
    if manifest.made:
        return make_world(msgspec.convert(manifest.facts, WorldSettings)), workspace
    world = make_world(WorldSettings(**SMALL, seed=seed))
    return world, _trained(world, workspace, seed, progress)


def _trained(world: World, workspace: Workspace, seed: int, progress: Callable[[float, str], None]) -> Workspace:
    place = Workspace(workspace.folder / "world", workspace.settings)
    write_world_log(world, place.log)
    if workspace.file.is_file():
        place.file.write_bytes(workspace.file.read_bytes())
    log = read_log(place.log)
    parts = split(place, log)
    with legacy_in_training(place, parts.validation_day, seed) as training:
        told = "training in a made world"
        model = train_unified(place, log, parts, seed, lambda share, what="": progress(0.7 * share, told))
        train_retrieval(place, log, parts, model, seed, lambda share, what="": progress(0.7 + 0.2 * share, told))
        for done in training.values():
            done.result()
    return place
