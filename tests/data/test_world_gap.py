"""How much of the way from random to the oracle the simple policies go: the figures in docs/concepts/made-world.md."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mainstem.base.heads import SURFACES
from mainstem.data.world import World, make_log, make_world
from mainstem.data.world.policy import show
from mainstem.data.world.traffic import Requests

pytestmark = pytest.mark.slow
BANDS = {"popularity": (0.06, 0.17), "top ten": (0.13, 0.27), "standard": (0.30, 0.42)}


@pytest.fixture(scope="module")
def closed() -> dict[str, dict[str, float]]:
    world = make_world()
    log = make_log(world)["impressions"]
    counts = log.group_by("item_id").agg(pl.col("long_view").sum()).sort("long_view", "item_id", descending=True)
    users = np.unique(np.random.default_rng(1).choice(log["user_id"].to_numpy(), 400))
    return {surface: _closed_share(world, users, counts["item_id"].to_numpy()[:10], surface) for surface in SURFACES}


def _closed_share(world: World, users: np.ndarray, top: np.ndarray, surface: str) -> dict[str, float]:
    now_ms, n = world.settings.end_ms - 1, len(users)
    code = SURFACES.index(surface)
    asked = Requests(users - 1, np.full(n, now_ms), np.full(n, code), np.zeros(n, np.int16), np.full(n, 10))
    value = {"top ten": world.truth(np.repeat(users, 10), np.tile(top, n), surface, now_ms).value.mean()}
    for policy in ("random", "popularity", "standard"):
        shown = show(policy, world.people, world.items, asked, np.random.default_rng(2))
        ids = world.items.item_ids[shown.rows]
        value[policy] = world.truth(users[shown.requests], ids, surface, now_ms).value.mean()
    best = np.mean([world.oracle_slate(int(user), surface, now_ms, 10).value.mean() for user in users[:150]])
    return {name: float((value[name] - value["random"]) / (best - value["random"])) for name in BANDS}


@pytest.mark.parametrize("surface", SURFACES)
def test_simple_policies_leave_most_of_the_gap_open(surface: str, closed: dict[str, dict[str, float]]) -> None:
    print(surface, closed[surface])  # noqa: T201 - the figures of the docs
    for name, (low, high) in BANDS.items():
        assert low < closed[surface][name] < high, name
