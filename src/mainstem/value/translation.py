"""One formula's order told in another's terms: weights fitted to pairs of candidates, a convex problem with one answer.

A legacy formula is translated by its *order*, not by its numbers: what counts is which of two candidates stands above. Each pair
of one request is a case of a logistic regression without intercept, on the difference of both candidates' terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mainstem.base.errors import EvidenceError
from mainstem.base.request import Floats

TOP: Final = 20
"""The order is fitted, and judged, over so many of the legacy formula's best."""
_BELOW: Final = 8
"""Each of them is also compared with so many drawn from all the rest."""
_STEPS, _ENOUGH, _RIDGE = 60, 1e-9, 1e-7
FLOOR: Final = 1e-6
"""Chances below this count as this where a formula takes logarithms."""


@dataclass(frozen=True, slots=True)
class Case:
    """One replayed request.

    Attributes:
        terms: What each candidate has of each term. Shapes: [n, k].
        legacy: The legacy formula's value of each. Shapes: [n].
    """

    terms: Floats
    legacy: Floats


def fit_order(cases: Sequence[Case], seed: int = 0) -> Floats:
    """The weights whose sum of terms orders candidates most nearly as the legacy formula did.

    Pairwise logistic regression by damped Newton steps; terms are scaled to one spread first, and a slight ridge keeps weights
    finite where the order can be had exactly.

    Args:
        cases: Replayed requests, with equal columns.
        seed: Of the drawn pairs.

    Returns:
        One weight a term. Shapes: [k].

    Raises:
        EvidenceError: No two candidates differ (``value-021``).

    Source: Herbrich, Graepel, Obermayer, Large margin rank boundaries for ordinal regression, 2000 (pairs); Boyd and
        Vandenberghe, Convex Optimization, 2004, §9.5 (damped Newton).
    """
    pairs = _pairs(cases, np.random.default_rng(seed))
    if not len(pairs):
        raise EvidenceError(
            f"in {len(cases)} replayed requests no two candidates differ in the legacy formula: there is no order",
            code="value-021",
            hint="mainstem train trains the legacy stacks too",
        )
    spread = np.sqrt((pairs**2).mean(axis=0))
    spread[spread == 0.0] = 1.0
    return _newton(pairs / spread) / spread


def _pairs(cases: Sequence[Case], rng: np.random.Generator) -> Floats:
    """The better candidate's terms less the other's, for every pair that is taught. Shapes: [pairs, k]."""
    found = []
    for case in cases:
        order = np.argsort(-case.legacy, kind="stable")
        first, rest = order[:TOP], order[TOP:]
        above, below = (first[side] for side in np.triu_indices(len(first), 1))
        if len(rest):
            drawn = rng.choice(rest, (len(first), _BELOW))
            above = np.concatenate([above, np.repeat(first, _BELOW)])
            below = np.concatenate([below, drawn.ravel()])
        differ = case.legacy[above] > case.legacy[below]
        found.append((case.terms[above] - case.terms[below])[differ])
    return np.concatenate(found) if found else np.empty((0, 0))


def _newton(pairs: Floats) -> Floats:
    """Minimises the mean of log(1 + exp(-pair · w)) + ridge |w|²/2, halving steps that do not help."""
    weights = np.zeros(pairs.shape[1])
    loss = _loss(pairs, weights)
    for _ in range(_STEPS):
        wrong = 1.0 / (1.0 + np.exp(np.minimum(pairs @ weights, 500.0)))
        slope = -(pairs * wrong[:, None]).mean(axis=0) + _RIDGE * weights
        curve = (pairs * (wrong * (1.0 - wrong))[:, None]).T @ pairs / len(pairs)
        curve[np.diag_indices_from(curve)] += _RIDGE
        step = np.linalg.lstsq(curve, slope, rcond=None)[0]
        size = 1.0
        while size > 1e-6:
            tried = weights - size * step
            found = _loss(pairs, tried)
            if found <= loss:
                break
            size /= 2
        else:
            break
        done = loss - found < _ENOUGH * max(loss, 1e-12)
        weights, loss = tried, found
        if done:
            break
    return weights


def _loss(pairs: Floats, weights: Floats) -> float:
    return float(np.logaddexp(0.0, -(pairs @ weights)).mean() + 0.5 * _RIDGE * weights @ weights)


def fit_value(cases: Sequence[Case], *, logs: bool) -> Floats:
    """The weights by which the sum of terms comes nearest to the legacy value itself, or to its logarithm, over its best.

    Where the family holds the legacy formula, these are its own weights, exactly.

    Shapes:
        -> [k].
    """
    left, right = [], []
    for case in cases:
        best = np.argsort(-case.legacy, kind="stable")[: 3 * TOP]
        value = np.log(np.maximum(case.legacy[best], np.finfo(np.float64).tiny)) if logs else case.legacy[best]
        left.append(case.terms[best] - case.terms[best].mean(axis=0))
        right.append(value - value.mean())
    terms = np.concatenate(left)
    spread = np.sqrt((terms**2).mean(axis=0))
    spread[spread == 0.0] = 1.0
    return np.linalg.lstsq(terms / spread, np.concatenate(right), rcond=None)[0] / spread


def logs_of(heads: Floats) -> Floats:
    """Logarithms of chances, as a log-additive formula reads them."""
    return np.log(np.maximum(heads, FLOOR))


def bends(heads: Floats, knots: Floats) -> Floats:
    """Each head as a broken line: itself, and what of it lies above each knot. No formula that adds up heads can do more.

    Args:
        heads: Shapes: [n, h].
        knots: Shapes: [k, h].
    """
    return np.concatenate([heads, *(np.maximum(heads - knot, 0.0) for knot in knots)], axis=1)
