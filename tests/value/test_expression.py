"""A surface's value is the sum that is written there, and nothing that is written there can run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import ConfigError
from mainstem.base.request import Request
from mainstem.value.expression import Expression, SurfaceValues, refuse_worthless

NAMES = ("click", "like", "hate", "watch")
COLUMNS = {
    "click": np.array([0.5, 0.2]),
    "like": np.array([0.1, 0.3]),
    "hate": np.array([0.0, 0.01]),
    "watch": np.array([5.0, 90.0]),
}
WEIGHTS = {"like_worth": 2, "watch_worth": "0.02 / s", "cap": "60 s", "steep": 0.5}
REQUEST = Request(request_id=1, user_id=1, surface="feed", now_ms=0, count=1)


def refused(text: str, code: str, weights: dict | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        Expression(text, NAMES, "surfaces.feed.value", weights)
    assert error.value.code == code
    assert "surfaces.feed" in error.value.message
    return error.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("click", [0.5, 0.2]),
        ("click + 2 * like - 20 * hate", [0.7, 0.6]),
        ("click - (like - hate)", [0.4, -0.09]),
        ("watch_worth * min(watch, cap)", [0.1, 1.2]),
        ("click ** 2 * like ** steep", [0.25 * 0.1**0.5, 0.04 * 0.3**0.5]),
        ("max(hate, 0.001) ** -0.5", [0.001**-0.5, 0.1**-1]),
        ("-hate / 2", [0.0, -0.005]),
        ("log1p(watch_worth * watch) * exp(-hate)", np.log1p(0.02 * COLUMNS["watch"]) * np.exp(-COLUMNS["hate"])),
        ("log(max(hate, 0.001))", np.log([0.001, 0.01])),
        ("like_worth * like + click + like_worth * like", [0.9, 1.4]),
        ("sqrt(watch / cap)", np.sqrt([5 / 60, 1.5])),
        ("3", [3.0, 3.0]),
        ("click / (1 + like)", [0.5 / 1.1, 0.2 / 1.3]),
    ],
)
def test_the_value_is_the_written_sum(text, expected):
    expression = Expression(text, NAMES, weights=WEIGHTS)
    assert np.broadcast_to(expression.of(COLUMNS), (2,)) == pytest.approx(np.asarray(expected))


NUMBER = st.floats(-50, 50).map(lambda x: repr(round(x, 6)))
HEAD = st.sampled_from(("click", "like", "hate"))
TERM = st.one_of(
    st.tuples(NUMBER, HEAD).map("({0[0]}) * {0[1]}".format),
    st.tuples(HEAD, HEAD).map("{0[0]} * {0[1]}".format),
    st.tuples(HEAD, NUMBER).map("exp({0[0]}) * ({0[1]})".format),
    st.tuples(HEAD, HEAD).map("{0[0]} / max({0[1]}, 0.1)".format),
    NUMBER.map("({})".format),
)


@given(
    st.lists(TERM, min_size=1, max_size=8),
    st.integers(0, 2**32 - 1),
    st.sampled_from((np.float64, np.float32)),
    st.lists(st.sampled_from("+-"), min_size=8, max_size=8),
)
def test_the_parts_add_up_to_the_value_to_the_last_bit(terms, seed, dtype, signs):
    text = terms[0] + "".join(f" {sign} {term}" for sign, term in zip(signs, terms[1:], strict=False))
    predictions = np.random.default_rng(seed).random((17, 3)).astype(dtype)
    model = SurfaceValues({"feed": Expression(text, ("click", "like", "hate"))}, ("click", "like", "hate"))
    served = model.values(REQUEST, None, np.arange(17), predictions)
    added = sum(model.terms(REQUEST, None, np.arange(17), predictions).values())
    assert np.array_equal(served, np.broadcast_to(added, (17,)))


@given(
    st.lists(TERM, min_size=1, max_size=6), st.lists(st.sampled_from("+-"), min_size=6, max_size=6), st.integers(0, 99)
)
def test_it_is_what_python_makes_of_the_same_text(terms, signs, seed):
    text = terms[0] + "".join(f" {sign} {term}" for sign, term in zip(signs, terms[1:], strict=False))
    drawn = np.random.default_rng(seed).random((5, 3))
    columns = dict(zip(("click", "like", "hate"), drawn.T, strict=True))
    plain = eval(text, {"exp": np.exp, "max": np.maximum}, columns)
    found = Expression(text, ("click", "like", "hate")).of(columns)
    assert np.broadcast_to(found, (5,)) == pytest.approx(np.broadcast_to(plain, (5,)), rel=1e-9, abs=1e-9)


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
        "min(click, like, key=hate)",
        "(click := 1)",
        "f'{click}'",
        "max(*click)",
        "1" + "+1" * 990,
        "-" * 1500 + "1",
    ],
)
def test_anything_but_arithmetic_over_heads_is_refused(text):
    try:
        Expression(text, NAMES, "surfaces.feed.value")
    except ConfigError as error:
        assert error.code in ("value-001", "value-002")  # noqa: PT017 (long sums may be fine)
        assert "surfaces.feed.value" in error.message  # noqa: PT017
    else:
        assert set(text) <= set("1+-")


def test_an_unknown_head_is_named_with_what_was_meant():
    assert "'click'" in refused("clik", "value-002").hint
    assert "'like_worth'" in refused("like_wort * like", "value-002", WEIGHTS).hint


@pytest.mark.parametrize(
    ("text", "both"),
    [
        ("click + watch", ("'watch' (seconds)", "'click' (no unit)")),
        ("click + 0.02 * watch", ("'0.02 * watch' (seconds)", "'click'")),
        ("2 * like - (click - watch)", ("seconds", "no unit")),
        ("min(watch, 60)", ("'60' (no unit)", "'watch' (seconds)")),
        ("click + watch_worth * like", ("per second", "no unit")),
        ("exp(watch)", ("watch", "seconds")),
        ("click * (like + watch)", ("watch", "like")),
    ],
)
def test_seconds_and_chances_do_not_add_up(text, both):
    error = refused(text, "value-004", WEIGHTS)
    assert all(part in error.message for part in both)
    assert "/ s" in error.hint


@pytest.mark.parametrize("text", ["watch", "watch - cap", "max(watch, 0)", "0 + watch", "watch * watch / cap"])
def test_one_unit_throughout_is_fine(text):
    assert Expression(text, NAMES, weights=WEIGHTS).meaning.seconds == 1


@pytest.mark.parametrize(
    "text",
    ["click / like", "1 / 0", "click / (1 - hate)", "like ** -1", "(click - like) ** 0.5", "log(like)", "1 / watch"],
)
def test_what_can_be_undefined_is_refused_before_it_is(text):
    assert "such as" in refused(text, "value-005").hint


@pytest.mark.parametrize(
    ("weights", "code"),
    [
        ({"click": 2}, "value-007"),
        ({"log": 2}, "value-007"),
        ({"two words": 2}, "value-007"),
        ({"if": 2}, "value-007"),
        ({"w": "much"}, "value-008"),
        ({"w": "2 / day"}, "value-008"),
        ({"w": "1e999"}, "value-008"),
        ({"w": float("nan")}, "value-008"),
    ],
)
def test_a_weight_is_a_number_with_a_name_of_its_own(weights, code):
    refused("click", code, weights)


def test_units_of_time_are_the_same_time():
    seconds = [Expression("w", NAMES, weights={"w": said}).of(COLUMNS) for said in ("90 s", "1.5 min", "90000 ms")]
    assert seconds == pytest.approx([90.0] * 3)
    assert Expression("w * watch", NAMES, weights={"w": "1.2 / min"}).of(COLUMNS) == pytest.approx([0.1, 1.8])


def test_a_value_no_item_can_have_is_refused():
    refuse_worthless(Expression("click - 20 * hate", NAMES, "surfaces.feed.value"))
    with pytest.raises(ConfigError) as error:
        refuse_worthless(Expression("-click - 20 * hate", NAMES, "surfaces.feed.value"))
    assert error.value.code == "value-006"


def test_the_value_at_base_rates_tells_a_weight_that_drowns_the_others():
    rates = {"click": 0.3, "hate": 0.001, "like": None}
    assert Expression("click - 20 * hate", NAMES).at(rates) == pytest.approx(0.28)
    assert Expression("click - 400 * hate", NAMES).at(rates) < 0


def test_other_weights_leave_the_rest_as_it_is():
    expression = Expression("like_worth * like + watch_worth * watch", NAMES, weights=WEIGHTS)
    assert expression.with_weights({"like_worth": 5}).of(COLUMNS) == pytest.approx([0.6, 3.3])


def test_a_value_that_is_not_finite_sinks():
    model = SurfaceValues({"feed": Expression("click + like", ("click", "like"))}, ("click", "like"))
    values = model.values(REQUEST, None, np.arange(2), np.array([[1.0, np.nan], [1.0, 1.0]]))
    assert values.tolist() == [-np.inf, 2.0]


def test_a_fact_is_asked_for_only_where_it_is_read():
    def connected(request, user, rows):
        asked.append(request.surface)
        return (rows == user).astype(float)

    names = ("click", "connected")
    expressions = {"feed": Expression("click * (0.75 + 0.25 * connected)", names), "pages": Expression("click", names)}
    model, asked = SurfaceValues(expressions, ("click",), {"connected": connected}), []
    on_pages = Request(request_id=1, user_id=1, surface="pages", now_ms=0, count=1)
    assert model.values(REQUEST, 1, np.arange(2), np.ones((2, 1))).tolist() == [0.75, 1.0]
    assert model.values(on_pages, 1, np.arange(2), np.ones((2, 1))).tolist() == [1.0, 1.0]
    assert asked == ["feed"]
