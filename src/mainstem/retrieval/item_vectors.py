"""Where items lie: one vector from what they are and from what is taken near them; content alone is enough for a new item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import ItemContent, Sequences

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class VectorSettings:
    """How item vectors are made.

    Attributes:
        behaviour: Numbers of the behaviour part.
        content: Numbers of the content part.
        window: How many events after an event count as near it.
        content_weight: Length of the content part, where that of the behaviour part is 1.
        doubt: So many near events weigh as much as what content says about behaviour.
    """

    behaviour: int = 48
    content: int = 48
    window: int = 5
    content_weight: float = 0.7
    doubt: float = 8.0


@dataclass(frozen=True, slots=True)
class ContentMap:
    """From an item's marks to its vector, as learned: what gives a new item its place.

    Shapes: ``weight[vocabulary]``, ``axes[vocabulary, content]``, ``to_behaviour[content, behaviour]``.
    """

    weight: Vectors
    axes: Vectors
    to_behaviour: Vectors
    content_weight: float

    def parts(self, content: ItemContent) -> tuple[Vectors, Vectors]:
        """The content part of each item and the behaviour that it lets expect.

        Raises:
            RetrievalError: ``retrieval-054`` when the marks are of another vocabulary.
        """
        if content.vocabulary != len(self.weight):
            raise RetrievalError(
                f"found content of {content.vocabulary} kinds of marks, expected the {len(self.weight)} that the item "
                "vectors were learned with",
                code="retrieval-054",
                hint="mainstem train",
            )
        items = np.repeat(np.arange(len(content.starts) - 1), np.diff(content.starts))
        part = _unit(_times(items, content.marks, self.weight[content.marks], self.axes, len(content.starts) - 1))
        return part, part @ self.to_behaviour

    def vectors(self, content: ItemContent) -> Vectors:
        """Vectors of items that nobody took yet. Shapes: [items, content + behaviour]."""
        part, behaviour = self.parts(content)
        return np.concatenate([self.content_weight * part, _unit(behaviour)], axis=1)


@dataclass(frozen=True, slots=True)
class ItemVectors:
    """The vectors of a catalog, and where known the map that places new items beside them. Shapes: ``of[items, d]``."""

    of: Vectors
    content: ContentMap | None


def learn_vectors(fit: Sequences, settings: VectorSettings | None = None, seed: int = 0) -> ItemVectors:
    """Vectors from what is taken near what, and from content where the set has it.

    The behaviour of a rarely taken item is shrunk toward what its content lets expect, so that a new item lands among items
    that are taken like it.

    Raises:
        RetrievalError: ``retrieval-055`` when there are neither two events in a row nor content.

    Source: positive pointwise mutual information factored (Levy, Goldberg 2014), by a randomised subspace iteration
        (Halko, Martinsson, Tropp 2011).
    """
    settings = settings or VectorSettings()
    left, right, weight = nearness(fit, settings.window)
    if not len(left) and fit.content is None:
        raise RetrievalError(
            f"found neither two events in a row nor content in {fit.name!r}, expected at least one of them to place items by",
            code="retrieval-055",
            hint="mainstem data check",
        )
    axes, strength, _ = factor(left, right, weight, (fit.items, fit.items), settings.behaviour, seed)
    behaviour = _unit(axes * np.sqrt(strength))
    if fit.content is None or not len(fit.content.marks):
        return ItemVectors(behaviour, None)
    taken = np.bincount(fit.rows, minlength=fit.items).astype(np.float32)
    return _with_content(behaviour, taken, fit.content, settings, seed)


def nearness(fit: Sequences, window: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Vectors]:
    """Which items are taken near which, more than chance: row, column, positive pointwise mutual information."""
    user = np.repeat(np.arange(len(fit)), fit.lengths)
    rows = fit.rows.astype(np.int64)
    keys = [np.empty(0, np.int64)]
    for step in range(1, window + 1):
        same = user[step:] == user[:-step]
        first, later = rows[:-step][same], rows[step:][same]
        keys += [first * fit.items + later, later * fit.items + first]
    pair, count = np.unique(np.concatenate(keys), return_counts=True)
    left, right = pair // fit.items, pair % fit.items
    keep = left != right
    left, right, count = left[keep], right[keep], count[keep]
    total = np.bincount(left, count, fit.items)
    # Contexts to the power 3/4, so that rare items do not make the strongest pairs.
    context = total**0.75
    expected = total[left] * context[right] / max(context.sum(), 1.0)
    weight = np.log(np.maximum(count / np.maximum(expected, 1e-12), 1.0))
    keep = weight > 0
    return left[keep], right[keep], weight[keep].astype(np.float32)


def factor(
    left: NDArray[np.integer], right: NDArray[np.integer], weight: Vectors, shape: tuple[int, int], rank: int, seed: int
) -> tuple[Vectors, Vectors, Vectors]:
    """The strongest ``rank`` directions of a sparse matrix given by its entries: left axes, strengths, right axes.

    Shapes: [rows, rank], [rank], [columns, rank]; padded with zeros where the matrix has fewer.
    """
    wide = min(rank + 8, *shape)
    start = np.random.default_rng(seed).standard_normal((shape[1], wide)).astype(np.float32)
    basis = np.linalg.qr(_times(left, right, weight, start, shape[0]))[0]
    for _ in range(3):
        basis = np.linalg.qr(_times(right, left, weight, basis, shape[1]))[0]
        basis = np.linalg.qr(_times(left, right, weight, basis, shape[0]))[0]
    small = _times(right, left, weight, basis, shape[1])
    columns, strength, inner = np.linalg.svd(small, full_matrices=False)
    # The sign of an axis is a matter of the linear-algebra library: fixed, so that codes do not depend on it.
    axes = basis @ inner.T
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    sign[sign == 0] = 1
    keep = min(rank, wide)
    pad = rank - keep
    left_axes = np.pad((axes * sign)[:, :keep], ((0, 0), (0, pad))).astype(np.float32)
    right_axes = np.pad((columns * sign)[:, :keep], ((0, 0), (0, pad))).astype(np.float32)
    return left_axes, np.pad(strength[:keep], (0, pad)).astype(np.float32), right_axes


def _with_content(
    behaviour: Vectors, taken: Vectors, content: ItemContent, settings: VectorSettings, seed: int
) -> ItemVectors:
    items = len(behaviour)
    of = np.repeat(np.arange(items), np.diff(content.starts))
    common = np.bincount(content.marks, minlength=content.vocabulary)
    weight = np.log1p(items / np.maximum(common, 1)).astype(np.float32)
    shape = (items, content.vocabulary)
    _, _, axes = factor(of, content.marks, weight[content.marks], shape, settings.content, seed)
    unmapped = ContentMap(
        weight, axes, np.zeros((settings.content, settings.behaviour), np.float32), settings.content_weight
    )
    part, _ = unmapped.parts(content)
    # Ridge, each item by how well its behaviour is known.
    known = taken / (taken + settings.doubt)
    left = (part * known[:, None]).T @ part + np.eye(settings.content, dtype=np.float32)
    mapped = ContentMap(
        weight,
        axes,
        np.linalg.solve(left, (part * known[:, None]).T @ behaviour).astype(np.float32),
        settings.content_weight,
    )
    expected = _unit(part @ mapped.to_behaviour)
    blended = _unit(known[:, None] * behaviour + (1 - known[:, None]) * expected)
    return ItemVectors(np.concatenate([settings.content_weight * part, blended], axis=1), mapped)


def _times(
    left: NDArray[np.integer], right: NDArray[np.integer], weight: Vectors, matrix: Vectors, rows: int
) -> Vectors:
    """Sparse times dense, a column at a time: no library, and no array of entries times columns."""
    out = np.empty((rows, matrix.shape[1]), np.float32)
    for column in range(matrix.shape[1]):
        out[:, column] = np.bincount(left, weight * matrix[right, column], rows)
    return out


def _unit(vectors: NDArray[np.floating]) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)
