"""Made users served by every combination of layers: what they did before is known, and a planted fault is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import LaunchError
from mainstem.data.log import read_log
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.launch.layers import blame, layer_effects
from mainstem.workspace.layer_arms import FEW, LayersTold, before, layers_of
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.log import split
from mainstem.workspace.programs import train
from mainstem.workspace.train import train_unified


def test_what_users_did_before_is_theirs_in_order_and_shrunk_to_the_average() -> None:
    told = pl.DataFrame(
        {
            "user_id": [7] * 90 + [3] * 10 + [3] * 10 + [3],
            "surface": ["feed"] * 100 + ["pages"] * 11,
            "click": [1] * 45 + [0] * 45 + [0] * 10 + [1] * 10 + [None],
        }
    )
    found = before(told, np.array([99, 3, 7]), "feed", "click")
    mean, over_all = 45 / 100, 55 / 110
    expected = [
        [mean, over_all],
        [(0 + FEW * mean) / (10 + FEW), (10 + FEW * over_all) / (20 + FEW)],
        [(45 + FEW * mean) / (90 + FEW), (45 + FEW * over_all) / (90 + FEW)],
    ]
    np.testing.assert_allclose(found, expected)


def test_a_log_that_knows_nothing_of_an_act_explains_nothing() -> None:
    told = pl.DataFrame(
        {"user_id": [1, 2], "surface": ["feed", "feed"], "click": pl.Series([None, None], dtype=pl.Int8)}
    )
    np.testing.assert_array_equal(before(told, np.array([1, 2, 3]), "feed", "click"), np.zeros((3, 2)))


def test_a_broken_split_names_nobody_and_says_nothing_of_the_noise() -> None:
    new = (np.arange(8_000)[:, None] >> np.arange(3)) & 1
    kept = new[(new.sum(axis=1) < 3) | (np.arange(8_000) % 16 == 7)]
    found = layer_effects(("retrieval", "model and value", "control"), kept, np.arange(len(kept)) % 2)
    told = LayersTold("feed", "interest-first", found.design.layers, {"click": found}, blame(found))
    assert (told.blame.layer, told.parts) == ("", ())
    assert told.sentence.startswith("units were not split over the 8 arms as promised")
    assert "noise" not in told.sentence


@pytest.mark.slow
def test_a_broken_value_is_found_by_all_arms_and_by_half_of_them(tmp_path: Path) -> None:
    broken = '[surfaces.feed]\ncount = 8\nvalue = "20 * hate - long_view"\n'
    (tmp_path / "mainstem.toml").write_text(f"[training]\nepochs = 1\n{broken}")
    place = Workspace.open(tmp_path, {})
    world = make_world(WorldSettings(users=900, items=500, days=5, impressions=12_000, seed=4))
    write_world_log(world, place.log)
    log = read_log(place.log)
    parts = split(place, log)
    train_unified(place, log, parts, 3, lambda *told, **named: None)
    for name in LEGACY:
        train(name, place.log, place.legacy_model(name), parts.validation_day, 3)
    for half in (False, True):
        found = layers_of(place, world, "feed", "content-first", 5, lambda *told: None, users=800, half=half)
        assert found.blame.layer == "value"
        assert "of the noise" in found.sentence
        assert found.effects["long_view"].explained > 0.02
        assert len(found.effects["long_view"].design.arms) == (8 if half else 16)
    with pytest.raises(LaunchError, match="cannot be told from other layers"):
        layers_of(place, world, "feed", "interest-first", 5, lambda *told: None, half=True)
    with pytest.raises(LaunchError, match="found no port"):
        layers_of(place, world, "feed", "old-stack", 5, lambda *told: None)
