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


def test_harm_of_two_together_that_is_hardly_seen_is_never_laid_on_one_alone() -> None:
    """Half of it may be seen while the pair is not; who is named then is not said to have harmed by itself."""
    told = [blame(made(seed, {}, together=-0.11)) for seed in range(200)]
    assert sum(bool(one.layer) for one in told) > 20
    assert sum(one.alone for one in told) <= 0.05 * 200
    assert all("only beside the new" in one.sentence for one in told if one.layer and not one.alone)
    assert all(blame(made(seed, {"value": -0.2})).alone for seed in range(20))


def lopsided(keep: float) -> LayerEffects:
    """One arm lost a part of its units on the way."""
    arms = np.arange(8_000) % 16
    arms = arms[(arms != 5) | (np.random.default_rng(1).random(8_000) < keep)]
    new = (arms[:, None] >> np.arange(4)) & 1
    return layer_effects(LAYERS, new, 1 - 0.5 * new[:, 2] + np.random.default_rng(2).normal(0, 0.1, len(arms)))


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_broken_split_names_nobody_and_shows_nothing(keep: float) -> None:
    broken = lopsided(keep)
    assert (broken.layers, broken.pairs, broken.beside) == ({}, {}, {})
    assert broken.ratio.alarm
    assert blame(broken).layer == ""
    assert "not split over the 16 arms as promised" in blame(broken).sentence
    assert blame(lopsided(1.0)).layer == "value"


def test_shares_that_were_promised_unequal_are_no_broken_split() -> None:
    rng = np.random.default_rng(3)
    shares = [0.4, *[0.04] * 15]
    arms = rng.choice(16, 8_000, p=shares)
    new = (arms[:, None] >> np.arange(4)[::-1]) & 1  # as the design lists its arms: the last layer turns fastest
    y = 1 + rng.normal(0, 0.2, len(arms)) - 0.3 * new[:, 1]
    assert layer_effects(LAYERS, new, y).ratio.alarm
    assert blame(layer_effects(LAYERS, new, y, shares=shares)).layer == "model"


def test_what_was_known_before_narrows_intervals_whatever_its_unit() -> None:
    rng = np.random.default_rng(4)
    new = (rng.permutation(np.arange(1_600) % 16)[:, None] >> np.arange(4)) & 1
    own, taste = rng.gamma(4.0, 0.25, (2, 1_600))
    y = own + taste + rng.normal(0, 0.2, 1_600)
    plain, one = layer_effects(LAYERS, new, y), layer_effects(LAYERS, new, y, own)
    both = layer_effects(LAYERS, new, y, np.column_stack([1e6 + 1e5 * own, 1e-6 * taste, np.full(1_600, 3.0), own]))
    widths = [found.layers["model"].high - found.layers["model"].low for found in (plain, one, both)]
    assert widths == sorted(widths, reverse=True)
    assert (plain.explained, one.explained) == (0.0, pytest.approx(0.46, abs=0.05))
    assert both.explained == pytest.approx(1 - 0.04 / 0.54, abs=0.02)
    nothing = layer_effects(LAYERS, new, y, np.full(1_600, 1e9))
    assert nothing.explained == pytest.approx(0.0, abs=1e-12)
    assert nothing.layers["model"].mid == pytest.approx(plain.layers["model"].mid)


def test_more_of_what_should_be_little_is_harm() -> None:
    slower = made(9, {"model": 0.2})
    assert (blame(slower, "down").layer, blame(slower, "down").alone) == ("model", True)
    assert blame(slower).layer == ""
    pair = made(8, {}, together=0.5)
    assert blame(pair, "down").layer == ""
    assert "retrieval and model together" in blame(pair, "down").sentence
