"""Distinct counts stay within the documented error, do not depend on order or repeats, and pass through an arena."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.errors import FeatureError
from mainstem.features.kernel.arena import Arena
from mainstem.features.kernel.reference import combined
from mainstem.features.kernel.registers import distinct, register_ops, register_words, relative_error
from mainstem.features.kernel.rules import bytemax
from mainstem.features.kernel.shape import BYTEMAX, UNTIMED, GroupShape, Window


def merged(words: np.ndarray) -> np.ndarray:
    return words.view(np.uint8).reshape(len(words), -1).max(axis=0, initial=0).view(np.int64)


@pytest.mark.parametrize("precision", [6, 8])
@pytest.mark.parametrize("true", [1, 10, 100, 1000, 20_000])
def test_the_error_over_many_draws_is_the_documented_one(precision: int, true: int) -> None:
    rng = np.random.default_rng(true)
    draws = 60
    found = np.array(
        [distinct(merged(register_words(rng.integers(-(2**62), 2**62, true), precision)))[()] for _ in range(draws)]
    )
    share = found / true - 1.0
    assert np.sqrt((share**2).mean()) <= 1.3 * relative_error(precision)
    assert abs(share.mean()) <= 4 * relative_error(precision) / np.sqrt(draws)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50))
def test_repeats_and_order_change_no_register(values: list[int]) -> None:
    once = merged(register_words(np.array(values, np.int64), 6))
    again = merged(register_words(np.array([*reversed(values), *values], np.int64), 6))
    assert np.array_equal(once, again)


@settings(max_examples=200, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_bytemax_is_the_maximum_of_each_byte(left: int, right: int) -> None:
    pair = np.array([[left], [right]], np.int64)
    assert bytemax(left, right) == merged(pair)[0] == combined(BYTEMAX, left, right)


def test_registers_pass_through_an_arena() -> None:
    shape = GroupShape(1, register_ops(8))
    arena = Arena((shape,))
    rows = np.zeros((3000, arena.layout.width), np.int64)
    columns = arena.layout.groups[0]
    rows[:, 0], rows[:, columns.counts], rows[:, columns.when] = np.arange(3000), 1, UNTIMED
    values = np.arange(3000) % 700
    rows[:, list(columns.inputs)] = register_words(values, 8)
    arena.apply(rows)
    read = arena.read_registers(0, np.array([[0], [1]]), UNTIMED, (Window(),))
    assert np.array_equal(read[0, 0], merged(register_words(np.arange(700), 8)))
    assert distinct(read)[:, 0] == pytest.approx([700, 0], rel=3 * relative_error(8))
    assert np.isnan(arena.read(0, np.array([[0]]), UNTIMED, (Window(),))).all()


def test_a_value_sets_one_register_and_unknown_precisions_are_refused() -> None:
    assert (register_words(np.arange(500), 6) != 0).sum(axis=1).tolist() == [1] * 500
    for call in (lambda: register_ops(7), lambda: distinct(np.zeros((2, 9), np.int64))):
        with pytest.raises(FeatureError) as refusal:
            call()
        assert refusal.value.code == "feature-027"
