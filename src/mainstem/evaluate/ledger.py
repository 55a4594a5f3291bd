"""Many numbers, one bootstrap: metrics are noted first and resampled together, so that every difference is paired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mainstem.evaluate.intervals import Resampled, holm, resample
from mainstem.evaluate.measure import Measured, Metric
from mainstem.evaluate.metrics import Ratio

Weights = dict[int, float]
"""A noted number: the places of its ratios and their weights; empty when it cannot be measured."""


@dataclass(slots=True)
class Ledger:
    """The list of everything to resample."""

    ratios: list[Ratio] = field(default_factory=list)

    def note(self, metric: Metric, *signed: tuple[Measured | None, float]) -> Weights:
        """Puts a metric, or a sum of a metric over orders (1 and -1: a difference), on the list."""
        if any(measured is None or not measured.terms(metric) for measured, _ in signed):
            return {}
        noted: Weights = {}
        for measured, sign in signed:
            for ratio, weight in measured.terms(metric) if measured else ():
                noted[len(self.ratios)] = weight * sign
                self.ratios.append(ratio)
        return noted

    def resample(self, user_ids: NDArray[np.int64], *, seed: int, resamples: int) -> Resampled:
        """Everything that was noted, resampled over the same users."""
        return resample(self.ratios, user_ids, seed=seed, resamples=resamples)

    def dense(self, noted: Weights) -> NDArray[np.float64]:
        """The weights as ``Resampled`` takes them: one for every ratio."""
        weights = np.zeros(len(self.ratios))
        weights[list(noted)] = list(noted.values())
        return weights


def adjust(families: Sequence[str], p_values: Sequence[float | None], correct: Sequence[bool]) -> list[float | None]:
    """Holm's correction within each family, over the p-values that are known and count."""
    adjusted: list[float | None] = [None] * len(p_values)
    for family in dict.fromkeys(families):
        own = {i: p for i, p in enumerate(p_values) if families[i] == family and p is not None and correct[i]}
        for i, p in zip(own, holm(list(own.values())), strict=True):
            adjusted[i] = float(p)
    return adjusted
