"""What another policy would have earned on logged traffic, with an interval, or a refusal where the log cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import EvidenceError, did_you_mean
from mainstem.evaluate.bandit_log import BanditLog, malformed
from mainstem.evaluate.intervals import LEVEL
from mainstem.evaluate.overlap import overlap, require_overlap
from mainstem.evaluate.reward_model import cross_fitted
from mainstem.evaluate.student_t import student_t_quantile
from mainstem.evaluate.within_user import Floats, Ints

Method = Literal["ips", "snips", "dm", "dr", "dr-plain", "dr-shrunk"]
METHODS: Final[tuple[Method, ...]] = ("ips", "snips", "dm", "dr", "dr-plain", "dr-shrunk")
LEANING: Final[tuple[Method, ...]] = ("dm", "dr-shrunk")
"""Methods that lean on the reward model: they may be nearer, and cannot know how far off they are."""
_SHRINK_QUANTILES: Final = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A policy's mean reward as a log tells it.

    Attributes:
        value: The mean reward of a row.
        low: Lower end of the two-sided interval at ``level``.
        high: Its upper end.
        effective_share: Effective rows over rows.
        largest_weight_share: The largest weight over the sum of weights.
        method: How it was estimated.
        level: Of the interval.
        rows: Logged rows.
    """

    value: float
    low: float
    high: float
    effective_share: float
    largest_weight_share: float
    method: str
    level: float
    rows: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What every method is made of: weights, rewards, and the reward model's word on both policies.

    Attributes:
        weights: The target's chance of the logged action over the logging policy's.
        rewards: As logged.
        predicted: The expected reward of the logged action.
        expected: The expected reward under the target.

    Shapes: all ``[n]``.
    """

    weights: NDArray[np.float64]
    rewards: Floats
    predicted: NDArray[np.float64]
    expected: NDArray[np.float64]


Answer = tuple[float, NDArray[np.float64]]
"""A value, and by how much each row pulls it (the influence: means 0, its spread is the error). Shapes: [n]."""


def estimate(
    log: BanditLog,
    target: Floats,
    method: Method = "dr",
    *,
    predicted: Floats | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """What the target policy would have earned a row on the traffic of this log.

    ``dr`` is doubly robust with regression controls: it is right when the propensities are, and as narrow as the best mix of
    IPS, SNIPS and plain doubly robust (docs/concepts/off-policy.md). ``dm`` and ``dr-shrunk`` lean on the reward model, whose
    error nobody knows: their interval is that of ``dr``, and a value outside it says that the model is wrong.

    Args:
        log: What was shown by what chance.
        target: The target's chance of every action in each row or, for ``ips`` and ``snips``, of the logged action alone.
            Shapes: [n, actions] or [n].
        method: One of ``METHODS``.
        predicted: Expected rewards from a model of the caller's that did not learn these rows; None cross-fits one.
            Shapes: [n, actions].
        level: Of the interval.
        seed: Of the folds.

    Raises:
        EvidenceError: The overlap is too thin (``evidence-001``), the method is unknown or needs every action's chance
            (``evidence-002``), the target is no policy (``evidence-003``), or the weights do not average 1
            (``evidence-004``).
    """
    _check_method(method, target)
    chances = _check_target(log, np.asarray(target, np.float64))
    weights = chances / log.propensity
    found = overlap(weights)
    require_overlap(found)
    terms = _terms(log, weights, target, method, predicted, seed)
    value, influence = SOLVERS[method](terms)
    centre, pull = SOLVERS["dr"](terms) if method in LEANING else (value, influence)
    low, high = interval(centre, pull, log.clusters, level)
    share = found.effective_share
    return Estimate(value, low, high, share, found.largest_weight_share, method, level, found.rows)


def interval(value: float, influence: Floats, clusters: Ints, level: float = LEVEL) -> tuple[float, float]:
    """The interval around a value whose rows pull it so: independent clusters, and a t for how few of them count.

    The degrees of freedom are the effective number of clusters that make up the variance, so that a few heavy weights widen
    the interval by themselves. Coverage against bootstrap and Bernstein intervals: ``benchmarks/off_policy_coverage.py``.
    """
    _, dense = np.unique(clusters, return_inverse=True)
    pull = np.bincount(dense, influence)
    n, squares = len(influence), pull * pull
    variance = float(squares.sum())
    if variance <= 0 or len(pull) < 2:
        return (value, value) if variance == 0 and len(pull) > 1 else (-np.inf, np.inf)
    freedom = max(1.0, variance**2 / float((squares * squares).sum()) - 1.0)
    half = student_t_quantile((1 + level) / 2, freedom) * np.sqrt(variance * len(pull) / (len(pull) - 1)) / n
    return float(value - half), float(value + half)


def _check_method(method: str, target: Floats) -> None:
    if method not in SOLVERS:
        raise EvidenceError(
            f"method {method!r} is unknown", code="evidence-002", hint=did_you_mean(method, list(SOLVERS))
        )
    if np.ndim(target) == 1 and method not in ("ips", "snips"):
        raise EvidenceError(
            f"method {method!r} needs the target's chance of every action, [n, actions]; found one chance a row",
            code="evidence-002",
            hint="give every action's chance, or ask for snips",
        )


def _check_target(log: BanditLog, target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The target's chance of each logged action."""
    n = len(log.actions)
    if target.shape not in ((n,), (n, log.count)):
        raise malformed(f"the target has shape {target.shape}, expected ({n},) or ({n}, {log.count})")
    if not ((target >= 0) & (target <= 1 + 1e-9)).all():
        raise malformed("the target holds chances below 0, above 1 or not finite")
    if target.ndim == 1:
        return target
    worst = float(np.abs(target.sum(axis=1) - 1).max())
    if worst > 1e-6:
        raise malformed(f"a row of the target sums to 1 ± {worst:.2g}, expected 1")
    return target[np.arange(n), log.actions]


