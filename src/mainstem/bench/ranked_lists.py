"""Where a target stands in the list that somebody else's package answered: peers are judged by our evaluator, too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import BenchError


def ranks_in_lists(
    lists: NDArray[np.integer[Any]], scores: NDArray[np.floating[Any]], targets: NDArray[np.integer[Any]], items: int
) -> NDArray[np.float64]:
    """The place of each target in its list, ties sharing theirs; a target that is not listed stands last of all.

    Every metric down to the lists' length is exact; what looks further, such as the mean reciprocal rank, is told low.

    Shapes: ``lists[n, k]`` item rows, best first, -1 behind the end; ``scores[n, k]``; ``targets[n]``.

    Raises:
        BenchError: Lists of another shape, with unknown items or with one twice (``bench-016``).
    """
    _check(lists, scores, targets, items)
    hit = lists == targets[:, None]
    found = hit.any(axis=1)
    wanted = np.where(found, np.where(hit, scores, 0.0).sum(axis=1), 0.0)[:, None]
    there = lists >= 0
    above = (there & (scores > wanted)).sum(axis=1)
    level = (there & (scores == wanted)).sum(axis=1)
    return np.where(found, 1.0 + above + (level - 1) / 2.0, float(items))


def _check(
    lists: NDArray[np.integer[Any]], scores: NDArray[np.floating[Any]], targets: NDArray[np.integer[Any]], items: int
) -> None:
    if lists.shape != scores.shape or len(lists) != len(targets):
        found = f"lists {lists.shape}, scores {scores.shape} for {len(targets)} users"
    elif lists.size and (lists.max() >= items or lists.min() < -1):
        found = f"item rows from {lists.min()} to {lists.max()} of {items} items"
    elif _repeats(lists):
        found = "a list that names one item twice"
    elif np.isnan(scores).any():
        found = "scores that are not numbers"
    else:
        return
    raise BenchError(
        f"found {found}, expected one list of known items a judged user",
        code="bench-016",
        hint="the peer's script under benchmarks/peers writes them",
    )


def _repeats(lists: NDArray[np.integer[Any]]) -> bool:
    ordered = np.sort(lists, axis=1)
    return bool(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any())
