"""A first item table from who follows whom: it removes the epochs in which an encoder learns what counting knows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mainstem.data.sequences import Sequences

Array = NDArray[np.float32]


def following(
    sequences: Sequences, reach: int = 4, half_life: float = 2.0
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """How often each item came soon after each other one, as rows, columns and weights of a sparse symmetric matrix.

    Args:
        sequences: What is learned from.
        reach: How many events ahead count.
        half_life: Of the weight, in events.

    Shapes: three of [pairs].
    """
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    pairs, counted = np.empty(0, np.int64), np.empty(0)
    for step in range(1, reach + 1):
        same = owner[step:] == owner[:-step]
        first, second = sequences.rows[:-step][same].astype(np.int64), sequences.rows[step:][same].astype(np.int64)
        keys, times = np.unique(first * sequences.items + second, return_counts=True)
        weight = times * 0.5 ** ((step - 1) / half_life)
        turned = keys % sequences.items * sequences.items + keys // sequences.items
        pairs, place = np.unique(np.concatenate([pairs, keys, turned]), return_inverse=True)
        counted = np.bincount(place, weights=np.concatenate([counted, weight, weight]))
    return pairs // sequences.items, pairs % sequences.items, counted.astype(np.float32)


def warm_table(sequences: Sequences, dim: int, seed: int = 0) -> Array:
    """Item vectors whose products are near the positive pointwise mutual information of following; rows of norm about 1.

    Args:
        sequences: What is learned from.
        dim: Of the vectors.
        seed: Of the randomised decomposition.

    Shapes: [items, dim].
    Source: randomised range finder with power steps (Halko, Martinsson, Tropp 2011); PPMI as in Levy, Goldberg 2014.
    """
    rows, columns, counts = following(sequences)
    total = np.bincount(rows, weights=counts, minlength=sequences.items)
    expected = total[rows] * total[columns] ** 0.75 / (total**0.75).sum()
    information = np.log(np.maximum(counts, 1e-9) / np.maximum(expected, 1e-12))
    keep = information > 0.0
    product = _Sparse(rows[keep], columns[keep], information[keep].astype(np.float32), sequences.items)
    left, sizes = _decompose(product, dim, seed)
    table = left * np.sqrt(sizes)
    norms = np.linalg.norm(table, axis=1)
    return (table / max(1e-9, float(norms[norms > 0].mean()))).astype(np.float32)


class _Sparse:
    """A sparse matrix that only multiplies: rows sorted, summed by segments."""

    def __init__(self, rows: NDArray[np.int64], columns: NDArray[np.int64], values: Array, size: int) -> None:
        self.columns, self.values, self.size = columns, values, size
        self.present, self.begin = np.unique(rows, return_index=True)

    def times(self, dense: Array) -> Array:
        out = np.zeros((self.size, dense.shape[1]), np.float32)
        for at in range(0, dense.shape[1], 8):
            part = np.ascontiguousarray(dense[:, at : at + 8])
            out[self.present, at : at + 8] = np.add.reduceat(
                part[self.columns] * self.values[:, None], self.begin, axis=0
            )
        return out


def _decompose(matrix: _Sparse, dim: int, seed: int) -> tuple[Array, Array]:
    """Leading directions and sizes of a nearly symmetric matrix."""
    wide = min(matrix.size, dim + 16)
    basis = np.random.default_rng([seed, 7]).standard_normal((matrix.size, wide)).astype(np.float32)
    for _ in range(5):
        basis, _ = np.linalg.qr(matrix.times(basis))
    inner = basis.T @ matrix.times(basis)
    sizes, turned = np.linalg.eigh((inner + inner.T) / 2.0)
    order = np.argsort(-np.abs(sizes))[:dim]
    left = np.zeros((matrix.size, dim), np.float32)
    left[:, : len(order)] = basis @ turned[:, order]
    kept = np.zeros(dim, np.float32)
    kept[: len(order)] = np.abs(sizes[order])
    return left, kept
