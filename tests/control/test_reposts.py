"""Every item's original, also over chains and circles, against the plain way of following one name after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import ControlError
from mainstem.control.reposts import originals_of


def plainly(named: list[int]) -> tuple[list[int], int]:
    ends, circular = [], set()
    for row in range(len(named)):
        way = [row]
        while named[way[-1]] not in way:
            way.append(named[way[-1]])
        circle = way[way.index(named[way[-1]]) :]
        ends.append(min(circle))
        circular |= set(circle) if len(circle) > 1 else set()
    return ends, len(circular)


@given(st.integers(1, 25).flatmap(lambda n: st.lists(st.integers(0, n - 1), min_size=n, max_size=n)))
def test_originals_are_where_the_names_lead(named):
    found = originals_of(np.array([*named, -1], np.int32))
    ends, circular = plainly(named)
    assert found.rows.tolist() == [*ends, -1]
    assert found.circular == circular


def test_a_circle_counts_as_one_item_is_logged_and_can_be_refused(caplog):
    table = np.array([1, 2, 0, 3, 0, -1], np.int32)
    found = originals_of(table)
    assert found.rows.tolist() == [0, 0, 0, 3, 0, -1]
    assert found.circular == 3
    assert "control-032" in caplog.text
    with pytest.raises(ControlError) as error:
        originals_of(table, strict=True)
    assert error.value.code == "control-032"


def test_a_repost_of_a_repost_goes_to_the_first():
    found = originals_of(np.array([0, 0, 1, 2, -1], np.int32))
    assert found.rows.tolist() == [0, 0, 0, 0, -1]
    assert (found.chained, found.circular) == (2, 0)


def test_an_empty_catalog_has_no_originals():
    assert originals_of(np.array([-1], np.int32)).rows.tolist() == [-1]
