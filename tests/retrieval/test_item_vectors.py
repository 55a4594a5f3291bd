from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import ItemContent, Sequences
from mainstem.retrieval.item_vectors import VectorSettings, factor, learn_vectors, nearness

SMALL = VectorSettings(behaviour=6, content=4)


def _two_worlds(users: int = 60, items: int = 40, length: int = 12, seed: int = 0) -> Sequences:
    """Users stay in one half of the catalog; the halves have marks 0 and 1, every item has one of marks 2-4 besides."""
    random = np.random.default_rng(seed)
    half = items // 2
    rows = np.concatenate([random.choice(half, length, replace=False) + half * (u % 2) for u in range(users)])
    marks = np.column_stack([np.arange(items) // half, 2 + np.arange(items) % 3]).ravel()
    return Sequences(
        name="two worlds",
        starts=np.arange(users + 1, dtype=np.int64) * length,
        rows=rows.astype(np.int32),
        items=items,
        item_ids=np.arange(items),
        user_ids=np.arange(users),
        content=ItemContent(np.arange(items + 1, dtype=np.int64) * 2, marks.astype(np.int32), 5),
    )


def _within_minus_across(vectors: np.ndarray, half: int) -> float:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    return float(cosine[:half, :half].mean() - cosine[:half, half:].mean())


@pytest.mark.parametrize("content", [True, False])
def test_items_of_one_world_lie_together(content: bool) -> None:
    fit = _two_worlds()
    fit = fit if content else replace(fit, content=None)
    learned = learn_vectors(fit, SMALL, seed=3)
    assert learned.of.shape == (40, 10 if content else 6)
    assert (learned.content is None) is not content
    assert _within_minus_across(learned.of, 20) > 0.5
    assert (learned.of == learn_vectors(fit, SMALL, seed=3).of).all()


def test_a_new_item_lies_where_its_content_says() -> None:
    learned = learn_vectors(_two_worlds(), SMALL)
    assert learned.content is not None
    new = learned.content.vectors(ItemContent(np.array([0, 2, 4]), np.array([0, 2, 1, 2], np.int32), 5))
    nearest = np.argsort(-(new @ learned.of.T), axis=1)[:, :6]
    assert (nearest[0] < 20).all()
    assert (nearest[1] >= 20).all()
    # An item nobody took lies there too, by the same rule.
    fit = _two_worlds()
    keep = fit.rows != 7
    starts = np.concatenate([[0], np.cumsum(np.add.reduceat(keep.astype(np.int64), fit.starts[:-1]))])
    untaken = learn_vectors(replace(fit, starts=starts, rows=fit.rows[keep]), SMALL)
    assert _within_minus_across(untaken.of, 20) > 0.5
    assert (np.argsort(-(untaken.of @ untaken.of[7]))[:8] < 20).all()


def test_marks_of_another_vocabulary_are_refused() -> None:
    learned = learn_vectors(_two_worlds(), SMALL)
    assert learned.content is not None
    with pytest.raises(RetrievalError, match="found content of 9 kinds of marks, expected the 5") as error:
        learned.content.vectors(ItemContent(np.array([0, 1]), np.array([8], np.int32), 9))
    assert error.value.code == "retrieval-054"


def test_nothing_to_place_items_by_is_refused() -> None:
    fit = replace(_two_worlds(), starts=np.zeros(61, np.int64), rows=np.zeros(0, np.int32), content=None)
    with pytest.raises(RetrievalError) as error:
        learn_vectors(fit)
    assert error.value.code == "retrieval-055"
    assert learn_vectors(replace(fit, content=_two_worlds().content), SMALL).of.shape == (40, 10)


def test_nearness_is_positive_and_only_within_a_user() -> None:
    left, right, weight = nearness(_two_worlds(), 2)
    assert len(left) > 100
    assert (weight > 0).all()
    assert (left != right).all()
    assert ((left < 20) == (right < 20)).all()


def test_factors_are_those_of_the_dense_matrix() -> None:
    random = np.random.default_rng(0)
    dense = (random.random((30, 20)) < 0.3) * random.random((30, 20))
    left, right = np.nonzero(dense)
    weight = dense[left, right].astype(np.float32)
    rows, strength, columns = factor(left, right, weight, (30, 20), 20, seed=1)
    assert np.allclose((rows * strength) @ columns.T, dense, atol=1e-4)
    assert np.allclose(strength, np.linalg.svd(dense, compute_uv=False), atol=1e-4)
    assert factor(left, right, weight, (30, 20), 25, seed=1)[0].shape == (30, 25)
