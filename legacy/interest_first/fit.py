"""The listwise fit of P(item | interest): a small network, Adam, and a softmax over what one user was shown in a day."""

from __future__ import annotations

import numpy as np

HIDDEN = 24
EPOCHS = 30
LISTS_A_STEP = 256
RATE = 3e-3
SHRINK = 1e-2


def fit_listwise(signals: np.ndarray, lists: np.ndarray, label: np.ndarray, known: np.ndarray, seed: int) -> dict:
    """Weights under which touched items win their lists.

    The score of a row is `known` + log P(item | interest), and the loss is the cross entropy between the labels of a
    list, scaled to one, and the softmax of its scores. Lists without a touch, or of one row, teach nothing.

    Args:
        signals: [rows, signals] inputs without gaps.
        lists: The list of each row.
        label: Depth of touch within the label's window.
        known: The part of the score that is not learned here.
        seed: Order and starting weights.
    """
    rng = np.random.default_rng(seed)
    centre, scale = signals.mean(axis=0), np.maximum(signals.std(axis=0), 1e-3)
    inputs = np.clip((signals - centre) / scale, -4.0, 4.0)
    order = np.argsort(lists, kind="stable")
    inputs, lists, label, known = inputs[order], lists[order], label[order], known[order]
    starts, ends = _teaching(lists, label)
    weights = {
        "hidden": rng.standard_normal((inputs.shape[1], HIDDEN)) / np.sqrt(inputs.shape[1]),
        "hidden_bias": np.zeros(HIDDEN),
        "out": 0.1 * rng.standard_normal(HIDDEN),
        "out_bias": np.array([-1.0]),
    }
    pace = Adam(weights)
    for epoch in range(EPOCHS):
        shuffled = rng.permutation(len(starts))
        rate = RATE * (1.0 - epoch / EPOCHS)
        for at in range(0, len(starts), LISTS_A_STEP):
            few = shuffled[at : at + LISTS_A_STEP]
            rows, first = _gather(starts[few], ends[few])
            pace.step(_gradient(weights, inputs[rows], first, label[rows], known[rows]), rate)
    return {"centre": centre, "scale": scale, **weights}


def _teaching(lists: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    change = np.flatnonzero(np.diff(lists) != 0) + 1
    starts, ends = np.append(0, change), np.append(change, len(lists))
    total = np.add.reduceat(label, starts)
    teaches = (ends - starts > 1) & (total > 0)
    return starts[teaches], ends[teaches]


def _gather(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of some lists one after the other, and where each list begins in them."""
    size = ends - starts
    first = np.append(0, np.cumsum(size)[:-1])
    return np.arange(size.sum()) + np.repeat(starts - first, size), first


def _gradient(weights: dict, inputs: np.ndarray, first: np.ndarray, label: np.ndarray, known: np.ndarray) -> dict:
    """Of the mean list loss, plus the pull of the weights towards zero."""
    size = np.diff(np.append(first, len(inputs)))
    hidden = np.tanh(inputs @ weights["hidden"] + weights["hidden_bias"])
    merit = hidden @ weights["out"] + weights["out_bias"][0]
    score = known - np.logaddexp(0.0, -merit)
    lifted = np.exp(score - np.repeat(np.maximum.reduceat(score, first), size))
    guess = lifted / np.repeat(np.add.reduceat(lifted, first), size)
    wanted = label / np.repeat(np.add.reduceat(label, first), size)
    heft = np.repeat(np.minimum(np.add.reduceat(label, first), 4.0), size)  # a list counts for its touches, up to four
    on_merit = (guess - wanted) * heft / len(first) / (1.0 + np.exp(merit))
    on_hidden = on_merit[:, None] * weights["out"] * (1.0 - hidden**2)
    return {
        "hidden": inputs.T @ on_hidden + SHRINK * weights["hidden"],
        "hidden_bias": on_hidden.sum(axis=0),
        "out": hidden.T @ on_merit + SHRINK * weights["out"],
        "out_bias": np.array([on_merit.sum()]),
    }


class Adam:
    """Kingma, Ba 2015, on a dict of arrays, in place."""

    def __init__(self, weights: dict) -> None:
        self._weights = weights
        self._mean = {name: np.zeros_like(value) for name, value in weights.items()}
        self._square = {name: np.zeros_like(value) for name, value in weights.items()}
        self._steps = 0

    def step(self, gradient: dict, rate: float) -> None:
        """Moves the weights against a gradient."""
        self._steps += 1
        for name, slope in gradient.items():
            self._mean[name] += 0.1 * (slope - self._mean[name])
            self._square[name] += 0.001 * (slope**2 - self._square[name])
            mean = self._mean[name] / (1.0 - 0.9**self._steps)
            square = self._square[name] / (1.0 - 0.999**self._steps)
            self._weights[name] -= rate * mean / (np.sqrt(square) + 1e-8)
