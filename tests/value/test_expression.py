"""A surface's value is the sum that is written there, and nothing that is written there can run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import ConfigError
from mainstem.base.request import Request
from mainstem.value.expression import Expression, SurfaceValues

NAMES = ("click", "like", "hate", "watch")
COLUMNS = {
    "click": np.array([0.5, 0.2]),
    "like": np.array([0.1, 0.3]),
    "hate": np.array([0.0, 0.01]),
    "watch": np.array([5.0, 90.0]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("click", [0.5, 0.2]),
        ("click + 2 * like - 20 * hate", [0.7, 0.6]),
        ("click - (like - hate)", [0.4, -0.09]),
        ("0.01 * min(watch, 60)", [0.05, 0.6]),
        ("click ** 2 * like ** 0.5", [0.25 * 0.1**0.5, 0.04 * 0.3**0.5]),
        ("-hate / 2", [0.0, -0.005]),
        ("log1p(watch) * exp(-hate)", np.log1p(COLUMNS["watch"]) * np.exp(-COLUMNS["hate"])),
        ("3", [3.0, 3.0]),
    ],
)
def test_the_value_is_the_written_sum(text, expected):
    expression = Expression(text, NAMES)
    assert np.broadcast_to(expression.of(COLUMNS), (2,)) == pytest.approx(np.asarray(expected))


@given(st.lists(st.tuples(st.floats(-50, 50), st.sampled_from(NAMES)), min_size=1, max_size=6))
def test_the_terms_add_up_to_the_value(terms):
    text = " + ".join(f"({weight!r}) * {name}" for weight, name in terms)
    expression = Expression(text, NAMES)
    assert sum(expression.parts(COLUMNS).values()) == pytest.approx(expression.of(COLUMNS), abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "click.real",
        "click[0]",
        "(lambda: 1)()",
        "click if like else 0",
        "'text'",
        "click ** like",
        "min(click)",
        "click +",
        "open('x')",
        "click; like",
        "True",
        "1" * 3000,
        "[1]",
        "click == like",
    ],
)
def test_anything_but_arithmetic_over_heads_is_refused(text):
    with pytest.raises(ConfigError) as refused:
        Expression(text, NAMES, "surfaces.feed.value")
    assert refused.value.code in ("value-001", "value-002")
    assert "surfaces.feed.value" in refused.value.message


def test_an_unknown_head_is_named_with_what_was_meant():
    with pytest.raises(ConfigError) as refused:
        Expression("clik", NAMES)
    assert refused.value.code == "value-002"
    assert "'click'" in refused.value.hint


def test_a_value_that_is_not_finite_sinks():
    model = SurfaceValues({"feed": Expression("click / like", ("click", "like"))}, ("click", "like"))
    request = Request(request_id=1, user_id=1, surface="feed", now_ms=0, count=1)
    with np.errstate(divide="ignore"):
        values = model.values(request, None, np.arange(2), np.array([[1.0, 0.0], [1.0, 1.0]]))
    assert values.tolist() == [-np.inf, 1.0]
