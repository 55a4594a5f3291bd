"""Pull is what a term does to the order, not how large its weight is written."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.errors import EvidenceError
from mainstem.value.expression import Expression
from mainstem.value.pull import surface_pull

NAMES = ("click", "like", "hate")
TEXT = "click + like_worth * like - 20 * hate"


def parts_of(expression, seed=3, requests=40):
    rng = np.random.default_rng(seed)
    for _ in range(requests):
        yield expression.parts(
            {"click": rng.random(30) * 0.4, "like": rng.random(30) * 0.02, "hate": np.full(30, 0.001)}
        )


def test_a_large_weight_on_what_hardly_differs_pulls_nothing():
    expression = Expression(TEXT, NAMES, weights={"like_worth": 2, "idle": 3})
    found = surface_pull("feed", expression, list(parts_of(expression)), {"click": 0.3, "like": 0.01, "hate": 0.001})
    click, like, hate = found.terms
    assert sum(one.share for one in found.terms) == pytest.approx(1)
    assert click.share > 0.95 > like.share > 0 == hate.spread == hate.moved
    assert (like.weight, like.rate) == (2, 0.01)
    assert click.moved > 5
    assert hate.weight == -20
    assert found.at_rates == pytest.approx(0.3)
    assert found.unused == ("idle",)
    assert [one for one in found.warnings if "moves nothing" in one]


def test_weights_that_make_the_average_item_worthless_are_told_with_the_rate():
    expression = Expression("click - 4000 * hate", NAMES)
    found = surface_pull("feed", expression, list(parts_of(expression)), {"click": 0.3, "hate": 0.001})
    assert found.at_rates == pytest.approx(-3.7)
    assert "base rate 0.001" in found.warnings[0]


def test_a_rate_the_log_does_not_tell_leaves_the_value_at_rates_open():
    expression = Expression(TEXT, NAMES, weights={"like_worth": 2})
    found = surface_pull("feed", expression, list(parts_of(expression)), {"click": 0.3, "like": None, "hate": 0.001})
    assert found.at_rates is None


def test_nothing_to_compare_is_no_evidence():
    expression = Expression("click", NAMES)
    with pytest.raises(EvidenceError) as refused:
        surface_pull("feed", expression, [{"click": np.ones(1)}], {})
    assert refused.value.code == "value-020"
