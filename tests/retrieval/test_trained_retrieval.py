"""Tables of followers, and the folder retrieval is kept in: another catalog reads it by id, a damaged one is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import Sequences
from mainstem.features.catalog import Catalog
from mainstem.retrieval.followers import Followers
from mainstem.retrieval.fusion import Curves
from mainstem.retrieval.pair_sums import Decay, pair_sums
from mainstem.retrieval.together import merged, together
from mainstem.retrieval.trained import Retrieval, load_retrieval


def sequences(seed: int = 0, items: int = 40) -> Sequences:
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 9, 120)
    rows = random.integers(0, items, lengths.sum()).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences("made", starts, rows, items, np.arange(items) * 3, np.arange(120))


def dense(table: Followers) -> np.ndarray:
    out = np.zeros((table.items, table.items))
    np.put_along_axis(out, table.columns.astype(np.int64), table.weights.astype(np.float64), axis=1)
    return out


def test_taken_together_is_a_shrunk_cosine_in_either_storage():
    sums = pair_sums(sequences(), Decay(60, 60))
    sparse = pair_sums(sequences(), Decay(60, 60), dense_most=5)
    assert sums.is_dense
    assert not sparse.is_dense
    near = sums.near.copy()
    np.fill_diagonal(near, 0)
    unit = np.sqrt(sums.taken + 20.0)
    expected = near / (unit[:, None] * unit)
    for one in (sums, sparse):
        assert np.allclose(dense(together(one, kept=40)), expected, atol=1e-5)
    assert np.allclose(expected, expected.T, atol=1e-5)


def test_merged_tables_add_their_evidence():
    one = together(pair_sums(sequences(), Decay(60, 60)), kept=40)
    other = together(pair_sums(sequences(1), Decay(60, 60)), kept=40)
    by_hand = np.zeros((40, 40))
    for table, weight in ((one, 1.0), (other, 0.25)):
        by_hand += weight * dense(Followers(table.columns, table.as_evidence(), table.mean))
    assert np.allclose(dense(merged([(one, 1.0), (other, 0.25)], kept=40)), by_hand, atol=1e-5)
    few = merged([(one, 1.0), (other, 0.0)], kept=5)
    assert few.columns.shape == (40, 5)
    assert np.allclose(few.weights, np.sort(one.as_evidence(), axis=1)[:, ::-1][:, :5], atol=1e-6)


@pytest.fixture
def retrieval() -> Retrieval:
    followers = np.array([[1, 2], [2, 0], [0, 1]], np.int32)
    weights = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], np.float32)
    curves = Curves(("popular", "next_item"), np.arange(6.0).reshape(2, 3), -3.5)
    return Retrieval(np.array([10, 20, 30]), followers, weights, curves, None, {"split": "abc"})


def catalog(*ids: int) -> Catalog:
    return Catalog.from_tables(pl.DataFrame({"item_id": ids}), pl.DataFrame({"user_id": [1]}))


def test_it_comes_back_as_it_was_written(retrieval, tmp_path):
    assert load_retrieval(tmp_path / "none") is None
    retrieval.save(tmp_path)
    held = load_retrieval(tmp_path)
    assert held is not None
    assert held.card == {"split": "abc"}
    for name in ("item_ids", "followers", "weights"):
        assert np.array_equal(getattr(held, name), getattr(retrieval, name))
    assert held.curves is not None
    assert held.curves.sources == ("popular", "next_item")
    assert held.curves.of("next_item").tolist() == [3.0, 4.0, 5.0]
    assert held.curves.base == -3.5


def test_another_catalog_reads_it_by_id(retrieval):
    rows, weights = retrieval.on(catalog(99, 30, 10))
    assert weights.tolist() == [[0.0, 0.0], [np.float32(0.7), 0.0], [0.0, np.float32(0.1)]]
    assert rows[1, 0] == 2
    assert rows[2, 1] == 1
    assert retrieval.places(catalog(99, 30, 10)).tolist() == [-1, 2, 0]


def test_a_damaged_folder_is_refused(retrieval, tmp_path):
    retrieval.save(tmp_path)
    path = tmp_path / "retrieval.npz"
    whole = path.read_bytes()
    for broken in (whole[:100], b"", b"not a file"):
        path.write_bytes(broken)
        with pytest.raises(RetrievalError) as refused:
            load_retrieval(tmp_path)
        assert refused.value.code == "retrieval-072"
