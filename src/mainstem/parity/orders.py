"""How alike two orders of items are: overlap of the first k, rank-biased overlap, Kendall's tau."""

from __future__ import annotations

import numpy as np

from mainstem.parity.trace import Floats, Ints

PERSISTENCE = 0.9
"""Chance that a reader of a slate goes on to the next place, in rank-biased overlap."""


def overlap_at(left: Ints, right: Ints, k: int) -> float:
    """Which share of the first k places holds items that both orders have there; two empty orders agree."""
    deepest = min(k, max(len(left), len(right)))
    if not deepest:
        return 1.0
    return len(np.intersect1d(left[:k], right[:k])) / deepest


def rank_biased_overlap(left: Ints, right: Ints, persistence: float = PERSISTENCE) -> float:
    """How alike two slates are to a reader who may stop at any place: 1 for equal, 0 for nothing in common.

    Beyond the longer slate the agreement is taken to stay as it was; a place that only one slate has is a disagreement.

    Source: Webber, Moffat and Zobel, A similarity measure for indefinite rankings, 2010 (RBO_ext).
    """
    deepest = max(len(left), len(right))
    if np.array_equal(left, right):
        return 1.0
    common, left_place, right_place = np.intersect1d(left, right, return_indices=True)
    met_at = np.maximum(left_place, right_place) if len(common) else np.empty(0, np.int64)
    depth = np.arange(1, deepest + 1)
    agreement = np.cumsum(np.bincount(met_at, minlength=deepest)[:deepest]) / depth
    weights = persistence**depth
    return float(agreement[-1] * weights[-1] + (1 - persistence) / persistence * (agreement * weights).sum())


def kendall_tau_at(left: Floats, right: Floats, k: int) -> float | None:
    """Whether two sets of values order the k items that are best on the left alike (tau-b): 1 alike, -1 reversed.

    None when a side cannot order them at all: fewer than two items, or all of one value.
    """
    top = np.argsort(-left, kind="stable")[:k]
    one, other = (np.sign(side[top][:, None] - side[top][None, :]) for side in (left, right))
    ordered = float((one**2).sum()) * float((other**2).sum())
    return float((one * other).sum()) / ordered**0.5 if ordered else None
