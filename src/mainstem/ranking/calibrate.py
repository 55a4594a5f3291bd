"""Makes predicted probabilities mean what they say, per head and surface, without ever changing an order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS

FOLDS = 5
SHRINK = 200.0
"""How many rows of a surface weigh as much as the head's own calibrator."""

GRID = np.linspace(-12.0, 12.0, 97)
"""Log odds at which every calibrator is tabulated; between them it is linear."""

_LAST = np.float32(GRID[-1] - 0.001 * (GRID[1] - GRID[0]))
"""The last log odds that are told apart: just below the grid's end."""


@dataclass(frozen=True, slots=True)
class Calibrators:
    """One increasing map of log odds a head and surface, tabulated on ``GRID``.

    Shapes:
        ``tables`` is ``[surfaces + 1, 7, 97]``; the last one is for an unknown surface.
    """

    tables: NDArray[np.float32]
    chosen: tuple[tuple[str, ...], ...]

    def apply(self, predictions: NDArray[np.float32], surface: int) -> NDArray[np.float32]:
        """Calibrated predictions of one request's candidates. Shapes: [n, 8] to [n, 8]."""
        table = self.tables[surface if 0 <= surface < len(self.tables) - 1 else -1]
        return _apply(predictions, table[None], np.zeros(len(predictions), np.int64))

    def apply_many(self, predictions: NDArray[np.float32], surface: NDArray[np.int8]) -> NDArray[np.float32]:
        """The same for rows of different surfaces."""
        last = len(self.tables) - 1
        where = np.where((surface >= 0) & (surface < last), surface, last).astype(np.int64)
        return _apply(predictions, self.tables, where)

    def as_dict(self) -> dict[str, Any]:
        """What is stored in the model folder."""
        return {
            "tables": np.round(self.tables.astype(np.float64), 6).tolist(),
            "chosen": [list(one) for one in self.chosen],
        }

    @classmethod
    def from_dict(cls, held: dict[str, Any]) -> Calibrators:
        """What ``as_dict`` gave; nothing given changes nothing."""
        if not held:
            return cls(np.tile(GRID.astype(np.float32), (1, len(HEADS), 1)), (("identity",) * len(HEADS),))
        return cls(np.array(held["tables"], np.float32), tuple(tuple(one) for one in held["chosen"]))


class RequestCalibrators:
    """The same maps prepared for requests: from the network's log odds in one pass, without going through probabilities first.

    Args:
        calibrators: What was fitted.
    """

    def __init__(self, calibrators: Calibrators) -> None:
        grid = GRID.astype(np.float32)
        surfaces = len(calibrators.tables)
        tables = np.concatenate([calibrators.tables, np.broadcast_to(grid, (surfaces, 1, len(grid)))], axis=1)
        self._moves = (tables != grid).any(axis=(1, 2)).tolist()
        self._starts = tables.reshape(surfaces, -1)
        self._steps = np.diff(tables, axis=2, append=0.0).astype(np.float32).reshape(surfaces, -1)
        self._row = np.arange(tables.shape[1], dtype=np.int32) * len(grid)

    def of_logits(self, logits: NDArray[np.float32], surface: int) -> NDArray[np.float32]:
        """Calibrated predictions of one request's candidates.

        Args:
            logits: ``Network.logits``: log odds of seven heads, then log(1 + seconds).
            surface: Where they would be shown; any other number is an unknown surface.

        Shapes: [n, 8] to [n, 8].
        """
        at = surface if 0 <= surface < len(self._moves) - 1 else -1
        out: NDArray[np.float32] = np.clip(logits, np.float32(GRID[0]), _LAST)
        if self._moves[at]:
            out = self._moved(out, at)
        np.negative(out, out=out)
        np.exp(out, out=out)
        out += np.float32(1.0)
        np.reciprocal(out, out=out)
        out[:, -1] = np.expm1(np.clip(logits[:, -1], 0.0, 10.0))
        return out

    def _moved(self, odds: NDArray[np.float32], at: int) -> NDArray[np.float32]:
        """The tables at these log odds, linear between their places."""
        odds -= np.float32(GRID[0])
        odds *= np.float32(1.0 / (GRID[1] - GRID[0]))
        low = odds.astype(np.int32)
        odds -= low
        low += self._row
        odds *= self._steps[at].take(low)
        odds += self._starts[at].take(low)
        return odds


