"""The list scan against the exact pass: the same when every list is probed, nearly the same when few are."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.retrieval.inverted import InvertedLists
from mainstem.retrieval.search import nearest


def clustered(count: int, clusters: int, seed: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((clusters, 32))
    vectors = centres[random.integers(0, clusters, count)] + 0.6 * random.standard_normal((count, 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered(20_000, 90)


def queries(vectors: np.ndarray, count: int = 30) -> list[np.ndarray]:
    """What a viewer's query is: a decayed mean of enjoyed items, of one taste or of none."""
    random = np.random.default_rng(5)
    weights = (0.8 ** np.arange(10)).astype(np.float32)
    return [weights @ vectors[random.integers(0, len(vectors), 10)] for _ in range(count)]


def test_with_every_list_probed_it_is_the_exact_search(vectors):
    index = InvertedLists(vectors, seed=1, lists=64, probes=64)
    for query in queries(vectors, 10):
        exact, found = nearest(vectors, query, 300), index.nearest(query, 300)
        assert found.rows.tolist() == exact.rows.tolist()
        assert np.allclose(found.scores, exact.scores, atol=1e-5)


def test_with_a_quarter_of_the_lists_nearly_all_of_the_best_are_found(vectors):
    index = InvertedLists(vectors, seed=1, lists=128, probes=32)
    shares = [
        len(np.intersect1d(nearest(vectors, query, 300).rows, index.nearest(query, 300).rows)) / 300
        for query in queries(vectors)
    ]
    assert np.mean(shares) > 0.97
    assert min(shares) > 0.85


def test_more_is_probed_when_more_is_wanted(vectors):
    index = InvertedLists(vectors, seed=1, lists=128, probes=1)
    assert len(index.nearest(queries(vectors)[0], 5_000).rows) == 5_000
    assert len(index.nearest(queries(vectors)[0], 10**6).rows) == len(vectors)


def test_equal_scores_stand_in_the_order_of_their_rows():
    index = InvertedLists(np.repeat(clustered(4, 2), 5, axis=0), seed=1, lists=4)
    found = index.nearest(clustered(4, 2)[0], 20)
    for score in np.unique(found.scores):
        assert (np.diff(found.rows[found.scores == score]) > 0).all()


def test_vectors_of_zeros_are_never_found_and_none_is_no_error():
    vectors = clustered(50, 3)
    vectors[::2] = 0
    found = InvertedLists(vectors, seed=1, lists=4).nearest(vectors[1], 50)
    assert set(found.rows.tolist()) == set(range(1, 50, 2))
    assert len(InvertedLists(np.zeros((5, 32), np.float32), seed=1).nearest(vectors[1], 3).rows) == 0
    assert len(InvertedLists(np.empty((0, 32), np.float32), seed=1).nearest(vectors[1], 3).rows) == 0


def test_the_same_seed_finds_the_same(vectors):
    query = queries(vectors)[0]
    first, second = (InvertedLists(vectors, seed=4).nearest(query, 100) for _ in range(2))
    assert first.rows.tolist() == second.rows.tolist()
