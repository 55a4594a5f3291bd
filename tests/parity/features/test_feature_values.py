from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mainstem.parity.features.values import Lists, column_at, edit_distances, places_apart, ulps, unequal, unequal_lists

LISTS = st.lists(st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.0, math.nan]), max_size=6), min_size=1, max_size=12)


def as_lists(values: list[list[float]]) -> Lists:
    column = column_at(pa.chunked_array([pa.array(values, pa.list_(pa.float64()))]), None, "f")
    assert isinstance(column, Lists)
    return column


def same(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other and math.copysign(1, one) == math.copysign(1, other)


def plain_distance(one: list[float], other: list[float]) -> int:
    last = list(range(len(other) + 1))
    for at, left in enumerate(one):
        row = [at + 1]
        for to, right in enumerate(other):
            row.append(min(row[-1] + 1, last[to + 1] + 1, last[to] + (not same(left, right))))
        last = row
    return last[-1]


@given(LISTS, LISTS)
def test_edit_distance_is_the_plain_one(one: list[list[float]], other: list[list[float]]) -> None:
    rows = min(len(one), len(other))
    left, right = as_lists(one[:rows]), as_lists(other[:rows])
    plain = [plain_distance(a, b) for a, b in zip(one, other, strict=False)]
    assert edit_distances(left, right, np.arange(rows), block=5).tolist() == plain
    assert unequal_lists(left, right, np.arange(rows)).tolist() == [at for at, far in enumerate(plain) if far]


@given(LISTS, LISTS)
def test_places_apart_are_the_plain_ones(one: list[list[float]], other: list[list[float]]) -> None:
    rows = min(len(one), len(other))
    plain = [
        sum(not same(*pair) for pair in zip(a, b, strict=False)) + abs(len(a) - len(b))
        for a, b in zip(one, other, strict=False)
    ]
    assert places_apart(as_lists(one[:rows]), as_lists(other[:rows]), np.arange(rows)).tolist() == plain


@given(st.lists(st.tuples(st.floats(), st.floats())))
def test_unequal_and_ulps_are_the_plain_ones(pairs: list[tuple[float, float]]) -> None:
    one, other = (np.array([pair[side] for pair in pairs], np.float64) for side in (0, 1))
    assert unequal(one, other).tolist() == [at for at, pair in enumerate(pairs) if not same(*pair)]
    steps = ulps(one, other).tolist()
    for (left, right), step in zip(pairs, steps, strict=True):
        if math.isnan(left) != math.isnan(right):
            assert step == 2**64 - 1
        elif not math.isnan(left) and step < 50:
            for _ in range(step):
                left = math.nextafter(left, right)
            assert left == right


def test_ulps_of_whole_numbers_do_not_overflow() -> None:
    low, high = np.array([-(2**63), 3]), np.array([2**63 - 1, 5])
    assert ulps(low, high).tolist() == [2**64 - 1, 2]


def test_fixed_size_and_large_lists_with_nulls() -> None:
    kinds = [pa.list_(pa.float32(), 2), pa.large_list(pa.float32()), pa.list_(pa.float32())]
    values = [[1.0, 2.0], None, [3.0, 4.0]]
    found = [column_at(pa.chunked_array([pa.array(values, kind)]), np.array([2, 1, -1, 0]), "f") for kind in kinds]
    for one in found:
        assert isinstance(one, Lists)
        assert one.lengths.tolist() == [2, 0, 0, 2]
        assert one.present is not None
        assert one.present.tolist() == [True, False, False, True]
        assert one.values.tolist() == [3.0, 4.0, 1.0, 2.0]