def _apply(predictions: NDArray, tables: NDArray, where: NDArray[np.int64]) -> NDArray[np.float32]:
    out = predictions.astype(np.float32, copy=True)
    p = np.clip(predictions[:, : len(HEADS)].astype(np.float64), 1e-9, 1.0 - 1e-7)
    step = GRID[1] - GRID[0]
    at = np.clip((np.log(p / (1.0 - p)) - GRID[0]) / step, 0.0, len(GRID) - 1.001)
    low = at.astype(np.int64)
    share = at - low
    head = np.arange(len(HEADS))
    row = where[:, None]
    odds = tables[row, head, low] * (1.0 - share) + tables[row, head, low + 1] * share
    out[:, : len(HEADS)] = 1.0 / (1.0 + np.exp(-odds))
    return out


def fit_calibrators(
    predictions: NDArray[np.float32], outcomes: NDArray[np.int8], surface: NDArray[np.int8], seed: int = 0
) -> dict[str, Any]:
    """Calibrators from the validation day, as stored.

    Per head the map with the best cross-validated log loss of identity, Platt and beta is taken; a surface gets its own,
    averaged with the head's by how many rows it has.
    """
    surfaces = int(surface.max()) + 1 if len(surface) else 0
    tables = np.tile(GRID, (surfaces + 1, len(HEADS), 1))
    chosen = [["identity"] * len(HEADS) for _ in range(surfaces + 1)]
    for head in range(len(HEADS)):
        known = outcomes[:, head] >= 0
        p, y = predictions[known, head].astype(np.float64), outcomes[known, head].astype(np.float64)
        chosen[-1][head], tables[-1, head] = _best(p, y, seed)
        for place in range(surfaces):
            here = surface[known] == place
            chosen[place][head], own = _best(p[here], y[here], seed)
            weight = y[here].sum() / (y[here].sum() + SHRINK / 4.0) if here.any() else 0.0
            tables[place, head] = weight * own + (1.0 - weight) * tables[-1, head]
    return Calibrators(tables.astype(np.float32), tuple(tuple(one) for one in chosen)).as_dict()


def _best(p: NDArray, y: NDArray, seed: int) -> tuple[str, NDArray[np.float64]]:
    """The map with the lowest cross-validated log loss, as log odds on ``GRID``."""
    if y.sum() < 10 or (1.0 - y).sum() < 10:
        return "identity", GRID
    fold = np.random.default_rng(seed).permutation(len(y)) % FOLDS
    losses = {"identity": _log_loss(_inputs("identity", p)[:, 0], y)}
    for kind in ("platt", "beta"):
        odds = np.empty(len(y))
        for k in range(FOLDS):
            weights = _fit(kind, p[fold != k], y[fold != k])
            odds[fold == k] = _odds(kind, p[fold == k], weights)
        losses[kind] = _log_loss(odds, y)
    kind = min(losses, key=lambda name: losses[name])
    if kind == "identity":
        return kind, GRID
    table = _odds(kind, 1.0 / (1.0 + np.exp(-GRID)), _fit(kind, p, y))
    return kind, np.maximum.accumulate(table + 1e-6 * np.arange(len(GRID)))


def _inputs(kind: str, p: NDArray) -> NDArray[np.float64]:
    p = np.clip(p, 1e-7, 1.0 - 1e-7)
    if kind == "beta":
        return np.stack([np.log(p), -np.log1p(-p)], axis=1)
    return np.log(p / (1.0 - p))[:, None]


def _odds(kind: str, p: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(_inputs(kind, p) @ weights[1:] + weights[0], np.float64)


def _fit(kind: str, p: NDArray, y: NDArray) -> NDArray[np.float64]:
    """Logistic regression on the map's inputs, pulled toward the identity; slopes are kept positive.

    Source: Platt (1999); beta calibration (Kull, Silva Filho, Flach, AISTATS 2017).
    """
    x = np.concatenate([np.ones((len(p), 1)), _inputs(kind, p)], axis=1)
    prior = np.array([0.0] + [1.0] * (x.shape[1] - 1))
    strength = np.array([0.1] + [5.0] * (x.shape[1] - 1))
    weights: NDArray[np.float64] = prior.copy()
    for _ in range(25):
        q = 1.0 / (1.0 + np.exp(-(x @ weights)))
        gradient = x.T @ (q - y) + strength * (weights - prior)
        hessian = (x * (q * (1.0 - q))[:, None]).T @ x + np.diag(strength)
        weights = np.asarray(weights - np.linalg.solve(hessian, gradient), np.float64)
        weights[1:] = np.maximum(weights[1:], 0.05)
    return weights


def _log_loss(odds: NDArray, y: NDArray) -> float:
    return float(np.mean(np.logaddexp(0.0, odds) - y * odds))
