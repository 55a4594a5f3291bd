"""What would each action have earned: a small regression of rewards, always asked about rows it did not learn."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.seeds import uniforms
from mainstem.evaluate.bandit_log import BanditLog
from mainstem.evaluate.within_user import Floats, Ints

FOLDS: Final = 5
PENALTIES: Final = (10.0, 100.0, 1_000.0)
"""How many imagined rows hold an action's own slopes near those of all actions; chosen out of fold."""
_PRIOR_ROWS: Final = 10.0
_NEWTON_STEPS: Final = 12
_CLOSE: Final = 1e-6


def folds_of(clusters: Ints, seed: int, folds: int = FOLDS) -> NDArray[np.int64]:
    """Which fold each row is in: whole clusters together, fixed by seed and cluster alone."""
    return (uniforms(seed, np.asarray(clusters, np.int64)) * folds).astype(np.int64)


def cross_fitted(log: BanditLog, seed: int = 0, folds: int = FOLDS) -> NDArray[np.float64]:
    """The expected reward of every action in every row, from a model that learned without that row's cluster.

    The reward, as a share of its range, has log odds linear in the context: slopes shared by all actions, plus each action's
    own, drawn towards 0; how strongly is chosen by the squared error out of fold.

    Source: fractional logit, Papke and Wooldridge 1996; cross-fitting, Chernozhukov et al. 2018.

    Shapes: ``[n, actions]``.
    """
    fold = folds_of(log.clusters, seed, folds)
    wanted = PENALTIES if log.contexts.shape[1] else PENALTIES[:1]
    best, least = np.zeros((0, 0)), np.inf
    for penalty in wanted:
        predicted = np.empty((len(log.actions), log.count))
        for one in range(folds):
            held = fold == one
            if held.any():
                predicted[held] = _fit_and_predict(log, ~held, held, penalty)
        error = float(((predicted[np.arange(len(log.actions)), log.actions] - log.rewards) ** 2).mean())
        if error < least:
            best, least = predicted, error
    return best


def _fit_and_predict(
    log: BanditLog, learn: NDArray[np.bool_], ask: NDArray[np.bool_], penalty: float
) -> NDArray[np.float64]:
    """One fold: level and slopes of all actions first, then each action's own on top of them."""
    if not learn.any():
        return np.zeros((int(ask.sum()), log.count))
    x, action, reward = log.contexts[learn], log.actions[learn], log.rewards[learn]
    low, wide = float(reward.min()), float(np.ptp(reward)) or 1.0
    x, asked = _standard(x, log.contexts[ask])
    share = (reward - low) / wide
    shared = _logit(x, share, np.zeros(len(share)), _PRIOR_ROWS, 1.0)
    before, told = x @ shared, asked @ shared
    predicted = np.repeat(told[:, None], log.count, axis=1)
    for one in np.unique(action):
        mine = action == one
        predicted[:, one] += asked @ _logit(x[mine], share[mine], before[mine], penalty, _PRIOR_ROWS)
    return low + wide / (1 + np.exp(-predicted))


def _standard(x: Floats, asked: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both with a column of ones in front, columns that vary on one scale, the others left out."""
    centre, spread = x.mean(axis=0), x.std(axis=0)
    kept = spread > 1e-12
    made = ((part[:, kept] - centre[kept]) / spread[kept] for part in (x, asked))
    first, second = (np.column_stack([np.ones(len(part)), part]) for part in made)
    return first, second


def _logit(x: Floats, share: Floats, offset: Floats, slopes: float, level: float) -> NDArray[np.float64]:
    """Coefficients of a logistic regression of shares, on top of an offset, by Newton steps.

    Args:
        slopes: Imagined rows (at a chance of one half) that hold each slope near 0.
        level: The same for the level, the first column.
    """
    penalty = np.full(x.shape[1], 0.25 * slopes)
    penalty[0] = 0.25 * level
    found = np.zeros(x.shape[1])
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(offset + x @ found, -30, 30)))
        gradient = x.T @ (share - p) - penalty * found
        curve = (x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(curve, gradient)
        found = found + step
        if np.abs(step).max() < _CLOSE:
            break
    return found
