"""Does a vector index keep its promises: tests that the author of an index runs against it.

Example:
    A file ``test_ours.py`` beside the index::

        from mainstem.testing.index_suite import VectorIndexSuite

        class TestOurs(VectorIndexSuite):
            @pytest.fixture
            def make_index(self):
                return lambda vectors, rows: OurIndex(vectors, rows)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.retrieval.index import VectorIndex

Vectors = NDArray[np.float32]
MakeIndex = Callable[[Vectors, NDArray[np.int64]], VectorIndex]
DIM = 16


def made_vectors(count: int, seed: int = 3, clusters: int = 40) -> Vectors:
    """Unit vectors around centres, so that neighbourhoods exist, as in learned ones."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((clusters, DIM))
    vectors = centres[random.integers(0, clusters, count)] + 0.6 * random.standard_normal((count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def true_nearest(vectors: Vectors, query: Vectors, k: int) -> NDArray[np.int64]:
    """The k largest inner products by a full sort, equals by the smaller position."""
    return np.lexsort((np.arange(len(vectors)), -(vectors @ query)))[:k]


class VectorIndexSuite:
    """One test for each promise of ``VectorIndex``. Subclass it and override ``make_index``."""

    least_recall: ClassVar[float] = 0.95
    """The least mean recall of 100 nearest among 3,000; an exact index finds all."""

    @pytest.fixture
    def make_index(self) -> MakeIndex:
        """Makes an index of vectors ``[n, 16]`` and their rows."""
        raise NotImplementedError("override make_index")

    @pytest.fixture
    def vectors(self) -> Vectors:
        """Three thousand of them."""
        return made_vectors(3_000)

    @pytest.fixture
    def index(self, make_index: MakeIndex, vectors: Vectors) -> VectorIndex:
        """An index whose row numbers are not positions."""
        return make_index(vectors, 10 * np.arange(len(vectors)))

    def test_it_finds_the_nearest(self, index: VectorIndex, vectors: Vectors) -> None:
        """All of them when it says it is exact, nearly all otherwise."""
        queries = vectors[np.random.default_rng(1).integers(0, len(vectors), 30)]
        shares = [
            np.isin(10 * true_nearest(vectors, query, 100), index.search(query, 100).rows).mean() for query in queries
        ]
        assert np.mean(shares) >= (1.0 if index.exact else self.least_recall)

    def test_scores_are_the_products_best_first(self, index: VectorIndex, vectors: Vectors) -> None:
        """Found items come with the inner product of their own vector."""
        found = index.search(vectors[5], 50)
        assert np.allclose(found.scores, vectors[found.rows // 10] @ vectors[5], atol=1e-5)
        assert (np.diff(found.scores) <= 0).all()
        assert len(set(found.rows.tolist())) == 50

    def test_equal_scores_stand_in_the_order_of_their_rows(self, make_index: MakeIndex) -> None:
        """The same answer from whatever order the vectors came in."""
        same = np.repeat(made_vectors(4), 5, axis=0)
        found = make_index(same, np.arange(20)[::-1].copy()).search(same[0], 20)
        for score in np.unique(found.scores):
            assert (np.diff(found.rows[found.scores == score]) > 0).all()

    def test_what_is_added_is_found_by_the_next_search(self, index: VectorIndex, vectors: Vectors) -> None:
        """Without a rebuild, also one of a place where nothing was before."""
        fresh = np.zeros((1, DIM), np.float32)
        fresh[0, :3] = 1
        index.add(np.array([7]), fresh)
        assert index.search(fresh[0], 1).rows.tolist() == [7]
        assert len(index) == len(vectors) + 1

    def test_a_row_that_is_there_gets_the_new_vector(self, index: VectorIndex, vectors: Vectors) -> None:
        """It is found by the new one only, and once."""
        index.add(np.array([50, 50]), np.stack([vectors[9], -3 * vectors[5]]))
        assert index.search(-vectors[5], 1).rows.tolist() == [50]
        assert 50 not in index.search(vectors[5], 100).rows
        assert len(index) == len(vectors)

    def test_what_is_removed_is_gone_at_once_and_others_take_its_place(
        self, index: VectorIndex, vectors: Vectors
    ) -> None:
        """As many are answered as were wanted."""
        gone = index.search(vectors[5], 60).rows
        index.remove(gone)
        index.remove(np.array([3, 4]))
        found = index.search(vectors[5], 60)
        assert len(found.rows) == 60
        assert not np.isin(found.rows, gone).any()
        assert len(index) == len(vectors) - 60

    def test_removed_and_added_again_is_there(self, index: VectorIndex, vectors: Vectors) -> None:
        """A removal is no ban."""
        index.remove(np.array([50]))
        index.add(np.array([50]), vectors[5:6])
        assert index.search(vectors[5], 1).rows.tolist() == [50]

    def test_nearly_all_removed_leaves_the_rest_findable(self, index: VectorIndex, vectors: Vectors) -> None:
        """Even those far from the query: k is filled while there is anything left."""
        index.remove(10 * np.arange(20, len(vectors)))
        assert sorted(index.search(vectors[5], 100).rows.tolist()) == list(range(0, 200, 10))
        index.remove(10 * np.arange(20))
        assert len(index.search(vectors[5], 10).rows) == 0
        assert len(index) == 0
        index.add(np.array([1]), vectors[:1])
        assert index.search(vectors[5], 10).rows.tolist() == [1]

    def test_more_wanted_than_there_is_gives_all(self, index: VectorIndex, vectors: Vectors) -> None:
        """And nothing wanted gives nothing."""
        assert sorted(index.search(vectors[0], 10**6).rows.tolist()) == (10 * np.arange(len(vectors))).tolist()
        assert len(index.search(vectors[0], 0).rows) == 0

    def test_vectors_of_zeros_are_never_found(self, make_index: MakeIndex) -> None:
        """Nothing is known of them; an index of nothing is no error."""
        vectors = made_vectors(50)
        vectors[::2] = 0
        found = make_index(vectors, np.arange(50)).search(vectors[1], 50)
        assert sorted(found.rows.tolist()) == list(range(1, 50, 2))
        for empty in (np.zeros((5, DIM), np.float32), np.empty((0, DIM), np.float32)):
            assert len(make_index(empty, np.arange(len(empty))).search(vectors[1], 3).rows) == 0

    def test_several_queries_find_what_is_near_to_any(self, index: VectorIndex, vectors: Vectors) -> None:
        """A row scores its largest product and is found once."""
        queries = vectors[[5, 700]]
        found = index.search(queries, 40)
        best = (vectors @ queries.T).max(axis=1)
        assert np.allclose(found.scores, best[found.rows // 10], atol=1e-5)
        assert {50, 7000} <= set(found.rows[:2].tolist())
        assert len(set(found.rows.tolist())) == 40

    def test_what_does_not_fit_is_refused_and_changes_nothing(self, index: VectorIndex, vectors: Vectors) -> None:
        """Another width, too few rows, or a value that is no number."""
        broken = vectors[:1].copy()
        broken[0, 3] = np.nan
        for rows, given in (([1], vectors[:1, :-1]), ([1, 2], vectors[:1]), ([1], broken)):
            with pytest.raises(RetrievalError) as refused:
                index.add(np.array(rows), given)
            assert refused.value.code == "retrieval-070"
        assert len(index) == len(vectors)

    def test_it_is_searched_while_it_is_changed(self, index: VectorIndex, vectors: Vectors) -> None:
        """Searches see a whole index at every moment: what never changes is always found, what is gone never."""
        stop, wrong = threading.Event(), []
        index.remove(10 * np.arange(1_500, len(vectors)))

        def change() -> None:
            for number in range(40):
                rows = 100_000 + np.arange(50)
                index.add(rows, made_vectors(50, seed=number))
                index.remove(rows[25:])
            stop.set()

        writer = threading.Thread(target=change)
        writer.start()
        while not stop.is_set():
            found = index.search(vectors[5], 200)
            if 50 not in found.rows or len(set(found.rows.tolist())) < 200:
                wrong.append(found.rows)
            if np.isin(found.rows, 10 * np.arange(1_500, len(vectors))).any():
                wrong.append(found.rows)
        writer.join()
        assert not wrong

    def test_the_same_vectors_give_the_same_answers(self, make_index: MakeIndex, vectors: Vectors) -> None:
        """Whatever is drawn at random inside is seeded."""
        first, second = (make_index(vectors, np.arange(len(vectors))).search(vectors[3], 80) for _ in range(2))
        assert first.rows.tolist() == second.rows.tolist()
