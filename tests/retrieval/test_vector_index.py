"""Both indexes keep the promises of the protocol; the choice between them says when it had none."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.retrieval import index as index_module
from mainstem.retrieval.approximate import ListIndex
from mainstem.retrieval.index import ExactIndex, VectorIndex, vector_index
from mainstem.testing.index_suite import DIM, VectorIndexSuite, made_vectors, true_nearest


class TestExact(VectorIndexSuite):
    @pytest.fixture
    def make_index(self):
        return vector_index


class TestLists(VectorIndexSuite):
    @pytest.fixture
    def make_index(self):
        return ListIndex


class TestFewLists(VectorIndexSuite):
    """One list is scanned: what is promised besides recall must hold all the same."""

    least_recall = 0.3

    @pytest.fixture
    def make_index(self):
        return lambda vectors, rows: ListIndex(vectors, rows, lists=50, probes=1)


class TestAllLists(VectorIndexSuite):
    @pytest.fixture
    def make_index(self):
        return lambda vectors, rows: ListIndex(vectors, rows, lists=20, probes=20)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "remove"]), st.lists(st.integers(0, 30), min_size=1, max_size=12)),
        max_size=25,
    ),
    st.booleans(),
)
def test_any_order_of_changes_ends_where_a_dictionary_would(changes, approximate):
    index: VectorIndex = (
        ListIndex(made_vectors(12), np.arange(12), lists=3, probes=3) if approximate else vector_index(made_vectors(12))
    )
    held = dict(enumerate(made_vectors(12)))
    for seed, (what, rows) in enumerate(changes):
        if what == "add":
            vectors = made_vectors(len(rows), seed)
            index.add(np.array(rows), vectors)
            held.update(zip(rows, vectors, strict=True))
        else:
            index.remove(np.array(rows))
            for row in rows:
                held.pop(row, None)
    query = made_vectors(1, 99)[0]
    rows = np.array(sorted(held), np.int64)
    vectors = np.stack([held[row] for row in rows.tolist()]) if len(rows) else np.empty((0, DIM), np.float32)
    found = index.search(query, 9)
    assert len(index) == len(rows)
    wanted = rows[true_nearest(vectors, query, 9)]
    assert np.allclose(found.scores, np.sort(vectors @ query)[::-1][:9], atol=1e-5)
    assert sorted(found.rows.tolist()) == sorted(wanted.tolist())


def test_small_catalogs_are_searched_exactly_and_large_ones_in_lists():
    assert isinstance(vector_index(made_vectors(100)), ExactIndex)
    assert isinstance(vector_index(made_vectors(100), large=100), ListIndex)


def test_without_the_library_every_size_is_searched_exactly_and_it_says_so(monkeypatch, caplog):
    monkeypatch.setattr(index_module, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        index = vector_index(made_vectors(100), large=50)
    assert index.exact
    assert "'ann' is not installed" in caplog.text
