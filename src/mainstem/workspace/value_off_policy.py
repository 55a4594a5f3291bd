"""What other weights would have earned on logged traffic, as an objective to tune by: told only where the log carries that far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from mainstem.base.request import Floats
from mainstem.evaluate.bandit_log import BanditLog
from mainstem.evaluate.off_policy import Method, estimate
from mainstem.evaluate.overlap import LEAST_EFFECTIVE_SHARE, overlap
from mainstem.value.expression import Expression
from mainstem.value.tuning import Measured

OVERLAP: Final = "overlap"
"""The metric that says how far the log carries: the effective share of its rows."""
GUARD: Final = f"{OVERLAP} >= {LEAST_EFFECTIVE_SHARE}"
"""Stands among the guardrails of every off-policy tuning: weights the log cannot judge are not chosen."""


class OffPolicyObjective:
    """The mean worth of what a surface would have shown by some weights, estimated from choices with known chances.

    The policy that is judged shows each candidate with a chance that grows with its value (softmax): a policy that only ever
    shows the best overlaps with no log.

    Args:
        log: Choices with their chances; its rewards are not read.
        columns: Predictions for every candidate of every row, by head. Shapes: each [n, actions].
        outcomes: What came of the shown candidate, by head. Shapes: each [n].
        expression: What the surface values; each evaluation replaces its weights.
        worth: What an outcome is worth, an expression over ``outcomes``.
        sharpness: How much a unit of value moves the logarithm of a chance.
        method: How it is estimated.

    Raises:
        EvidenceError: The log does not carry as far as the present weights (``evidence-001``).
    """

    def __init__(
        self,
        log: BanditLog,
        columns: Mapping[str, Floats],
        outcomes: Mapping[str, Floats],
        expression: Expression,
        worth: Expression,
        sharpness: float = 10.0,
        method: Method = "snips",
    ) -> None:
        self._logs = {head: replace(log, rewards=np.asarray(one, np.float64)) for head, one in outcomes.items()}
        self._log = replace(log, rewards=np.asarray(worth.of(outcomes), np.float64))
        self._columns = columns
        self._expression = expression
        self._sharpness = sharpness
        self._method: Method = method
        self.start = self._told(expression, refuse=True)

    def __call__(self, weights: Mapping[str, float]) -> Measured:
        """The estimate by these weights. Where the log does not carry, the start's, with the overlap that says so."""
        named = {name: one for name, one in weights.items() if name in self._expression.weights}
        units = {name: self._expression.weights[name].seconds for name in named}
        written = {name: f"{one!r} / s" if units[name] < 0 else one for name, one in named.items()}
        return self._told(self._expression.with_weights(written), refuse=False)

    def _told(self, expression: Expression, *, refuse: bool) -> Measured:
        chances = self._chances(expression)
        shown = chances[np.arange(len(chances)), self._log.actions]
        found = overlap(shown / self._log.propensity)
        if found.thin and not refuse:
            return Measured(self.start.value, {**self.start.metrics, OVERLAP: found.effective_share})
        target = chances if self._method not in ("ips", "snips") else shown
        value = estimate(self._log, target, self._method).value
        metrics = {head: estimate(log, target, self._method).value for head, log in self._logs.items()}
        return Measured(value, {**metrics, OVERLAP: found.effective_share})

    def _chances(self, expression: Expression) -> Floats:
        """The chance of each candidate of each row. Shapes: [n, actions]."""
        heights = self._sharpness * np.asarray(expression.of(self._columns), np.float64)
        raised = np.exp(heights - heights.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)
