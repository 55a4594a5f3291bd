"""Windows lose no target and batches pad little, at any lengths."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.data.sequences import Sequences
from mainstem.retrieval.neural.windows import batches, cut, latest


def sequences_of(*users: list[int], items: int = 50, times: bool = False) -> Sequences:
    starts = np.concatenate([[0], np.cumsum([len(user) for user in users])]).astype(np.int64)
    rows = np.array([row for user in users for row in user], np.int32)
    return Sequences(
        "made",
        starts,
        rows,
        items,
        np.arange(items),
        np.arange(len(users)),
        np.arange(len(rows)) * 1000 if times else None,
    )


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=12),
    length=st.integers(1, 9),
    places=st.integers(1, 40),
    ahead=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_every_event_but_the_first_is_a_target_exactly_once(
    lengths: list[int], length: int, places: int, ahead: int, seed: int
) -> None:
    users = [[(7 * user + 3 * at) % 50 for at in range(count)] for user, count in enumerate(lengths)]
    sequences = sequences_of(*users)
    rng = np.random.default_rng(seed)
    found: list[tuple[int, int]] = []
    for batch in batches(sequences, cut(sequences, length, rng), places, rng, ahead):
        assert batch.items.shape[1] <= length
        assert batch.items.size <= max(places, batch.items.shape[1])
        inside = batch.targets[:, :, 0] >= 0
        assert (inside.sum(axis=1) == batch.lengths).all()
        assert (batch.items[inside] < 50).all()
        assert (batch.items[~inside] == 50).all()
        found += zip(batch.items[inside].tolist(), batch.targets[inside][:, 0].tolist(), strict=True)
    assert sorted(found) == sorted((a, b) for user in users for a, b in itertools.pairwise(user))


def test_targets_further_ahead_stop_at_the_user_and_cross_windows() -> None:
    sequences = sequences_of([1, 2, 3, 4], [9, 8])
    (batch,) = batches(sequences, cut(sequences, 10), 100, np.random.default_rng(0), ahead=3)
    by_first = {int(row[0]): targets.tolist() for row, targets in zip(batch.items, batch.targets, strict=True)}
    assert by_first[1] == [[2, 3, 4], [3, 4, -1], [4, -1, -1]]
    assert by_first[9] == [[8, -1, -1], [-1, -1, -1], [-1, -1, -1]]


def test_batches_come_in_few_shapes() -> None:
    sequences = sequences_of(*[[at % 50 for at in range(count)] for count in list(range(2, 140)) * 8])
    rng = np.random.default_rng(0)
    found = list(batches(sequences, cut(sequences, 100, rng), 1_600, rng))
    assert len({batch.items.shape for batch in found}) <= 14
    assert sum(batch.items.size for batch in found) < 1.15 * sum(int(batch.lengths.sum()) for batch in found)


def test_a_long_sequence_is_cut_at_another_place_each_epoch() -> None:
    sequences = sequences_of([at % 50 for at in range(41)])
    cuts = {tuple(cut(sequences, 10, np.random.default_rng(seed)).starts) for seed in range(20)}
    assert len(cuts) > 5
    assert cut(sequences, 10).starts.tolist() == [0, 10, 20, 30]


def test_the_latest_events_are_those_at_the_end() -> None:
    batch = latest(sequences_of([1, 2, 3, 4], [], [5], times=True), 3)
    assert batch.items.tolist() == [[2, 3, 4], [50, 50, 50], [5, 50, 50]]
    assert batch.lengths.tolist() == [3, 0, 1]
    assert batch.times_ms is not None
    assert batch.times_ms[0].tolist() == [1000, 2000, 3000]
