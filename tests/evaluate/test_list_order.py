"""The order inside a moment is drawn anew, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mainstem.base.errors import BenchError
from mainstem.data.loaders.sequences import grouped
from mainstem.data.sequences import Sequences
from mainstem.evaluate.order import order_effect, shuffled_runs, shuffled_within

TIMES = np.array([1, 1, 1, 2, 60, 61, 62, 1, 1, 1, 90, 90]) * 1000 + 10**12
USERS = np.array([0] * 7 + [1] * 5)
ITEMS = np.arange(12)


def timed() -> Sequences:
    return grouped("made", USERS, ITEMS, times_ms=TIMES)


@given(st.integers(0, 1000), st.sampled_from([1000, 60_000]))
def test_only_events_of_one_moment_change_places(seed: int, window: int) -> None:
    before, after = timed(), shuffled_within(timed(), window, seed)
    for user in range(2):
        assert sorted(after.of(user)) == sorted(before.of(user))
    assert (TIMES[after.rows] // window == TIMES // window).all()
    assert (shuffled_within(timed(), window, seed).rows == after.rows).all()


def test_runs_are_counted_from_the_end() -> None:
    seen = {tuple(shuffled_runs(timed(), 2, seed).of(0)) for seed in range(40)}
    assert {row[0] for row in seen} == {0}
    assert {row[5:] for row in seen} == {(5, 6), (6, 5)}


class Last:
    """The item after the last one, as lists are numbered."""

    name = "list order"

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        last = histories.rows[histories.starts[1:] - 1]
        return -np.abs(np.arange(histories.items)[None, :] - last[:, None] - 1.0).astype(np.float32)


def test_a_model_of_list_order_loses_its_gain_when_the_order_goes() -> None:
    users, items = np.repeat(np.arange(30), 10), np.tile(np.arange(10), 30) + np.repeat(np.arange(30), 10) % 7
    sequences = grouped("lists", users, items, times_ms=np.full(300, 10**12))
    recorded, blurred = order_effect(lambda _: Last(), sequences, windows_ms=(1_000,))
    assert (recorded.blurred, recorded.moved, recorded.judged.value("hr@1")) == ("as recorded", 0.0, 1.0)
    assert blurred.moved > 0.5
    assert (blurred.judged.value("mrr") or 0) < 0.8


def test_moments_need_times() -> None:
    with pytest.raises(BenchError) as caught:
        shuffled_within(grouped("made", USERS, ITEMS), 1000)
    assert caught.value.code == "bench-008"
