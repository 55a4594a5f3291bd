"""Which items are taken by the same people, in whatever order; and several tables of followers made into the one that serves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from mainstem.retrieval.followers import Floats, Followers, strongest
from mainstem.retrieval.pair_sums import PairSums

SHRINK: Final = 20.0
"""So many events are added to what each item has, so that two rare items met once are not each other's likeness."""
_ROWS: Final = 512


def together(sums: PairSums, kept: int = 200, shrink: float = SHRINK) -> Followers:
    """The items most taken near each item, against how much both are taken: a cosine, shrunk where little is known.

    Args:
        sums: Who was met near whom; long half-lives count a whole history alike.
        kept: How many a row.
        shrink: See ``SHRINK``.

    Source: item-based neighbours (Sarwar et al., WWW 2001) with the shrinkage of Bell, Koren (ICDM 2007).
    """
    return strongest(_cosines(sums, shrink), kept)


def merged(tables: Sequence[tuple[Followers, float]], kept: int = 200) -> Followers:
    """One table out of several: their log-evidence, weighted and added, the strongest of each row.

    Read over a history with one half-life, it ranks as the tables would one by one, but for what falls off the rows.

    Args:
        tables: With the weight of each; all of the same items.
        kept: How many a row.
    """
    return strongest(_sums(tables), kept)


def _cosines(sums: PairSums, shrink: float) -> Iterator[tuple[int, Floats]]:
    unit = np.sqrt(sums.taken.astype(np.float32) + np.float32(shrink))
    for start in range(0, sums.items, _ROWS):
        rows = np.arange(start, min(start + _ROWS, sums.items))
        if sums.is_dense:
            block = sums.near[rows].copy()
        else:
            block = np.zeros((len(rows), sums.items), np.float32)
            first, last = sums.starts[start], sums.starts[rows[-1] + 1]
            row = np.repeat(rows - start, np.diff(sums.starts[start : rows[-1] + 2]))
            block[row, sums.columns[first:last]] = sums.near[first:last]
        block[rows - start, rows] = 0.0
        block /= unit[rows, None] * unit
        yield start, block


def _sums(tables: Sequence[tuple[Followers, float]]) -> Iterator[tuple[int, Floats]]:
    evidence = [(one.columns, np.float32(weight) * one.as_evidence()) for one, weight in tables if weight]
    items = tables[0][0].items
    for start in range(0, items, _ROWS):
        end = min(start + _ROWS, items)
        flat = np.zeros((end - start) * items, np.float64)
        offset = (np.arange(end - start) * items)[:, None]
        for columns, weights in evidence:
            flat += np.bincount((columns[start:end] + offset).ravel(), weights[start:end].ravel(), len(flat))
        yield start, flat.reshape(end - start, items).astype(np.float32)
