"""What is read back is looked at: a row that knows or tells too much stops the set, whoever wrote it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from dataset_log import RULE, SPLIT

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.seal import _look


def row(**change) -> pa.Table:
    values = {"offset": 7, "as_of": 7, "time_ms": 3_100, "label_touch": 1} | change
    return pa.table({name: pa.array([value], pa.int64()) for name, value in values.items()})


def test_a_row_that_is_right_passes():
    _look(row(), [RULE], SPLIT, "validation", 9_000)
    _look(row(time_ms=3_990, label_touch=None), [RULE], SPLIT, "validation", 9_000)


@pytest.mark.parametrize(
    ("change", "seen", "said"),
    [
        ({"as_of": 8}, 9_000, "sees its own impression"),
        ({"time_ms": 2_999}, 9_000, "lies outside validation"),
        ({"time_ms": 4_000}, 9_000, "lies outside validation"),
        ({"time_ms": 3_951}, 9_000, "reaches past validation"),
        ({}, 3_149, "window is not over"),
    ],
)
def test_a_row_that_knows_or_tells_too_much_is_refused(change, seen, said):
    with pytest.raises(FeatureError, match=said) as refusal:
        _look(row(**change), [RULE], SPLIT, "validation", seen)
    assert refusal.value.code == "feature-085"
