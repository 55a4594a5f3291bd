"""What another policy's whole slates would have earned, where a place's outcome depends on what stands above it."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import EvidenceError, did_you_mean
from mainstem.evaluate.bandit_log import SlateLog, malformed
from mainstem.evaluate.intervals import LEVEL
from mainstem.evaluate.off_policy import Estimate, interval, with_controls
from mainstem.evaluate.overlap import overlap, require_overlap
from mainstem.evaluate.reward_model import FOLDS, folds_of
from mainstem.evaluate.within_user import Floats

SlateMethod = Literal["ips", "iips", "rips", "cascade-dr"]
SLATE_METHODS: Final[tuple[SlateMethod, ...]] = ("ips", "iips", "rips", "cascade-dr")
_PRIOR_ROWS: Final = 10.0
Rows = NDArray[np.float64]


def estimate_slates(
    log: SlateLog, target: Floats, method: SlateMethod = "cascade-dr", *, level: float = LEVEL, seed: int = 0
) -> Estimate:
    """What a slate of the target policy would have earned, all places together.

    ``ips`` weighs whole slates; ``iips`` each place alone, right where places do not touch each other; ``rips`` each place
    with those above it, right where a viewer reads downwards; ``cascade-dr`` is ``rips`` with a model of what is still to
    come as controls, so that deep places cost less variance. Weights of a depth are made to average 1 in the others.

    Args:
        log: Slates as they were shown.
        target: The target's chance of every item in each place, given the logged items above it.
            Shapes: [n, places, items].
        method: One of ``SLATE_METHODS``.
        level: Of the interval.
        seed: Of the folds.

    Raises:
        EvidenceError: As ``estimate``; the overlap is that of the deepest weights the method uses.

    Source: McInerney et al., Counterfactual evaluation of slate recommendations with sequential reward interactions, KDD
    2020 (rips); Kiyohara et al., Doubly robust off-policy evaluation for ranking policies under the cascade behavior
    model, WSDM 2022.
    """
    if method not in SLATE_METHODS:
        raise EvidenceError(
            f"method {method!r} is unknown", code="evidence-002", hint=did_you_mean(method, list(SLATE_METHODS))
        )
    shape = (*log.items.shape, log.count)
    if target.shape != shape:
        raise malformed(f"the target has shape {target.shape}, expected {shape}")
    alone = np.take_along_axis(target, log.items[:, :, None], axis=2)[:, :, 0] / log.propensity
    weights = _weights(np.asarray(alone, np.float64), method)
    worst = min((overlap(column) for column in weights.T), key=lambda one: one.effective_share)
    require_overlap(worst)
    rewards = np.asarray(log.rewards, np.float64)
    if method == "cascade-dr":
        value, pull = _cascade(log, target, weights, rewards, seed)
    else:
        value, pull = _normalised(weights, rewards)
    low, high = interval(value, pull, log.clusters, level)
    return Estimate(value, low, high, worst.effective_share, worst.largest_weight_share, method, level, len(log.items))


def _weights(alone: Rows, method: SlateMethod) -> Rows:
    """The weight of each place's reward. Shapes: [n, places]."""
    if method == "iips":
        return alone
    down = np.asarray(np.cumprod(alone, axis=1), np.float64)
    return np.repeat(down[:, -1:], alone.shape[1], axis=1) if method == "ips" else down


def _normalised(weights: Rows, terms: Rows) -> tuple[float, Rows]:
    """Each place's weighted mean, summed, and how much each row pulls it."""
    mass = weights.mean(axis=0)
    means = (weights * terms).mean(axis=0) / mass
    return float(means.sum()), (weights / mass * (terms - means)).sum(axis=1)


def _cascade(log: SlateLog, target: Floats, weights: Rows, rewards: Rows, seed: int) -> tuple[float, Rows]:
    """The model's word as controls, two of each depth, whose strength least squares finds (as ``dr`` of one action does)."""
    still, ahead = to_go(log, target, rewards, seed)
    before = np.column_stack([np.ones(len(weights)), weights[:, :-1]])
    controls = np.column_stack([weights - before, weights * still - before * ahead])
    return with_controls((weights * rewards).sum(axis=1), controls)


def to_go(log: SlateLog, target: Floats, rewards: Rows, seed: int) -> tuple[Rows, Rows]:
    """What each place and all below it are expected to earn: for the logged item, and for an item of the target's.

    A shrunken mean by place and item, learned from other folds, from the last place upwards.

    Shapes: both ``[n, places]``.
    """
    n, places = log.items.shape
    fold = folds_of(log.clusters, seed)
    still, ahead = np.zeros((n, places)), np.zeros((n, places))
    for one in range(FOLDS):
        learn, ask = fold != one, fold == one
        if not learn.any():
            continue
        below = np.zeros(n)
        for place in range(places - 1, -1, -1):
            item, earned = log.items[:, place], rewards[:, place] + below
            mean = float(earned[learn].mean())
            shown = np.bincount(item[learn], minlength=log.count)
            total = np.bincount(item[learn], earned[learn] - mean, log.count)
            table = mean + total / (shown + _PRIOR_ROWS)
            below = target[:, place] @ table
            still[ask, place], ahead[ask, place] = table[item[ask]], below[ask]
    return still, ahead
