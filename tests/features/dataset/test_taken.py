"""Which rows are taken, at the very edges: the last millisecond of a window, offsets that run against time."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.features.dataset.label_rule import LabelRule
from mainstem.features.dataset.served import Served
from mainstem.features.dataset.split import Split
from mainstem.features.dataset.taken import take


def rule(**more) -> LabelRule:
    given_ = {"name": "r", "window_ms": 10, "join": "last_touch", "by": ("user_id", "item_id"), "outcomes": ("click",)}
    return LabelRule(**(given_ | more))


def log(time_ms, request=None) -> Served:
    rows = np.arange(len(time_ms))
    return Served.of(
        pa.table(
            {
                "request_id": rows if request is None else np.array(request),
                "user_id": np.ones(len(rows), np.int64),
                "item_id": rows,
                "time_ms": np.array(time_ms, np.int64),
                "click": np.ones(len(rows), np.int8),
            }
        )
    )


@pytest.mark.parametrize(("counts", "kept"), [(True, [True, False, False]), (False, [True, True, False])])
def test_a_window_may_end_just_before_the_next_part(counts, kept):
    taken = take(log([89, 90, 91, 500]), None, [rule(last_ms_counts=counts)], Split(("a", "b"), (100,)))
    assert taken.keep[:3].tolist() == kept


@pytest.mark.parametrize(("counts", "kept"), [(True, [True, False, False, False]), (False, [True, True, False, False])])
def test_a_window_may_end_just_before_the_log_does(counts, kept):
    assert take(log([89, 90, 91, 100]), None, [rule(last_ms_counts=counts)], Split()).keep.tolist() == kept


@given(
    st.lists(st.integers(0, 30), min_size=3, max_size=12), st.integers(0, 12), st.lists(st.integers(0, 40), max_size=5)
)
def test_nothing_younger_than_the_delay_is_seen(times, delay, apart):
    request = [at // 2 for at in range(len(times))]
    served = log([*times, 5_000], [*request, 99])
    events = pl.DataFrame(
        {
            "event_id": list(range(len(apart))),
            "offset": [1_000 + at for at in range(len(apart))],
            "time_ms": apart,
            "kind": ["click"] * len(apart),
            "user_id": [1] * len(apart),
            "item_id": [0] * len(apart),
        },
        schema={"event_id": pl.Int64, "offset": pl.Int64, "time_ms": pl.Int64, "kind": pl.String, "user_id": pl.Int64,
                "item_id": pl.Int64},
    )  # fmt: skip
    taken = take(served, events, [rule()], Split(), feedback_delay_ms=delay)
    every = [
        *zip(range(len(times)), times, strict=True),
        (len(times), 5_000),
        *zip(events["offset"], apart, strict=True),
    ]
    for row, when in enumerate(times):
        first = row // 2 * 2
        young = [offset for offset, time in every if time > when - delay]
        assert taken.as_of[row] == (min(first, *young) if delay else first)
