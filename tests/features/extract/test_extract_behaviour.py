"""Behaviour: items liked by the same people lie close, counts are counts, and row order in a fit changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mainstem.features.extract.behaviour import CoEngagement, TransitionCounts, sequences, transitions
from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import State, fingerprint
from mainstem.features.extract.fitted import load_fitted, save_fitted


def two_camps(users: int = 60) -> pl.DataFrame:
    """Even users go for items 0 to 9, odd ones for 100 to 109."""
    draw = np.random.default_rng(3)
    lists = [(draw.choice(10, 5, replace=False) + 100 * (user % 2)).tolist() for user in range(users)]
    return pl.DataFrame({"user": range(users), "items": lists})


def fitted(table: pl.DataFrame) -> CoEngagement:
    return CoEngagement.fit("co", "1", table, dim=4)


def test_items_of_one_camp_lie_closer_than_items_of_two() -> None:
    rows = pl.DataFrame({"items": [[0, 1], [2, 3], [100, 101], [999], []]})
    found = fitted(two_camps()).extract(rows)
    assert found.state.tolist() == [State.KNOWN] * 3 + [State.EMPTY] * 2
    same, other = found.vectors[0] @ found.vectors[1] * 2.0**-40, found.vectors[0] @ found.vectors[2] * 2.0**-40
    assert same > 0.5 > other


def test_only_the_last_items_count() -> None:
    extractor = CoEngagement.fit("co", "1", two_camps(), dim=4, last=1)
    found = extractor.extract(pl.DataFrame({"items": [[100, 0], [0]]}))
    assert np.array_equal(found.vectors[0], found.vectors[1])


def test_row_order_does_not_change_a_fit_and_a_saved_state_is_the_same_extractor(tmp_path: Path) -> None:
    table = two_camps()
    one, two = fitted(table), fitted(table.sample(fraction=1.0, shuffle=True, seed=5))
    assert fingerprint(one) == fingerprint(two)
    save_fitted(tmp_path / "state.npz", one.fitted())
    again = CoEngagement.from_fitted("co", "1", load_fitted(tmp_path / "state.npz"))
    assert fingerprint(again) == fingerprint(one)
    assert np.array_equal(again.extract(table).vectors, one.extract(table).vectors)
    assert fingerprint(fitted(table[:50])) != fingerprint(one)


def test_a_fit_on_nothing_is_refused() -> None:
    with pytest.raises(ExtractionError) as refused:
        fitted(pl.DataFrame({"items": [[1, 2], []]}))
    assert refused.value.code == "feature-064"


def test_sequences_are_the_last_items_in_time_order() -> None:
    events = pl.DataFrame({"u": [2, 1, 1, 1, 2], "i": [9, 3, 1, 2, 8], "t": [5, 3, 1, 1, None]})
    assert sequences(events, "u", "i", "t", 2).rows() == [(1, [2, 3]), (2, [9])]


def test_transitions_are_counted_inside_rows_only() -> None:
    table = pl.DataFrame({"s": [[1, 2, 1, 2], [2], [], [2, None, 1], None]})
    assert transitions(table, "s").rows() == [(1, 2, 2), (2, 1, 2)]


def test_transition_counts_of_a_row_are_its_steps() -> None:
    table = pl.DataFrame({"s": [["a", "b", "a", "b"], ["b"], [], ["b", "a"], ["a", "b"]]})
    found = TransitionCounts(name="steps", version="1", items="s", slots=32).extract(table)
    assert found.vectors.sum(axis=1).tolist() == [3, 0, 0, 1, 1]
    assert found.state.tolist() == [State.KNOWN, State.EMPTY, State.EMPTY, State.KNOWN, State.KNOWN]
    assert not np.array_equal(found.vectors[3], found.vectors[4])
    assert np.array_equal(found.vectors[0], found.vectors[3] + 2 * found.vectors[4])
