"""The fitted union: curves never rise, a source that says nothing weighs nothing, and twins do not count twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.errors import RetrievalError
from mainstem.base.request import Found, Request
from mainstem.retrieval.fusion import Lists, fit_curves, never_falling
from mainstem.retrieval.union import TableFusion

NAMES = ("good", "twin", "noise")


def made(requests: int, seed: int = 1) -> list[Lists]:
    """A source whose rank tells, the same source again, and one that draws by chance."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(requests):
        good = random.permutation(600)[:200]
        chance = 0.25 * np.exp(-np.arange(200) / 30)
        taken = good[random.random(200) < chance]
        found.append(Lists((good, good, random.permutation(600)[:100]), taken))
    return found


@pytest.fixture(scope="module")
def curves():
    return fit_curves(NAMES, made(300), seed=3)


def test_a_curve_never_rises_with_the_rank(curves):
    assert (np.diff(curves.worth, axis=1) <= 1e-12).all()


def test_a_source_that_tells_nothing_weighs_nothing_and_one_that_tells_weighs(curves):
    told, noise = curves.of("good") + curves.of("twin"), curves.of("noise")
    assert told[0] - told[150] > 2.0
    assert abs(noise[0] - noise[90]) < 0.4
    assert curves.of("never there") is None


def test_twins_share_what_one_alone_would_get(curves):
    alone = fit_curves(("good", "noise"), [Lists((one.found[0], one.found[2]), one.taken) for one in made(300)], seed=3)
    both, one = curves.of("good") + curves.of("twin"), alone.of("good")
    assert np.allclose(both[:100] - both[0], one[:100] - one[0], atol=0.35)


def test_what_the_union_predicts_comes_true(curves):
    union = TableFusion(tuple(curves.worth), {"feed": 1_000})
    predicted, taken = 0.0, 0
    for one in made(200, seed=9):
        pool = union.merge(Request(1, 1, "feed", 0, 10), [Found(rows, np.zeros(len(rows))) for rows in one.found])
        predicted += float((1 / (1 + np.exp(-(pool.fused + curves.base)))).sum())
        taken += len(one.taken)
    assert 0.9 < predicted / taken < 1.1


def test_the_same_seed_gives_the_same_curves():
    first, second = (fit_curves(NAMES, made(40), seed=5) for _ in range(2))
    assert first.worth.tobytes() == second.worth.tobytes()


def test_too_few_taken_are_refused():
    for lists in ([], made(1)):
        with pytest.raises(RetrievalError) as refused:
            fit_curves(NAMES, lists)
        assert refused.value.code == "retrieval-071"


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 9)), min_size=1, max_size=30))
def test_pooling_gives_the_nearest_sequence_that_never_falls(pairs):
    values, weights = (np.array(one) for one in zip(*pairs, strict=True))
    pooled = never_falling(values, weights)
    assert (np.diff(pooled) >= 0).all()
    assert np.isclose(pooled @ weights, values @ weights)
    for other in (np.full(len(values), values.mean()), np.sort(values), pooled + 0.1):
        assert weights @ (pooled - values) ** 2 <= weights @ (other - values) ** 2 + 1e-9
