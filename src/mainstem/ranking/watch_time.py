"""The watch time as an ordinal outcome: passing each of some thresholds is predicted, and the seconds follow from that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_S: Final = 600.0
"""Longer watch times count as this: a screen left on says nothing of the item."""


@dataclass(frozen=True, slots=True)
class WatchLevels:
    """Thresholds in seconds, and how many seconds passing each of them stands for.

    The expected time is the sum over thresholds of P(watched longer) times the mean seconds watched between it and the next one by
    those who passed it, so that true probabilities give the true mean of the rows they were learned from.

    Shapes: ``at[k]``, ``width[k]``.

    Source: Frank and Hall, A simple approach to ordinal classification, ECML 2001.
    """

    at: NDArray[np.float32]
    width: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.at)

    @classmethod
    def fit(cls, watch_s: NDArray[np.floating], levels: int) -> WatchLevels:
        """Thresholds at equal shares of the known watch times above 0; none of none.

        Args:
            watch_s: Seconds, NaN where unknown.
            levels: How many; equal ones are merged, so that there may be fewer.
        """
        known = np.minimum(watch_s[np.isfinite(watch_s)].astype(np.float64), MOST_S)
        if not levels or not (known > 0).any():
            return cls(np.zeros(0, np.float32), np.zeros(0, np.float32))
        above = np.quantile(known[known > 0], np.arange(levels) / levels)
        at = np.unique(np.round(np.append(0.0, above[1:]), 3).astype(np.float32)).astype(np.float64)
        ends = np.append(at[1:], np.inf)
        width = [
            np.clip(known[known > low] - low, 0.0, high - low).mean() if (known > low).any() else 0.0
            for low, high in zip(at, ends, strict=True)
        ]
        return cls(at.astype(np.float32), np.array(width, np.float32))

    def passed(self, watch_s: NDArray[np.floating]) -> NDArray[np.float32]:
        """1 where a row was watched longer than a threshold, 0 where not, NaN where unknown. Shapes: ``[n]`` to ``[n, k]``."""
        seconds = watch_s.astype(np.float32)[:, None]
        return np.where(np.isfinite(seconds), seconds > self.at, np.float32(np.nan)).astype(np.float32)
