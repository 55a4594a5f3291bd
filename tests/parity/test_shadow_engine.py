"""The shadow diff on the engine itself: its runner, union, value, control layer and planted faults."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from mainstem.base.request import Found, Request
from mainstem.control.filters import Integrity, Originals, Seen
from mainstem.control.slate import SlateRules, SurfaceControl
from mainstem.features.catalog import Catalog
from mainstem.parity.shadow import diff_traces
from mainstem.parity.trace import from_slate
from mainstem.retrieval.union import RankFusion
from mainstem.stacks.faults import KINDS, plant
from mainstem.stacks.run import run
from mainstem.stacks.stage import Stack
from mainstem.value.expression import Expression, SurfaceValues

ITEMS = 600
HEADS = ("click", "like", "long_view", "hate", "watch")
SURFACES = {
    "feed": "click + 8 * like + 2 * long_view - 20 * hate",
    "pages": "per_second * watch + long_view - 10 * hate",
}
WEIGHTS = {"per_second": "0.1 / s"}
RULES = SlateRules(creator_cap=1, quotas=((1, 8),), variety=0.6, exploration_share=0.3)


@dataclass
class Shuffled:
    """Another sixth of the catalog for every request."""

    name: str
    seed: int

    def retrieve(self, request, user, limit):
        rows = np.random.default_rng([self.seed, request.request_id]).permutation(ITEMS)[:100]
        return Found(rows[:limit], -np.arange(len(rows[:limit]), dtype=float))


class Numbers:
    """Features that are a table plus something of the viewer; predictions that are a small network of them."""

    names = tuple(f"f{at}" for at in range(6))
    heads = HEADS

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.table = rng.normal(size=(ITEMS, 6))
        self.weights = rng.normal(size=(6, 5)) * 0.5

    def user(self, request):
        return np.random.default_rng(request.user_id).normal(size=6) * [0, 0, 0, 0, 1, 1]

    def items(self, request, user, rows):
        return (self.table[rows] + user).astype(np.float32)

    def predict(self, request, user, rows, features):
        logits = np.tanh(features) @ self.weights + [0, -3, -0.5, -5, 0]
        chances = 1 / (1 + np.exp(-logits))
        chances[:, 4] *= 60
        return chances

    def seen_rows(self, user, last):
        return np.arange(last)


@pytest.fixture(scope="module")
def engine() -> Stack:
    rng = np.random.default_rng(1)
    catalog = Catalog.from_tables(pl.DataFrame({"item_id": np.arange(ITEMS) + 100}), pl.DataFrame({"user_id": [1]}))
    numbers, sources = Numbers(), tuple(Shuffled(name, seed) for seed, name in enumerate(("near", "new", "liked")))
    filters = (
        Integrity(np.append(rng.random(ITEMS) < 0.1, -1).astype(np.int8), closed=True),
        Seen(numbers, last=60, catalog_size=ITEMS),
        Originals(np.where(rng.random(ITEMS) < 0.3, rng.integers(0, 60, ITEMS), np.arange(ITEMS))),
    )
    control = SurfaceControl(
        dict.fromkeys(SURFACES, filters),
        dict.fromkeys(SURFACES, RULES),
        np.append(rng.integers(1, 40, ITEMS), 0),
        np.append(rng.integers(1, 9, ITEMS), 0),
        seed=5,
    )
    values = {name: Expression(text, HEADS, f"surfaces.{name}.value", WEIGHTS) for name, text in SURFACES.items()}
    return Stack(
        "engine",
        catalog,
        sources,
        RankFusion(("near", "new", "liked"), dict.fromkeys(SURFACES, 220)),
        numbers,
        numbers,
        SurfaceValues(values, HEADS),
        control,
        quotas={name: {} for name in SURFACES},
        rank=dict.fromkeys(SURFACES, 150),
        surfaces=tuple(SURFACES),
    )


def mirrored(left: Stack, right: Stack, requests: int = 16):
    asked = [Request(n, 1 + n % 7, ("feed", "pages")[n % 2], 1_650_812_741_436, 15) for n in range(requests)]
    return [(from_slate(run(left, one)), from_slate(run(right, one))) for one in asked]


def test_the_engine_agrees_with_itself(engine: Stack) -> None:
    diff = diff_traces(mirrored(engine, engine))
    assert diff.first is None
    assert all(stage.told for stage in diff.stages)
    assert all(rule.left > 0 for rule in diff.rules), "a rule that never fires cannot be missed"


@pytest.mark.parametrize("seed", range(6))
def test_five_of_five_planted_faults_are_named(engine: Stack, seed: int) -> None:
    for kind in KINDS:
        fault = plant(engine, kind, seed)
        first = diff_traces(mirrored(engine, fault.stack)).first
        assert first is not None
        assert first.stage == fault.stage
        assert not fault.culprit or first.culprit == fault.culprit


def test_every_rule_is_named_when_it_is_off(engine: Stack) -> None:
    for rule in engine.control.rules:
        first = diff_traces(mirrored(engine, replace(engine, control=engine.control.without(rule)))).first
        assert first is not None
        assert (first.stage, first.culprit) == ("rule", rule)


def test_a_weight_whose_sign_is_lost_in_the_settings_is_named_by_its_head(engine: Stack) -> None:
    """The term has another name then, so it is found from the values: their change is a multiple of one head."""
    weights = {"click": 1, "like": 8, "long_view": 2, "hate": -20}

    def valued(text: str) -> Stack:
        values = {name: Expression(text, HEADS, f"surfaces.{name}.value", WEIGHTS) for name in SURFACES}
        return replace(engine, value=SurfaceValues(values, HEADS))

    sound = valued(" + ".join(f"{weight} * {head}" for head, weight in weights.items()))
    for head in weights:
        flipped = {name: -weight if name == head else weight for name, weight in weights.items()}
        broken = valued(" + ".join(f"{weight} * {name}" for name, weight in flipped.items()))
        first = diff_traces(mirrored(sound, broken, requests=6)).first
        assert first is not None
        assert (first.stage, first.culprit) == ("value", head)


def test_a_ranker_or_source_that_fails_in_the_shadow_is_where_they_part(engine: Stack) -> None:
    class Broken(Numbers):
        def predict(self, request, user, rows, features):
            raise RuntimeError("weights do not fit")

    first = diff_traces(mirrored(engine, replace(engine, ranker=Broken()))).first
    assert first is not None
    assert (first.stage, first.culprit) == ("model", "no answer")
