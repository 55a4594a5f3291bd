"""How much one more item adds to a slate beside those already there: what the pass needs to weigh it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Rows
from mainstem.control.slate_task import (
    DETERMINANTAL,
    DISCOUNT,
    NO_VARIETY,
    SLIDING_SPECTRUM,
    Codes,
    Doubles,
)

MODES: Final = {"discount": DISCOUNT, "determinantal": DETERMINANTAL, "sliding_spectrum": SLIDING_SPECTRUM}
"""How settings call the kinds of variety."""

WINDOW: Final = {DISCOUNT: 6, DETERMINANTAL: 4, SLIDING_SPECTRUM: 4}
"""Variety chooses among this many candidates a place; those below follow by value, when the window is used up."""

SUNK: Final = -1e300
"""Stands in for a score that is not a number."""

_STEEPEST: Final = 700.0
_NO_CODES: Final = np.empty(0, np.int32)
_NO_GRAM: Final = np.empty((0, 0), np.float32)
_NO_GAIN: Final = np.empty(0)


@dataclass(frozen=True, slots=True)
class Variety:
    """What variety starts with. Shapes: ``gain[w]``, ``kept[count + 1]``, ``category[w]`` or empty, ``gram[w, w]`` or empty."""

    mode: int
    trade_off: float
    gain: Doubles
    kept: Doubles
    category: Codes
    gram: NDArray[np.float32]


NONE: Final = Variety(NO_VARIETY, 1.0, _NO_GAIN, _NO_GAIN, _NO_CODES, _NO_GRAM)
"""No variety: the highest value first."""


def variety(
    mode: int, trade_off: float, score: Doubles, rows: Rows, count: int, categories: Codes, vectors: NDArray[np.float32]
) -> Variety:
    """What the pass needs for one kind of variety.

    - *discount*: the k-th of a category keeps ``trade_off ** k`` of its height above the window's lowest. (Values may be
      negative, so it is the height that shrinks.)
    - *determinantal*: the most likely subset under a determinantal point process, greedily: maximises
      ``trade_off * relevance + (1 - trade_off) * log(volume)``; the weight of an item is the exponential of that.
    - *sliding_spectrum*: ``trade_off * relevance + (1 - trade_off) * volume`` of the last places with it.

    Relevance is the height above the window's lowest, 1 for the highest. Likeness is the cosine of the items' content vectors;
    an item without one is like no other.

    Args:
        score: What candidates are ordered by, falling. Shapes: [m].
        rows: Their catalog rows. Shapes: [m].
        categories: By catalog row.
        vectors: Unit vectors by catalog row; zero where nothing is known.

    Source: Chen, Zhang, Zhou, "Fast greedy MAP inference for determinantal point process" (NeurIPS 2018); Huang and others,
    "Sliding spectrum decomposition for diversified recommendation" (KDD 2021).
    """
    window = min(int((score > SUNK).sum()), count * WINDOW.get(mode, 0))  # what sank is not lifted by being different
    if mode == NO_VARIETY or trade_off >= 1 or window < 2:
        return NONE
    height = score[:window] - score[window - 1]
    if mode == DISCOUNT:
        kept = np.power(trade_off, np.arange(count + 1, dtype=np.float64))
        return Variety(mode, trade_off, height, kept, categories[rows[:window]], _NO_GRAM)
    relevance = height / height[0] if height[0] > 0 else height
    if mode == DETERMINANTAL:
        steep = min(trade_off / (1.0 - trade_off), _STEEPEST)
        relevance = np.exp(steep * (relevance - 1.0))
    return Variety(mode, trade_off, relevance, _NO_GAIN, _NO_CODES, _likeness(vectors[rows[:window]]))


def _likeness(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    gram = vectors @ vectors.T
    np.fill_diagonal(gram, 1.0)
    return gram
