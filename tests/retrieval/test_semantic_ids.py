from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.errors import RetrievalError
from mainstem.data.loaders.sequences import load_sequences
from mainstem.data.sequences import leave_one_out
from mainstem.retrieval.code_trie import NONE, CodeTrie, code_trie
from mainstem.retrieval.item_vectors import learn_vectors
from mainstem.retrieval.semantic_ids import SemanticIds, balanced_centres, evenness, learn_ids, level_size, quantise


def _vectors(items: int = 300, dim: int = 8, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    middles = random.standard_normal((12, dim)) * 3
    return (middles[random.integers(0, 12, items)] + random.standard_normal((items, dim)) * 0.3).astype(np.float32)


@settings(max_examples=20)
@given(items=st.integers(12, 80), copies=st.integers(1, 6), levels=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_item_has_an_id_of_its_own_and_the_same_seed_the_same_bytes(
    items: int, copies: int, levels: int, seed: int
) -> None:
    vectors = np.repeat(_vectors(items, 5, seed), copies, axis=0)
    ids = learn_ids(vectors, levels=levels, size=6, seed=seed)
    assert len(np.unique(ids.codes, axis=0)) == len(vectors)
    assert (ids.codes >= 0).all()
    assert (ids.codes < np.array(ids.sizes)).all()
    assert ids.sha256 == learn_ids(vectors, levels=levels, size=6, seed=seed).sha256
    # The same vector: the same codes but for the digit.
    same = ids.codes[:, :levels].reshape(items, copies, levels)
    assert (same == same[:, :1]).all()


def test_finer_codes_leave_less_unexplained() -> None:
    vectors = _vectors()
    ids = learn_ids(vectors, size=8)
    left, before = vectors.copy(), np.inf
    for level, centres in enumerate(ids.centres):
        left = left - centres[ids.codes[:, level]]
        now = float(np.square(left).mean())
        assert now < before
        before = now


def test_a_prefix_is_a_cluster_and_longer_prefixes_part_it() -> None:
    ids = learn_ids(_vectors(), size=8)
    coarse, fine = ids.prefix(1), ids.prefix(2)
    assert coarse.max() + 1 == len(np.unique(coarse)) <= 8
    assert len(np.unique(np.column_stack([coarse, fine]), axis=0)) == len(np.unique(fine))


def test_no_code_may_hold_the_catalog() -> None:
    random = np.random.default_rng(3)
    crowd = random.standard_normal((900, 4)).astype(np.float32) * 0.05
    far = (random.standard_normal((100, 4)) * 9).astype(np.float32)
    vectors = np.concatenate([crowd, far])

    def spread(room: float) -> float:
        centres = balanced_centres(vectors, 16, np.random.default_rng(0), 15, room)
        return evenness(quantise(vectors, (centres,))[:, 0], 16)

    assert spread(2.0) > spread(1000.0) + 0.1
    assert evenness(np.zeros(9, np.int64), 4) == 0.0
    assert evenness(np.arange(4), 4) == pytest.approx(1.0)


def test_new_items_get_ids_and_no_old_one_changes() -> None:
    vectors = _vectors()
    ids = learn_ids(vectors[:250], size=8)
    grown = ids.with_items(vectors[250:]).with_items(vectors[:3])
    assert (grown.codes[:250] == ids.codes).all()
    assert (grown.trained, grown.digits) == (250, ids.digits)
    assert len(np.unique(grown.codes, axis=0)) == 303
    assert (grown.codes[-3:, :3] == ids.codes[:3, :3]).all()
    assert ids.with_items(vectors[:0]) is ids
    assert grown.sha256 == ids.sha256, "a model trained with the ids stays theirs"
    with pytest.raises(RetrievalError) as error:
        ids.with_items(np.zeros((2, 9), np.float32))
    assert error.value.code == "retrieval-051"
    with pytest.raises(RetrievalError, match="250 items, expected the 7") as error:
        ids.check(7, "the catalog")
    assert error.value.code == "retrieval-051"


@pytest.mark.parametrize(("items", "size"), [(3, None), (0, None), (20, 32)])
def test_a_catalog_too_small_to_quantise_is_refused(items: int, size: int | None) -> None:
    with pytest.raises(RetrievalError) as error:
        learn_ids(_vectors(items), size=size)
    assert error.value.code == "retrieval-050"
    assert learn_ids(_vectors(4)).sizes[0] == 4


def test_codes_a_level_grow_with_the_catalog() -> None:
    assert [level_size(n) for n in (1, 5, 100, 1682, 3416, 12101, 10**6)] == [1, 4, 16, 64, 128, 256, 256]


def test_saved_ids_come_back_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    ids = learn_ids(_vectors(), size=8)
    path = tmp_path / "ids.npz"
    ids.save(path)
    back = SemanticIds.load(path)
    assert (back.codes == ids.codes).all()
    assert (back.trained, back.digits, back.sha256) == (ids.trained, ids.digits, ids.sha256)
    assert [item.name for item in tmp_path.iterdir()] == ["ids.npz"]
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[whole.index(b"codes.npy") + 400] ^= 1
    for damaged in (whole[: len(whole) // 2], bytes(changed), b"", b"none of it"):
        path.write_bytes(damaged)
        with pytest.raises(RetrievalError) as error:
            SemanticIds.load(path)
        assert error.value.code == "retrieval-053"
    with pytest.raises(RetrievalError):
        SemanticIds.load(tmp_path / "none.npz")


def _walk(trie: CodeTrie, codes: np.ndarray) -> int:
    node = 0
    for depth, code in enumerate(codes):
        node = int(trie.children[depth][node, code])
        assert (trie.prefixes[depth + 1][node] == codes[: depth + 1]).all()
    return int(trie.items[node])


def test_the_tree_leads_each_id_to_its_item_and_nothing_else_anywhere() -> None:
    vectors = np.concatenate([_vectors(60, 4), _vectors(60, 4)])
    ids = learn_ids(vectors[:100], size=6, levels=2).with_items(vectors[100:])
    trie = code_trie(ids)
    assert trie.depth == 3
    assert [_walk(trie, codes) for codes in ids.codes] == list(range(120))
    assert sum(int((table != NONE).sum()) for table in trie.children) == sum(len(p) for p in trie.prefixes[1:])
    new = {tuple(codes) for codes in ids.codes[100:, :2].tolist()}
    assert {tuple(p) for p in trie.prefixes[2][trie.fresh].tolist()} == new
    assert ((trie.children[2] != NONE).sum(axis=1)[trie.branching(2)] > 1).all()


@pytest.mark.real
def test_on_ml_100k_codes_are_spread_and_a_prefix_holds_kindred_films(pack: Callable[[str], Path]) -> None:
    split = leave_one_out(load_sequences(pack("ml-100k"), "ml-100k"))
    ids = learn_ids(learn_vectors(split.fit).of, seed=1)
    assert ids.sizes[:3] == (64, 64, 64)
    assert min(evenness(ids.codes[:, level], 64) for level in range(3)) > 0.9
    content = split.fit.content
    assert content is not None
    marks = [set(content.marks[a:b].tolist()) for a, b in zip(content.starts[:-1], content.starts[1:], strict=True)]
    random = np.random.default_rng(0)
    pairs = random.integers(0, len(ids), (20_000, 2))
    cluster = ids.prefix(1)
    near = pairs[cluster[pairs[:, 0]] == cluster[pairs[:, 1]]]
    share = [np.mean([bool(marks[a] & marks[b]) for a, b in some]) for some in (near, pairs[:2000])]
    assert share[0] > share[1] + 0.2
