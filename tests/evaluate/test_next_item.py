"""The one evaluator of next-item models: what is ranked, what is left out, what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mainstem.base.errors import BenchError
from mainstem.data.loaders.sequences import grouped
from mainstem.data.sequences import LeaveOneOut, Sequences, leave_one_out
from mainstem.evaluate.next_item import compare, gain, judge


@dataclass
class Fixed:
    """The same scores whatever the history, and a memory of what it was asked."""

    row: NDArray[np.float32]
    name: str = "fixed"
    asked: list[tuple[list[list[int]], NDArray[np.int64] | None]] = field(default_factory=list)

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        self.asked.append(([list(histories.of(u)) for u in range(len(histories))], now_ms))
        return np.tile(self.row, (len(histories), 1))


def split_of(rows: list[list[int]], items: int = 6, timed: bool = False) -> LeaveOneOut:
    users = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    flat = np.array([item for row in rows for item in row], np.int64)
    times = np.arange(len(flat)) * 1000 + 10**12 if timed else None
    return leave_one_out(grouped("made", users, flat, times_ms=times, known_items=np.arange(items)))


SPLIT = split_of([[0, 1, 2, 3], [4, 5, 4, 0], [1, 2]])


def test_what_is_read_and_what_is_left_out() -> None:
    model = Fixed(np.array([9, 8, 7, 6, 5, 4], np.float32))
    found = judge(model, SPLIT)
    # User 0 read [0, 1], target 2: items 0 and 1 are left out. User 1 read [4, 5], target 4: a repeat stays.
    assert model.asked == [([[0, 1], [4, 5]], None)]
    assert found.ranks.tolist() == [1.0, 5.0]
    assert found.popularity.tolist() == [0, 1]
    tested = judge(model, SPLIT, "test", "with_validation", batch=1)
    assert [asked for asked, _ in model.asked[1:]] == [[[0, 1, 2]], [[4, 5, 4]]]
    assert tested.ranks.tolist() == [1.0, 1.0]
    assert (tested.part, tested.reads, tested.as_row()["hr@1"]) == ("test", "with_validation", 1.0)


def test_ties_share_the_mean_of_their_places() -> None:
    # Of 6 items 2 were seen; the target ties with the other 3.
    assert judge(Fixed(np.zeros(6, np.float32)), SPLIT).ranks.tolist() == [2.5, 3.0]


@given(st.integers(0, 2**32 - 1))
def test_ranks_are_the_places_in_a_sorted_list(seed: int) -> None:
    rng = np.random.default_rng(seed)
    split = split_of([list(rng.integers(0, 20, rng.integers(3, 9))) for _ in range(7)], items=20)
    row = rng.permutation(20).astype(np.float32)
    found = judge(Fixed(row), split, "test", batch=3)
    for user, target, rank in zip(split.users, split.test, found.ranks, strict=True):
        open_items = [i for i in range(20) if i == target or i not in split.with_validation.of(user)]
        assert 1 + sorted(open_items, key=lambda i: -row[i]).index(target) == rank


def test_the_values_of_ranks() -> None:
    ranks = np.array([1.0, 2.5, 11.0])
    assert gain("hr@10", ranks).tolist() == [1, 1, 0]
    np.testing.assert_allclose(gain("ndcg@10", ranks), [1, 1 / np.log2(3.5), 0])
    np.testing.assert_allclose(gain("mrr", ranks), [1, 0.4, 1 / 11])


def test_target_times_are_told_only_when_asked_for_and_the_row_says_so() -> None:
    split = split_of([[0, 1, 2, 3], [4, 5, 4, 0]], timed=True)
    model = Fixed(np.arange(6, dtype=np.float32))
    told = judge(model, split, now_ms="target")
    assert split.times_ms is not None
    assert model.asked[0][1] is not None
    assert model.asked[0][1].tolist() == split.times_ms[0].tolist()
    assert (told.as_row()["target_time"], judge(model, split).as_row()["target_time"]) == ("read", "not read")


def test_coverage_and_slices() -> None:
    split = split_of([[0] * 6 + [i, i + 1, i + 2] for i in range(1, 10)], items=40)
    found = judge(Fixed(np.arange(40, dtype=np.float32)), split)
    assert found.coverage == 10 / 40
    assert found.popularity_bias == 0.0
    assert found.slices["cold"].all()
    assert found.value("hr@10", "head") is None or found.slices["head"].any()
    assert found.value("hr@50", "cold") == 1.0
    assert found.interval("hr@50") is not None


def test_a_paired_difference_needs_the_same_targets() -> None:
    rng = np.random.default_rng(0)
    split = split_of([list(rng.permutation(30)[:5]) for _ in range(60)], items=30)
    best, worst = Fixed(np.arange(30, dtype=np.float32)), Fixed(-np.arange(30, dtype=np.float32))
    one, two = judge(best, split), judge(worst, split)
    same = compare(one, one)
    assert same is not None
    assert (same.low, same.mid, same.high) == (0.0, 0.0, 0.0)
    apart = compare(one, two, "mrr")
    value, other = one.value("mrr"), two.value("mrr")
    assert apart is not None
    assert value is not None
    assert other is not None
    assert apart.mid == pytest.approx(value - other)
    with pytest.raises(BenchError) as caught:
        compare(one, judge(best, split, "test"))
    assert caught.value.code == "bench-007"


def test_what_would_make_a_figure_wrong_is_refused() -> None:
    good = Fixed(np.zeros(6, np.float32))
    for code, act in (
        ("bench-001", lambda: judge(good, SPLIT).value("recall@x")),
        ("bench-002", lambda: judge(good, SPLIT, "validation", "with_validation")),
        ("bench-003", lambda: judge(good, SPLIT, now_ms="target")),
        ("bench-004", lambda: judge(Fixed(np.zeros(5, np.float32)), SPLIT)),
        ("bench-005", lambda: judge(Fixed(np.array([0, 1, np.nan, 0, 0, 0], np.float32)), SPLIT)),
        ("bench-005", lambda: judge(Fixed(np.array([0, 1, -np.inf, 0, 0, 0], np.float32)), SPLIT)),
        ("bench-006", lambda: judge(good, split_of([[0, 1]]))),
    ):
        with pytest.raises(BenchError) as caught:
            act()
        assert caught.value.code == code
