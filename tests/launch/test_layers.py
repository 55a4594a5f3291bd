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


@pytest.mark.parametrize("alone", [0.0, 0.06])
def test_two_that_harm_only_together_are_no_ones_fault(alone: float) -> None:
    """Of harm by two together each shows half by itself: in the first version one of them was named as if by a coin."""
    told = [blame(made(seed, {"retrieval": alone, "model": alone}, together=-0.5)) for seed in range(60)]
    assert sum(bool(one.layer) for one in told) <= 3
    assert sum("retrieval and model together" in one.sentence for one in told) >= 50


def test_a_pair_is_what_two_do_beyond_the_sum_of_both() -> None:
    found = made(5, {"retrieval": 0.1}, together=-0.4, units=40_000).pairs[("retrieval", "model")]
    assert found.low < -0.4 < found.high
    assert found.high - found.low < 0.1


def test_intervals_hold_for_large_harm_too() -> None:
    found = [made(seed, {"value": -0.9}).layers["value"] for seed in range(300)]
    assert sum(one.low <= -0.9 <= one.high for one in found) >= 0.95 * 300


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
