"""What an estimate of three quantiles means, and ten thousand joint draws that keep every quantile exactly."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri  # type: ignore[import-untyped]

from mainstem.base.errors import CapacityError

Scale = Literal["ratio", "linear", "share"]
SCALES = ("ratio", "linear", "share")


@dataclass(frozen=True, slots=True)
class Elicited:
    """Three quantiles that somebody stood for, and the scale on which the space between them is filled.

    Between and beyond the three points the quantile function is linear in the normal score on the scale named, with a
    slope of its own on each side of the middle. All three are therefore kept exactly, whatever the skew: a beta or a
    gamma whose mean is set to the middle estimate keeps none of them.

    Args:
        low: The value with ``tail`` below it.
        middle: The median, not the mean.
        high: The value with ``tail`` above it.
        tail: The share on either side, such as 0.1 for P10 and P90.
        scale: ``ratio`` for what is positive, ``share`` for what lies between 0 and 1, ``linear`` for anything.

    Raises:
        CapacityError: ``capacity-001`` for quantiles out of order, ``capacity-002`` for values off the scale.
    """

    low: float
    middle: float
    high: float
    tail: float = 0.1
    scale: Scale = "ratio"

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (self.low, self.middle, self.high)) or not (
            self.low <= self.middle <= self.high
        ):
            raise CapacityError(
                f"found quantiles {self.low}, {self.middle}, {self.high}, expected finite numbers that do not fall",
                code="capacity-001",
                hint="give the low, the middle and the high estimate in this order",
            )
        if not 0.0 < self.tail < 0.5 or self.scale not in SCALES:
            raise CapacityError(
                f"found tail {self.tail} on scale {self.scale!r}, expected a tail in (0, 0.5) and one of {SCALES}",
                code="capacity-002",
                hint="0.1 stands for P10 and P90",
            )
        if (self.scale == "ratio" and self.low <= 0.0) or (
            self.scale == "share" and not (self.low > 0.0 and self.high < 1.0)
        ):
            raise CapacityError(
                f"found {self.low} to {self.high} on scale {self.scale!r}, which has no room for them",
                code="capacity-002",
                hint="a ratio is positive, a share lies inside 0 and 1; take scale linear for anything else",
            )

    def at(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values at these normal scores: -1.2816 gives P10."""
        low, middle, high = (self._stretched(x) for x in (self.low, self.middle, self.high))
        edge = float(ndtri(1.0 - self.tail))
        slope = np.where(scores < 0.0, (middle - low) / edge, (high - middle) / edge)
        return self._back(middle + slope * scores)

    def _stretched(self, x: float) -> float:
        if self.scale == "ratio":
            return math.log(x)
        return math.log(x / (1.0 - x)) if self.scale == "share" else x

    def _back(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.scale == "ratio":
            return np.exp(y)
        return 1.0 / (1.0 + np.exp(-y)) if self.scale == "share" else y


def exactly(value: float) -> Elicited:
    """An estimate without any doubt."""
    return Elicited(value, value, value, scale="linear")


@lru_cache(maxsize=8)
def _scores(worlds: int) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = ndtri((np.arange(worlds) + 0.5) / worlds)
    scores.setflags(write=False)
    return scores


def normal_scores(name: str, worlds: int, seed: int) -> NDArray[np.float64]:
    """Normal scores of one named unknown, one a world, evenly spread: the same name and seed give the same scores.

    A plan with one more surface leaves every other unknown's draws as they were, so two plans differ by what differs
    between them and not by luck (common random numbers).
    """
    draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return _scores(worlds)[draw.permutation(worlds)]


def joint(
    unknowns: Mapping[str, Elicited],
    loadings: Mapping[str, Mapping[str, float]],
    worlds: int,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Draws of every unknown in every world, each margin exact, dependent through named common factors.

    Args:
        unknowns: Each unknown's estimate.
        loadings: For an unknown, how much it follows each common factor, such as ``{"market": 0.6}``; two unknowns that
            share a factor correlate by the product of their loadings (normal scores: a Gaussian copula).
        worlds: How many worlds.
        seed: Same seed, same bytes.

    Raises:
        CapacityError: ``capacity-003`` for a loading of an unknown name, or loadings whose squares exceed one.
    """
    strangers = sorted(set(loadings) - set(unknowns))
    if strangers:
        raise CapacityError(
            f"found loadings of {', '.join(strangers)}, which no estimate names",
            code="capacity-003",
            hint="name an unknown of the plan",
        )
    factors: dict[str, NDArray[np.float64]] = {}
    drawn: dict[str, NDArray[np.float64]] = {}
    for name, estimate in unknowns.items():
        if estimate.low == estimate.high:
            drawn[name] = np.full(worlds, estimate.middle)
            continue
        own = normal_scores(name, worlds, seed)
        follows = loadings.get(name, {})
        for factor in follows:
            if factor not in factors:
                factors[factor] = normal_scores(f"factor:{factor}", worlds, seed)
        drawn[name] = estimate.at(_mixed(name, own, [(factors[f], weight) for f, weight in follows.items()]))
    return drawn


def _mixed(
    name: str, own: NDArray[np.float64], follows: Sequence[tuple[NDArray[np.float64], float]]
) -> NDArray[np.float64]:
    """One unknown's scores with its part of the common factors, spread evenly again."""
    if not follows:
        return own
    rest = 1.0 - sum(weight * weight for _, weight in follows)
    if rest < 0.0:
        raise CapacityError(
            f"found loadings of {name} whose squares sum to {1.0 - rest:.3f}, expected at most 1",
            code="capacity-003",
            hint="an unknown cannot follow its factors by more than all of itself",
        )
    apart = own.copy()
    for factor, _ in follows:
        apart -= factor * (float(apart @ factor) / float(factor @ factor))
    mixed = math.sqrt(rest) * apart / max(float(apart.std()), 1e-12)
    for factor, weight in follows:
        mixed += weight * factor
    even = np.empty_like(mixed)
    even[np.argsort(mixed, kind="stable")] = _scores(own.size)
    return even
