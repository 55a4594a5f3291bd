"""The sums of pairs are the normal equations of "decayed future from decayed past", however they are made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import RetrievalError
from mainstem.data.loaders.sequences import grouped
from mainstem.data.sequences import Sequences
from mainstem.retrieval.normal_equations import cholesky_solve, solved_rows
from mainstem.retrieval.pair_sums import Decay, PairSums, gap_weights, pair_sums

DECAY = Decay(2.0, 0.7)


def made(rows: list[list[int]], items: int = 9) -> Sequences:
    users = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return grouped(
        "made", users, np.array([item for row in rows for item in row], np.int64), known_items=np.arange(items)
    )


histories = st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=12), min_size=1, max_size=6)


def by_definition(rows: list[list[int]], decay: Decay, items: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Past and future of every place, the places run on past the end, multiplied out."""
    p, f = 2 ** (-1 / decay.past), 2 ** (-1 / decay.future)
    near, follow = np.zeros((items, items)), np.zeros((items, items))
    for row in rows:
        past = np.zeros(items)
        for t in range(len(row) + 200):
            past *= p
            if t < len(row):
                past[row[t]] += 1
            future = np.zeros(items)
            for s in range(t + 1, len(row)):
                future[row[s]] += f ** (s - t - 1)
            near += np.outer(past, past)
            follow += np.outer(past, future)
    return near, follow


@given(rows=histories)
def test_the_sums_are_the_products_of_past_and_future(rows: list[list[int]]) -> None:
    near, follow = by_definition(rows, DECAY)
    found = pair_sums(made(rows), DECAY).matrices()
    # Gaps whose weight is under 1e-4 of the largest are cut off.
    np.testing.assert_allclose(found[0], near, atol=5e-3)
    np.testing.assert_allclose(found[1], follow, atol=5e-3)


def whole(sums: PairSums) -> np.ndarray:
    return np.stack(sums.matrices())


@given(rows=histories, dense=st.booleans(), cut=st.integers(0, 12))
def test_a_days_events_are_added_without_reading_the_old_ones_again(
    rows: list[list[int]], dense: bool, cut: int
) -> None:
    most = 100 if dense else 0
    old = [row[:cut] for row in rows]
    before = made([row for row in old if row] or [[0]])
    if not any(old):
        return
    begins = np.array([len(row) for row in old])
    added = pair_sums(before, DECAY, dense_most=most).plus(pair_sums(made(rows), DECAY, begins=begins, dense_most=most))
    at_once = pair_sums(made(rows), DECAY, dense_most=most)
    np.testing.assert_allclose(whole(added), whole(at_once), rtol=1e-5, atol=1e-5)
    assert (added.taken == at_once.taken).all()


@given(rows=histories)
def test_sparse_sums_are_the_dense_ones(rows: list[list[int]]) -> None:
    sparse, dense = pair_sums(made(rows), DECAY, dense_most=0), pair_sums(made(rows), DECAY)
    assert not sparse.is_dense
    assert dense.is_dense
    np.testing.assert_allclose(whole(sparse), whole(dense), rtol=1e-5, atol=1e-6)
    mixed = sparse.plus(dense)
    np.testing.assert_allclose(whole(mixed), 2 * whole(dense), rtol=1e-5, atol=1e-5)


def test_equal_half_lives_are_the_limit_of_nearly_equal_ones() -> None:
    np.testing.assert_allclose(gap_weights(Decay(3, 3))[1][:20], gap_weights(Decay(3, 3.0001))[1][:20], rtol=1e-3)


def test_blocks_of_a_sparse_solution_agree_with_the_whole_one() -> None:
    rng = np.random.default_rng(1)
    sequences = made([list(rng.zipf(1.3, 15) % 150) for _ in range(400)], items=151)
    dense = np.concatenate([rows for _, rows in solved_rows(pair_sums(sequences, DECAY), 3.0)])
    sums = pair_sums(sequences, DECAY, dense_most=0)
    shares: list[float] = []
    blocks = solved_rows(sums, 3.0, whole_most=0, progress=lambda share, _: shares.append(share))
    np.testing.assert_allclose(np.concatenate([rows for _, rows in blocks]), dense, atol=2e-3 * np.abs(dense).max())
    scattered = np.concatenate([rows for _, rows in solved_rows(sums, 3.0)])
    np.testing.assert_allclose(scattered, dense, atol=1e-5)
    assert shares[-1] == 1.0


def test_the_blocked_factor_solves_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(1100, 1100)).astype(np.float32)
    matrix, right = a @ a.T + 1100 * np.eye(1100, dtype=np.float32), rng.normal(size=(1100, 40)).astype(np.float32)
    wanted = np.linalg.solve(matrix.astype(np.float64), right.astype(np.float64))
    np.testing.assert_allclose(cholesky_solve(matrix.copy(), right.copy()), wanted, rtol=1e-3, atol=1e-6)


def test_what_cannot_be_summed_or_solved_is_refused() -> None:
    sums = pair_sums(made([[1, 2, 3]]), DECAY)
    for code, act in (
        ("retrieval-010", lambda: Decay(0, 1)),
        ("retrieval-011", lambda: sums.plus(pair_sums(made([[1, 2]]), Decay(5, 1)))),
        ("retrieval-011", lambda: sums.plus(pair_sums(made([[1, 2]], items=5), DECAY))),
        ("retrieval-012", lambda: list(solved_rows(sums, 0.0))),
    ):
        with pytest.raises(RetrievalError) as caught:
            act()
        assert caught.value.code == code


def test_sums_that_the_ridge_does_not_make_solvable_are_refused() -> None:
    sums = pair_sums(made([[1, 2, 3]]), DECAY)
    sums.near[0, 0] = -5.0
    with pytest.raises(RetrievalError) as caught:
        list(solved_rows(sums, 1.0))
    assert caught.value.code == "retrieval-012"
