"""How far a distribution moved from a reference: the population stability index, with what chance alone would give."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.parity.features.tables import Ints
from mainstem.parity.features.values import Floats

BINS: Final = 10
_SPECIAL: Final = 3
"""Bins that are no number: NaN, known to be empty, failed or absent."""
_PRIOR: Final = 0.5
"""Rows added to every bin of both sides, so that an empty bin does not make the index infinite."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins fitted on the reference. Shapes: ``edges [inner]`` ascending; a bin holds ``edges[i-1] <= value < edges[i]``."""

    edges: Floats

    @property
    def size(self) -> int:
        """How many bins there are, with those that are no number."""
        return len(self.edges) + 1 + _SPECIAL


@dataclass(frozen=True, slots=True)
class Stability:
    """The index of one set of rows against the reference.

    ``index`` as computed; ``chance`` what it is on average when nothing moved; ``limit`` what it exceeds with the declared
    probability when nothing moved; ``moved`` = index - chance, at least 0.
    """

    index: float
    chance: float
    limit: float
    rows: float

    @property
    def moved(self) -> float:
        """The index less what chance alone gives."""
        return max(0.0, self.index - self.chance)


def fitted(values: Floats) -> Bins:
    """Quantile bins of the reference's finite values; a value that is common gets a bin of its own."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Bins(np.empty(0))
    distinct, sizes = np.unique(known, return_counts=True)
    if len(distinct) <= BINS:
        return Bins(distinct[1:])
    edges = np.quantile(known, np.arange(1, BINS) / BINS, method="higher")
    common = np.flatnonzero(sizes * BINS > len(known))
    after = distinct[np.minimum(common + 1, len(distinct) - 1)]
    return Bins(np.setdiff1d(np.unique(np.concatenate([edges, distinct[common], after])), distinct[:1]))


def counts(bins: Bins, values: Floats, special: Ints) -> NDArray[np.int64]:
    """How many rows fall in each bin. ``special``: -1 a number, else 0 NaN, 1 known to be empty, 2 failed or absent."""
    place = np.searchsorted(bins.edges, values, side="right")
    return np.bincount(np.where(special >= 0, len(bins.edges) + 1 + special, place), minlength=bins.size)


def stability(
    reference: NDArray[np.int64], now: NDArray[np.int64], rate: float, weight: tuple[float, float] = (1.0, 1.0)
) -> Stability:
    """The population stability index, and how large it gets by chance.

    Without a move the index is about (1/n + 1/m) times a chi-square variable with one degree of freedom less than bins in
    use, so a day of 200 rows needs a larger index than a day of a million.

    Args:
        reference: Rows of the reference in each bin.
        now: Rows of the day in each bin.
        rate: The probability of exceeding ``limit`` when nothing moved.
        weight: How many independent observations a row of either side counts for (below 1 where rows hang together).

    Source:
        Yurdakul and Naranjo, "Statistical properties of the population stability index", 2020.
    """
    used = (reference + now) > 0
    one, other = reference[used] * weight[0], now[used] * weight[1]
    total = (float(one.sum()), float(other.sum()))
    if min(total) <= 0 or used.sum() < 2:
        return Stability(0.0, 0.0, 0.0, total[1])
    p, q = ((side + _PRIOR) / (side + _PRIOR).sum() for side in (one, other))
    index = float(((q - p) * np.log(q / p)).sum())
    scale = 1 / total[0] + 1 / total[1]
    freedom = int(used.sum()) - 1
    return Stability(index, scale * freedom, scale * chi_square_limit(freedom, rate), total[1])


def chi_square_limit(freedom: int, rate: float) -> float:
    """What a chi-square variable exceeds with this probability.

    Source:
        Wilson and Hilferty, "The distribution of chi-square", 1931. At rates of 1 % to 1e-5 it is at most 1 % too small and
        at most 12 % too large.
    """
    z = NormalDist().inv_cdf(1 - rate)
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + z * part**0.5) ** 3)
