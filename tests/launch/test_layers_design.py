"""A fraction of the arms shows single layers as clearly as all of them do, or is refused."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.layer_design import LayerDesign
from mainstem.launch.layers import LayerEffects, blame, layer_effects

LAYERS: tuple[str, ...] = ("retrieval", "model", "value", "control")
EVERY = tuple(product((False, True), repeat=4))
CHANGES = st.lists(st.floats(-0.05, 0.05), min_size=4, max_size=4)
PAIRS = st.lists(st.floats(-0.05, 0.05), min_size=6, max_size=6)


def exact(design: LayerDesign, own: list[float], pairs: list[float], three: float = 0.0) -> LayerEffects:
    """Without noise: 20 units an arm, half a level above and half below its mean."""
    arms = np.array(design.arms)
    together = [arms[:, a] & arms[:, b] for a, b in combinations(range(4), 2)]
    level = 1 + arms @ own + np.array(together).T @ pairs + three * arms[:, 1:].all(axis=1)
    new, around = np.repeat(arms, 20, axis=0), np.tile([-0.1, 0.1], 10 * len(arms))
    return layer_effects(design, new, np.repeat(level, 20) + around)


@given(CHANGES, PAIRS)
@settings(max_examples=40, deadline=None)
def test_a_half_shows_layers_clear_of_pairs_and_pairs_two_by_two(own: list[float], pairs: list[float]) -> None:
    half, full = (exact(one(LAYERS), own, pairs) for one in (LayerDesign.half, LayerDesign.full))
    for at, layer in enumerate(LAYERS):
        averaged = own[at] + sum(pairs[n] / 2 for n, pair in enumerate(combinations(range(4), 2)) if at in pair)
        assert half.layers[layer].mid == pytest.approx(averaged, abs=1e-9)
        assert full.layers[layer].mid == pytest.approx(averaged, abs=1e-9)
    for n, pair in enumerate(combinations(LAYERS, 2)):
        assert full.pairs[pair].mid == pytest.approx(pairs[n], abs=1e-9)
        assert half.pairs[pair].mid == pytest.approx(pairs[n] + pairs[5 - n], abs=1e-9)
        assert full.beside[pair].mid == pytest.approx(full.layers[pair[0]].mid - pairs[n] / 2, abs=1e-9)


@given(st.sets(st.sampled_from(EVERY[1:]), min_size=3), CHANGES, PAIRS)
@settings(max_examples=60, deadline=None)
def test_any_arms_are_refused_or_show_each_layer_as_it_is(
    taken: set[tuple[bool, ...]], own: list[float], pairs: list[float]
) -> None:
    try:
        design = LayerDesign(LAYERS, (EVERY[0], *sorted(taken)))
    except LaunchError as error:
        if error.code != "launch-140":
            raise
        return
    mixed = [pair for one in design.mixed for pair in one]
    assert sorted(mixed) == sorted(combinations(LAYERS, 2))
    found, change = exact(design, own, pairs), dict(zip(combinations(LAYERS, 2), pairs, strict=True))
    for one in design.mixed:
        assert [found.pairs[pair].mid for pair in one] == pytest.approx(
            [sum(change[pair] for pair in one)] * len(one), abs=1e-8
        )
    for at, layer in enumerate(LAYERS):
        averaged = own[at] + sum(pairs[n] / 2 for n, pair in enumerate(combinations(range(4), 2)) if at in pair)
        assert found.layers[layer].mid == pytest.approx(averaged, abs=1e-8)


def test_what_a_half_mixes_is_said() -> None:
    half, full = LayerDesign.half(LAYERS), LayerDesign.full(LAYERS)
    assert (len(full.arms), full.not_told_apart, full.whole) == (16, (), True)
    assert (len(half.arms), half.whole) == (8, False)
    assert half.not_told_apart == (
        "retrieval and model = value and control",
        "retrieval and value = model and control",
        "retrieval and control = model and value",
    )
    assert (False,) * 4 in half.arms
    assert (True,) * 4 in half.arms
    five = LayerDesign.half((*LAYERS, "page"))
    assert (len(five.arms), five.not_told_apart) == (16, ())


def test_harm_by_three_together_is_seen_as_the_fourths_and_the_sentence_says_so() -> None:
    """Model, value and control together: in a half it cannot be told from retrieval; with all arms it can."""
    half, full = (exact(one(LAYERS), [0.0] * 4, [0.0] * 6, -0.4) for one in (LayerDesign.half, LayerDesign.full))
    assert half.layers["retrieval"].high < 0
    assert full.layers["retrieval"].high > 0
    alone = blame(exact(LayerDesign.half(LAYERS), [0.0, 0.0, 0.0, -0.2], [0.0] * 6))
    assert (alone.layer, alone.alone) == ("control", True)
    assert "or the other layers did all together" in alone.sentence


def test_pairs_that_harm_as_one_are_both_told() -> None:
    told = blame(exact(LayerDesign.half(LAYERS), [0.0] * 4, [-0.4, 0, 0, 0, 0, 0]))
    assert told.layer == ""
    assert "retrieval and model, or value and control together, which these arms cannot tell apart" in told.sentence


def quarter() -> tuple[tuple[bool, ...], ...]:
    return tuple(one for one in EVERY if one[2] == (one[0] ^ one[1]) and one[3] == (one[1] ^ one[2]))


@pytest.mark.parametrize(
    "arms",
    [
        quarter(),
        tuple(one for one in EVERY if one[0] == one[1]),  # two layers always go together
        tuple(one for one in EVERY if one[2] == (one[0] ^ one[1])),  # a layer is a pair
        tuple(one for one in EVERY if not one[0]),  # a layer that is never new
    ],
)
def test_arms_that_cannot_tell_layers_apart_are_refused(arms: tuple[tuple[bool, ...], ...]) -> None:
    with pytest.raises(LaunchError, match="cannot be told from other layers") as refused:
        LayerDesign(LAYERS, arms)
    assert refused.value.code == "launch-140"


def test_what_is_no_design_is_refused() -> None:
    with pytest.raises(LaunchError, match="retrieval, model, value cannot be told"):
        LayerDesign.half(LAYERS[:3])
    for arms in (EVERY[1:], (*EVERY, EVERY[3]), (), tuple(one[:3] for one in EVERY)):
        with pytest.raises(LaunchError, match="different arms, one of them with no new layer"):
            LayerDesign(LAYERS, arms)
    half = LayerDesign.half(LAYERS)
    new = np.repeat([*half.arms, (True, False, False, False)], 30, axis=0)
    with pytest.raises(LaunchError, match="such as new retrieval") as refused:
        layer_effects(half, new, np.ones(len(new)))
    assert refused.value.code == "launch-141"
