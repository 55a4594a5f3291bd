"""Learning from what people chose as if it had been drawn: rows weighted by one over their chance of being there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.seeds import uniforms
from mainstem.evaluate.intervals import Interval, paired_difference
from mainstem.evaluate.metrics import mean_by_user
from mainstem.evaluate.within_user import Floats, Ints

PENALTIES: Final = (1.0, 3.0, 10.0, 30.0, 100.0)
FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Ratings:
    """Ratings of items by users.

    Shapes: all ``[n]``; users and items are dense numbers.
    """

    users: Ints
    items: Ints
    values: Floats


@dataclass(frozen=True, slots=True)
class Reweighted:
    """What weighting the training rows changed, judged on ratings that were drawn at random.

    Attributes:
        plain: Mean squared error of the model of unweighted rows.
        weighted: Of weighted ones.
        difference: Weighted less plain, paired over users; None when too few users tell.
        effective_share: What is left of the training rows: the price of weighting them.
    """

    plain: float
    weighted: float
    difference: Interval | None
    effective_share: float


def judge_weights(chosen: Ratings, propensity: Floats, drawn: Ratings, seed: int = 0) -> Reweighted:
    """Whether one over the propensity as a weight of training rows takes the exposure bias out of a model of ratings.

    The model is a level, a user's and an item's lean, drawn towards 0; how strongly is chosen on the chosen ratings alone,
    by the error that the same weights see out of fold.

    Args:
        chosen: What the model learns from.
        propensity: The chance that each was chosen. Shapes: [n of chosen].
        drawn: What it is judged on.
        seed: Of the folds and the interval.

    Source: Schnabel et al., Recommendations as treatments, ICML 2016, with leans in place of factors.
    """
    users = int(max(np.max(chosen.users), np.max(drawn.users))) + 1
    items = int(max(np.max(chosen.items), np.max(drawn.items))) + 1
    inverse = 1 / np.asarray(propensity, np.float64)
    low, high = float(np.min(chosen.values)), float(np.max(chosen.values))
    errors = []
    for weights in (np.ones(len(inverse)), inverse / inverse.mean()):
        leans = _fit_chosen(chosen, weights, users, items, seed)
        told = np.clip(_predict(leans, drawn, users), low, high)
        errors.append((told - np.asarray(drawn.values, np.float64)) ** 2)
    ids, dense = np.unique(drawn.users, return_inverse=True)
    plain, weighted = (mean_by_user(one, dense, len(ids)) for one in errors)
    difference = paired_difference(weighted, plain, ids.astype(np.int64), seed=seed)
    effective = float(inverse.sum() ** 2 / (inverse**2).sum() / len(inverse))
    return Reweighted(float(errors[0].mean()), float(errors[1].mean()), difference, effective)


def _fit_chosen(rows: Ratings, weights: NDArray[np.float64], users: int, items: int, seed: int) -> NDArray[np.float64]:
    fold = (uniforms(seed, np.arange(len(weights))) * FOLDS).astype(np.int64)
    values = np.asarray(rows.values, np.float64)

    def error(penalty: float) -> float:
        total = 0.0
        for one in range(FOLDS):
            learn, ask = fold != one, fold == one
            leans = _fit(_part(rows, learn), weights[learn], users, items, penalty)
            total += float((weights[ask] * (_predict(leans, _part(rows, ask), users) - values[ask]) ** 2).sum())
        return total

    return _fit(rows, weights, users, items, min(PENALTIES, key=error))


def _part(rows: Ratings, keep: NDArray[np.bool_]) -> Ratings:
    return Ratings(rows.users[keep], rows.items[keep], rows.values[keep])


def _fit(rows: Ratings, weights: NDArray[np.float64], users: int, items: int, penalty: float) -> NDArray[np.float64]:
    """Level, then a lean for each user, then for each item."""
    at = np.arange(len(weights))
    x = np.zeros((len(weights), 1 + users + items))
    x[:, 0], x[at, 1 + rows.users], x[at, 1 + users + rows.items] = 1.0, 1.0, 1.0
    held = np.full(x.shape[1], penalty)
    held[0] = 1e-6
    heavy = (x * weights[:, None]).T
    leans = np.linalg.solve(heavy @ x + np.diag(held), heavy @ np.asarray(rows.values, np.float64))
    return np.asarray(leans, np.float64)


def _predict(leans: NDArray[np.float64], rows: Ratings, users: int) -> NDArray[np.float64]:
    return np.asarray(leans[0] + leans[1 + rows.users] + leans[1 + users + rows.items], np.float64)
