"""Crosses: a slot for each combination, a missing part told, and collisions as many as a perfect hash gives."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mainstem.features.extract.cross import HashedCross
from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import State


def cross(*crosses: tuple[str, ...], slots: int = 1000) -> HashedCross:
    return HashedCross(name="x", version="1", crosses=crosses, slots=slots)


def test_equal_combinations_share_a_slot_and_order_within_a_cross_matters() -> None:
    table = pl.DataFrame({"a": [1, 2, 1, None, None], "b": ["x", "x", "x", "x", None]})
    found = cross(("a", "b"), ("b",)).extract(table)
    pair, single = found.vectors.T
    assert pair[0] == pair[2] != pair[1]
    assert pair[3] == pair[4] == single[4] == 0
    assert len(set(single[:4])) == 1
    assert found.state.tolist() == [State.KNOWN] * 4 + [State.EMPTY]
    swapped = pl.DataFrame({"a": [1, 2], "b": [2, 1]})
    there = cross(("a", "b"), slots=1 << 30).extract(swapped).vectors[:, 0]
    assert there[0] != there[1]


def test_slots_are_pinned() -> None:
    table = pl.DataFrame({"a": [1, 2], "b": ["Fox", "river"]})
    assert cross(("a", "b"), slots=1 << 20).extract(table).vectors[:, 0].tolist() == [26501.0, 1001117.0]


def test_collisions_are_those_of_a_perfect_hash() -> None:
    table = pl.DataFrame({"a": np.repeat(np.arange(2000), 2), "b": ["x"] * 4000})
    (found,) = cross(("a", "b"), slots=8001).collisions(table)
    assert found.distinct == 2000
    assert found.occupied < 2000
    assert abs(found.shared_share - found.expected_share) < 0.03
    assert cross(("a",), slots=1 << 30).collisions(table)[0].shared_share == 0.0


def test_slots_stay_inside_and_all_are_used() -> None:
    slots = cross(("a",), slots=8).extract(pl.DataFrame({"a": np.arange(500)})).vectors
    assert set(slots[:, 0].tolist()) == set(range(1, 8))


def test_a_missing_neighbour_does_not_change_a_large_id() -> None:
    beside = pl.DataFrame({"a": [2**60 + 1, None]})
    alone = pl.DataFrame({"a": [2**60 + 1]}, schema={"a": pl.UInt64})
    of = cross(("a",), slots=1 << 30)
    assert of.extract(beside).vectors[0] == of.extract(alone).vectors[0]


@pytest.mark.parametrize(("crosses", "slots"), [((), 10), (((),), 10), ((("a",),), 1), ((("a",),), 1 << 31)])
def test_a_cross_of_nothing_is_refused(crosses: tuple[tuple[str, ...], ...], slots: int) -> None:
    with pytest.raises(ExtractionError) as refused:
        cross(*crosses, slots=slots)
    assert refused.value.code == "feature-063"