def _terms(
    log: BanditLog, weights: NDArray[np.float64], target: Floats, method: str, predicted: Floats | None, seed: int
) -> Terms:
    nothing = np.zeros(len(weights))
    if method in ("ips", "snips"):
        return Terms(weights, log.rewards, nothing, nothing)
    every = cross_fitted(log, seed) if predicted is None else np.asarray(predicted, np.float64)
    if every.shape != (len(weights), log.count):
        raise malformed(f"predicted has shape {every.shape}, expected ({len(weights)}, {log.count})")
    own = every[np.arange(len(weights)), log.actions]
    return Terms(weights, log.rewards, own, (every * target).sum(axis=1))


def _ips(t: Terms) -> Answer:
    """Horvitz and Thompson 1952."""
    return _mean(t.weights * t.rewards)


def _snips(t: Terms) -> Answer:
    """Swaminathan and Joachims, NeurIPS 2015."""
    value = float((t.weights * t.rewards).sum() / t.weights.sum())
    return value, t.weights * (t.rewards - value) / t.weights.mean()


def _dm(t: Terms) -> Answer:
    """The reward model alone."""
    return _mean(t.expected)


def _dr_plain(t: Terms) -> Answer:
    """Dudik, Langford and Li, ICML 2011."""
    return _mean(t.expected + t.weights * (t.rewards - t.predicted))


def _dr(t: Terms) -> Answer:
    """The intercept of a regression of ``w r`` on two sums that are 0 in expectation: ``w - 1`` and ``w q - E q``.

    Coefficients (0, 0) are IPS, (0, 1) plain doubly robust and (value, 0) SNIPS to first order: least squares takes the
    mix of least variance. Rows of high leverage count with their left-out residual.
    Source: Kallus and Uehara, Intrinsically efficient, stable and bounded off-policy evaluation, NeurIPS 2019;
    MacKinnon and White 1985 (HC3).
    """
    controls = np.column_stack([t.weights - 1, t.weights * t.predicted - t.expected])
    return with_controls(t.weights * t.rewards, controls)


def with_controls(total: Floats, controls: Floats) -> Answer:
    """The mean of a row's total, less whatever of its noise sums that are 0 in expectation explain.

    Args:
        total: Shapes: [n].
        controls: Each column 0 in expectation. Shapes: [n, controls].
    """
    n = len(total)
    x = np.column_stack([np.ones(n), controls])
    x = x / np.maximum(np.abs(x).max(axis=0), 1e-300)
    inverse = np.linalg.pinv(x.T @ x, rcond=1e-10, hermitian=True)
    coefficients = inverse @ (x.T @ total)
    leverage = np.einsum("ni,ij,nj->n", x, inverse, x)
    left_out = (total - x @ coefficients) / np.maximum(1 - leverage, 1e-3)
    return float(coefficients[0]), n * (x @ inverse[0]) * left_out


def _dr_shrunk(t: Terms) -> Answer:
    """Weights drawn towards 0, as far as lowers the estimated squared error: for logs that barely carry.

    Source: Su et al., Doubly robust off-policy evaluation with shrinkage, ICML 2020 (the optimistic form).
    """
    squares = t.weights**2
    shrinks = [np.inf, *np.quantile(squares[squares > 0], _SHRINK_QUANTILES), 0.0]
    tried = [_shrunk(t, one) for one in shrinks]
    errors = [bias * bias + float((pull * pull).sum()) / len(pull) ** 2 for (_, pull), bias in tried]
    return tried[int(np.argmin(errors))][0]


def _shrunk(t: Terms, shrink: float) -> tuple[Answer, float]:
    """The estimate with one strength of shrinking, and its estimated bias."""
    factor = np.ones(len(t.weights)) if np.isinf(shrink) else shrink / np.maximum(t.weights**2 + shrink, 1e-300)
    left = t.weights * (t.rewards - t.predicted)
    return _mean(t.expected + factor * left), float(((factor - 1) * left).mean())


def _mean(rows: Floats) -> Answer:
    value = float(rows.mean())
    return value, np.asarray(rows, np.float64) - value


SOLVERS: Final[dict[str, Callable[[Terms], Answer]]] = {
    "ips": _ips, "snips": _snips, "dm": _dm, "dr": _dr, "dr-plain": _dr_plain, "dr-shrunk": _dr_shrunk,
}  # fmt: skip
