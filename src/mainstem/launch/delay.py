"""How long must the old stack wait to be as slow as the new one? Each request is delayed by what its own rank lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from mainstem.launch.latency_split import finite_ms

QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
_POINTS: Final = 1_001
_TRACKED: Final = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
_STEP: Final = 0.01
"""How far an offset moves, as the rank it stands for: with .01 it forgets within some hundred answers."""
_LEAST_STEP_MS: Final = 0.01


@dataclass(frozen=True, slots=True)
class DelayCoupling:
    """Two latency distributions, joined rank by rank.

    A request that is slow for the old stack is made as slow as the new stack's at the same rank. A stack that is already
    slower there is left alone, since nothing can be served before it is ready.

    Attributes:
        old_ms, new_ms: Quantiles at the ranks.
        ranks: 0 to 1, ascending; requests that are equally slow share one.

    Shapes: all ``[points]``.
    Units: milliseconds.
    """

    old_ms: NDArray[np.float64]
    new_ms: NDArray[np.float64]
    ranks: NDArray[np.float64]

    @classmethod
    def of_samples(cls, old_ms: ArrayLike, new_ms: ArrayLike) -> DelayCoupling:
        """From measured latencies of both stacks; they need not be of the same requests.

        Raises:
            LaunchError: One is empty or holds what is no latency (``launch-014``).
        """
        ranks = np.linspace(0, 1, _POINTS)
        old = np.quantile(finite_ms("old", old_ms), ranks)
        new = np.quantile(finite_ms("new", new_ms), ranks)
        places, first = np.unique(old, return_inverse=True)
        # Where many requests of the old stack are equally slow, they share the mean of what the new stack does there.
        many = np.bincount(first)
        return cls(places, np.bincount(first, new) / many, np.bincount(first, ranks) / many)

    @property
    def too_slow(self) -> float:
        """Share of places on the curve at which the old stack is slower than the new one, so that no delay can match it."""
        return float((self.old_ms > self.new_ms).mean())

    def delay_ms(self, took_ms: ArrayLike) -> NDArray[np.float64]:
        """How long to hold an answer that was ready after ``took_ms``; beyond both ends the last difference is kept.

        Shapes: as given.
        """
        took = np.asarray(took_ms, np.float64)
        within = np.clip(took, self.old_ms[0], self.old_ms[-1])
        return np.maximum(0.0, np.interp(within, self.old_ms, self.new_ms) - within)


class LongRun:
    """What is added to each delay so that, in the long run, as many answers as should be are faster than each quantile.

    A rank's delay alone is not enough: a waiting answer is also held up by whatever holds the process up, and it was measured
    before. After each answer every quantile's offset moves by one step: up when the answer was faster than that quantile of the new
    stack, down when it was slower, in the odds that the new stack's answers have of late. While offsets stay bounded, both arms
    tend to the same share of answers below each quantile, whatever the noise is and however both drift.

    Source: the argument of adaptive conformal inference (Gibbs and Candès 2021), for both ends of a delay.
    """

    __slots__ = ("_least", "_most", "_share", "_step", "added_ms", "goal_ms")

    def __init__(self) -> None:
        self.added_ms = np.zeros(len(_TRACKED))
        self.goal_ms = self._step = self._least = self._most = self._share = self.added_ms

    def aim(self, coupling: DelayCoupling, newest_ms: ArrayLike) -> None:
        """Takes the quantiles to reach from what was measured lately; offsets go on from where they are.

        No offset makes a delay negative, nor longer than the quantile itself.

        Args:
            coupling: Of what was measured lately.
            newest_ms: The last of the new stack's latencies, some hundred.

        Shapes: newest_ms ``[n]``.
        """
        at, new = coupling.ranks, coupling.new_ms
        self.goal_ms = np.interp(_TRACKED, at, new)
        reach = np.minimum(_TRACKED, 1 - _TRACKED) / 2
        slope = (np.interp(_TRACKED + reach, at, new) - np.interp(_TRACKED - reach, at, new)) / (2 * reach)
        self._step = np.maximum(_STEP * slope, _LEAST_STEP_MS)
        self._least = -np.maximum(self.goal_ms - np.interp(_TRACKED, at, coupling.old_ms), 0.0)
        self._most = self.goal_ms
        self._place(self.added_ms)
        self._share = (np.asarray(newest_ms)[:, None] <= self.goal_ms).mean(0)

    def took(self, new_ms: float) -> None:
        """Takes in how long an answer of the new stack took."""
        self._share = self._share + _STEP * ((new_ms <= self.goal_ms) - self._share)

    def met(self, total_ms: float) -> None:
        """Takes in how long an answer of the slowed arm took in the end."""
        self._place(self.added_ms + self._step * ((total_ms <= self.goal_ms) - self._share))

    def _place(self, added_ms: NDArray[np.float64]) -> None:
        """Offsets within their bounds, and such that whoever was faster stays so: else a step moves what it should not.

        Where they cross, the mean of the least curve above and the greatest below takes their place.
        """
        at = self.goal_ms + np.clip(added_ms, self._least, self._most)
        rising = (np.maximum.accumulate(at) + np.minimum.accumulate(at[::-1])[::-1]) / 2
        self.added_ms = rising - self.goal_ms

    def delay_ms(self, coupling: DelayCoupling, took_ms: float) -> float:
        """How long to hold an answer that was ready after ``took_ms``: what its rank lacks, and what is added there."""
        rank = np.interp(took_ms, coupling.old_ms, coupling.ranks)
        return max(0.0, float(coupling.delay_ms(took_ms) + np.interp(rank, _TRACKED, self.added_ms)))


@dataclass(frozen=True, slots=True)
class QuantileMatch:
    """One quantile of the matched arm against the new one.

    Attributes:
        difference: Matched over new, less 1.
        low, high: Of the two one-sided tests: equal if both lie within the margin.
    """

    quantile: float
    matched_ms: float
    new_ms: float
    difference: float
    low: float
    high: float
    equal: bool


def check_match(
    matched_ms: ArrayLike,
    new_ms: ArrayLike,
    *,
    margin: float = 0.02,
    alpha: float = 0.05,
    matched_users: ArrayLike | None = None,
    new_users: ArrayLike | None = None,
) -> tuple[QuantileMatch, ...]:
    """Are the two arms equally slow? Equivalence of p50, p90, p95 and p99, each by two one-sided tests.

    Args:
        matched_ms: Latencies that users of the matched arm met.
        new_ms: Those of the new stack.
        margin: Accepted difference, as a share of the new stack's quantile.
        alpha: One-sided.
        matched_users, new_users: Whose request each was; given, requests of a user count as one cluster.

    Source: intervals of quantiles by Woodruff 1952.
    """
    a, b = finite_ms("matched", matched_ms), finite_ms("new", new_ms)
    z = float(ndtri(1 - alpha))
    found = []
    for q in QUANTILES:
        (x, sx), (y, sy) = _quantile(a, q, matched_users), _quantile(b, q, new_users)
        ratio = x / y if y else 1.0
        reach = z * float(np.hypot(sx, ratio * sy)) / y if y else float("inf")
        low, high = ratio - 1 - reach, ratio - 1 + reach
        found.append(QuantileMatch(q, x, y, ratio - 1, low, high, -margin < low and high < margin))
    return tuple(found)


def _quantile(values: NDArray[np.float64], q: float, users: ArrayLike | None) -> tuple[float, float]:
    """A quantile and its standard error, from the order statistics one standard error of its rank to either side."""
    at = float(np.quantile(values, q))
    below = (values <= at).astype(np.float64) - q
    if users is None:
        spread = float(np.sqrt(q * (1 - q) / len(values)))
    else:
        _, cluster = np.unique(np.asarray(users), return_inverse=True)
        spread = float(np.sqrt((np.bincount(cluster, below) ** 2).sum())) / len(values)
    low, high = np.quantile(values, [max(q - spread, 0.0), min(q + spread, 1.0)])
    return at, float(high - low) / 2
