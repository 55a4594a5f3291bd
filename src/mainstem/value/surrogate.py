"""A Gaussian process: what a costly function probably is where it was not tried yet, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from mainstem.base.request import Floats

_DRAWS, _ROUNDS = 24, 3
_SQRT5: Final = 5.0**0.5


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Matérn 5/2 with one length a dimension, fitted to tried points of the unit cube.

    Attributes:
        points: Shapes: [n, d].
        lengths: Shapes: [d].
        noise: Variance that the process does not explain, of scaled values.
        factor: Lower Cholesky factor of the covariance. Shapes: [n, n].
        pull: The covariance's inverse times the scaled values. Shapes: [n].
        centre: What the values were centred by, and ``spread`` what they were divided by.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1; Matérn 5/2 after Snoek,
        Larochelle and Adams, Practical Bayesian optimization, 2012.
    """

    points: Floats
    lengths: Floats
    noise: float
    factor: Floats
    pull: Floats
    centre: float
    spread: float

    def with_values(self, points: Floats, values: Floats) -> Surrogate:
        """The same lengths and noise over more points."""
        return _conditioned(points, values, self.lengths, self.noise)

    def at(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation there. Shapes: [m, d] to [m], [m]."""
        between = _covariance(points, self.points, self.lengths)
        mean = between @ self.pull
        solved = np.linalg.solve(self.factor, between.T)
        variance = np.maximum(1.0 - (solved**2).sum(axis=0), 1e-12)
        return self.centre + self.spread * mean, self.spread * np.sqrt(variance)


def surrogate(points: Floats, values: Floats, seed: int) -> Surrogate:
    """The process whose lengths and noise make the values most likely, found by a seeded search.

    Shapes:
        points [n, d] in the unit cube, values [n].
    """
    centre, spread = float(values.mean()), float(values.std()) or 1.0
    scaled = (values - centre) / spread
    rng = np.random.default_rng(seed)
    best = np.full(points.shape[1] + 1, np.log(0.5))
    best[-1] = np.log(1e-3)
    likeliest, wide = _likelihood(points, scaled, best), 1.2
    for _ in range(_ROUNDS):
        for tried in best + wide * rng.standard_normal((_DRAWS, len(best))):
            tried = np.clip(
                tried, [*[np.log(0.05)] * points.shape[1], np.log(1e-6)], [*[np.log(20.0)] * points.shape[1], 0.0]
            )
            found = _likelihood(points, scaled, tried)
            if found > likeliest:
                best, likeliest = tried, found
        wide /= 2
    return _conditioned(points, values, np.exp(best[:-1]), float(np.exp(best[-1])))


def _conditioned(points: Floats, values: Floats, lengths: Floats, noise: float) -> Surrogate:
    centre, spread = float(values.mean()), float(values.std()) or 1.0
    scaled = (values - centre) / spread
    factor = _factor(points, lengths, noise)
    pull = np.linalg.solve(factor.T, np.linalg.solve(factor, scaled))
    return Surrogate(points, lengths, noise, factor, pull, centre, spread)


def _likelihood(points: Floats, scaled: Floats, logs: Floats) -> float:
    """The log of how likely the values are, with a weak prior towards lengths of about a half."""
    factor = _factor(points, np.exp(logs[:-1]), float(np.exp(logs[-1])))
    solved = np.linalg.solve(factor, scaled)
    prior = 0.5 * (((logs[:-1] - np.log(0.5)) / 1.5) ** 2).sum()
    return float(-0.5 * solved @ solved - np.log(np.diag(factor)).sum() - prior)


def _factor(points: Floats, lengths: Floats, noise: float) -> Floats:
    covariance = _covariance(points, points, lengths)
    covariance[np.diag_indices_from(covariance)] += noise + 1e-8
    return np.linalg.cholesky(covariance)


def _covariance(a: Floats, b: Floats, lengths: Floats) -> Floats:
    left, right = a / lengths, b / lengths
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2.0 * left @ right.T
    far = _SQRT5 * np.sqrt(np.maximum(squares, 0.0))
    return (1.0 + far + far**2 / 3.0) * np.exp(-far)
