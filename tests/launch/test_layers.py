"""The layer that did it is named, and nobody is named for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.layers import LayerEffects, blame, layer_effects

LAYERS = ("retrieval", "model", "value", "control")


def made(seed: int, effect: dict[str, float], together: float = 0.0, units: int = 960) -> LayerEffects:
    rng = np.random.default_rng(seed)
    arms = rng.permutation(np.arange(units) % 16)
    new = (arms[:, None] >> np.arange(4)) & 1
    own = rng.gamma(4.0, 0.25, units)
    change = (
        sum(effect.get(name, 0.0) * new[:, at] for at, name in enumerate(LAYERS)) + together * new[:, 0] * new[:, 1]
    )
    y = own * (1 + change) + rng.normal(0, 0.3 + 0.2 * new[:, 2], units)
    return layer_effects(LAYERS, new, y, own)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_layer_that_harms_is_named(layer: str) -> None:
    found = made(1, {layer: -0.2})
    assert blame(found).layer == layer
    assert found.layers[layer].low < -0.2 < found.layers[layer].high
    assert found.old == pytest.approx(1.0, abs=0.15)


def test_two_that_harm_only_together_are_no_ones_fault() -> None:
    told = blame(made(2, {"retrieval": 0.06, "model": 0.06}, together=-0.5))
    assert told.layer == ""
    assert "retrieval and model together" in told.sentence


def test_nobody_is_named_for_nothing_more_often_than_promised_and_intervals_hold() -> None:
    runs = [made(seed, {"control": 0.1}) for seed in range(400)]
    named = sum(bool(blame(one).layer) for one in runs)
    covered = sum(
        all(one.layers[name].low <= (0.1 if name == "control" else 0.0) <= one.layers[name].high for name in LAYERS)
        for one in runs
    )
    assert named <= 0.05 * 400
    assert covered >= 0.93 * 400


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(LaunchError, match="smallest of 16 arms"):
        made(1, {}, units=160)
    with pytest.raises(LaunchError, match="a row a unit, finite"):
        layer_effects(("a",), [[True], [False]], [1.0, np.nan])
    new = np.arange(64)[:, None] % 2 == 1
    with pytest.raises(LaunchError, match="mean of 0"):
        layer_effects(("a",), new, np.where(new[:, 0], 1.0, 0.0))
