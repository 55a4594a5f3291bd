"""Which increasing map makes one head's log odds come true: identity, Platt, beta or isotonic, by cross-validated log loss.

A choice between more and less freedom is by the one-standard-error rule: the least free candidate that the held-out rows cannot
tell from the best. One day of validation rows holds 20 likes of a small surface; taking the best by a hair learns their luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mainstem.ranking.isotonic import isotonic_odds, strictly_increasing

Doubles = NDArray[np.float64]

GRID: Final = np.linspace(-12.0, 12.0, 97)
"""Log odds at which every map is tabulated; between them it is linear."""

KINDS: Final = ("identity", "platt", "beta", "isotonic")
"""The simplest first: it is taken when nothing beats it."""

FOLDS: Final = 5
LEAST: Final = 10
"""Fewer positives (or negatives) than this leave the map as it is."""

SLOPE: Final = 0.05
"""The least rise of a map, in log odds a unit of log odds: what keeps every order."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The map that was chosen for some rows.

    Attributes:
        table: Its log odds on ``GRID``.
        held_out: What maps of the same kind, learned without the row's fold, say of each row.
        losses: The cross-validated log loss of every kind that could be tried.

    Shapes: ``table[97]``, ``held_out[n]``.
    """

    kind: str
    table: Doubles
    held_out: Doubles
    losses: dict[str, float]


def folds(rows: int, seed: int) -> NDArray[np.int64]:
    """Which of the five folds each row is held out in."""
    return np.random.default_rng(seed).permutation(rows) % FOLDS


def choose_map(odds: Doubles, labels: Doubles, fold: NDArray[np.int64], kinds: Sequence[str] = KINDS) -> Chosen:
    """The simplest map that cross-validated log loss cannot tell from the best.

    Args:
        odds: Log odds as predicted.
        labels: 0 or 1.
        fold: In which fold each row is held out.
        kinds: The maps to try, the identity among them.
    """
    kept = np.clip(odds, GRID[0], GRID[-1])
    if min(labels.sum(), (1.0 - labels).sum()) < LEAST:
        return Chosen("identity", GRID, kept, {})
    held = {"identity": kept}
    for kind in kinds:
        if kind != "identity":
            held[kind] = np.empty(len(odds))
            for k in range(FOLDS):
                out = fold == k
                held[kind][out] = on_table(map_table(kind, odds[~out], labels[~out]), odds[out])
    losses = {kind: log_loss_of(there, labels) for kind, there in held.items()}
    best = simplest(held, labels)
    table = GRID if best == "identity" else map_table(best, odds, labels)
    return Chosen(best, table, held[best], losses)


Candidate = TypeVar("Candidate")


def simplest(held: Mapping[Candidate, Doubles], labels: Doubles) -> Candidate:
    """The first candidate whose held-out loss is within one standard error of the best one's.

    Args:
        held: Held-out log odds of each candidate, the least free one first.
        labels: 0 or 1.

    Source: the one-standard-error rule of Breiman et al., Classification and Regression Trees, 1984, on paired differences.
    """
    losses = {name: np.logaddexp(0.0, odds) - labels * odds for name, odds in held.items()}
    best = min(losses, key=lambda name: float(losses[name].sum()))
    for name, loss in losses.items():
        worse = loss - losses[best]
        if not len(worse) or worse.mean() <= worse.std() / np.sqrt(len(worse)):
            return name
    return best


def map_table(kind: str, odds: Doubles, labels: Doubles) -> Doubles:
    """One kind of map learned from some rows, on ``GRID``. Shapes: [97]."""
    if kind == "identity" or min(labels.sum(), (1.0 - labels).sum()) < 1:
        return GRID
    if kind == "isotonic":
        return strictly_increasing(isotonic_odds(odds, labels, GRID), GRID, SLOPE)
    weights = _fit(_inputs(kind, odds), labels)
    return np.asarray(_inputs(kind, GRID) @ weights[1:] + weights[0], np.float64)


def on_table(table: Doubles, odds: Doubles) -> Doubles:
    """What a tabulated map says of log odds. Shapes: ``table[97]``, ``odds[n]`` to ``[n]``."""
    return np.interp(odds, GRID, table)


def log_loss_of(odds: Doubles, labels: Doubles) -> float:
    """Mean negative log likelihood of labels under log odds, in nats."""
    return float(np.mean(np.logaddexp(0.0, odds) - labels * odds))


def shift(odds: Doubles, labels: Doubles, strength: float) -> float:
    """What has to be added to log odds for their mean to come true, pulled toward 0.

    Args:
        odds: Log odds as predicted.
        labels: 0 or 1.
        strength: The pull, in units of information (the sum of p(1 - p) over rows); infinite leaves all as it is.
    """
    moved = 0.0
    if not np.isfinite(strength) or not len(odds):
        return moved
    for _ in range(25):
        p = 1.0 / (1.0 + np.exp(-(odds + moved)))
        step = (labels.sum() - p.sum() - strength * moved) / ((p * (1.0 - p)).sum() + strength)
        moved += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-9:
            break
    return moved


def _inputs(kind: str, odds: Doubles) -> Doubles:
    """What the logistic regression of a map reads: the log odds, or ln p and -ln(1 - p)."""
    if kind == "beta":
        return np.stack([-np.logaddexp(0.0, -odds), np.logaddexp(0.0, odds)], axis=1)
    return odds[:, None]


def _fit(inputs: Doubles, labels: Doubles) -> Doubles:
    """Logistic regression on a map's inputs, pulled toward the identity; slopes stay positive.

    Source: Platt (1999); beta calibration (Kull, Silva Filho, Flach, AISTATS 2017).
    """
    x = np.concatenate([np.ones((len(inputs), 1)), inputs], axis=1)
    prior = np.array([0.0] + [1.0] * inputs.shape[1])
    strength = np.array([0.1] + [5.0] * inputs.shape[1])
    weights: Doubles = prior.copy()
    for _ in range(25):
        q = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30.0, 30.0)))
        gradient = x.T @ (q - labels) + strength * (weights - prior)
        hessian = (x * (q * (1.0 - q))[:, None]).T @ x + np.diag(strength)
        before, weights = weights, np.asarray(weights - np.clip(np.linalg.solve(hessian, gradient), -2.0, 2.0))
        weights[1:] = np.maximum(weights[1:], SLOPE)
        if np.abs(weights - before).max() < 1e-7:
            break
    return weights
