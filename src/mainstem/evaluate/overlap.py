"""Did the logging policy show enough of what another policy would: effective sample, largest weight, and when to refuse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mainstem.base.errors import EvidenceError
from mainstem.evaluate.within_user import Floats

LEAST_EFFECTIVE_SHARE = 0.01
"""Below this share of effective rows nothing is told: a hundred logged rows are worth less than one."""
MOST_WEIGHT_SHARE = 0.05
"""Above this share of all weight, one logged row alone moves the answer."""
_FARTHEST = 6.0
_LEAST_OFF = 0.05


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far a log's rows carry to another policy.

    Attributes:
        rows: Logged rows.
        effective: How many rows of the target policy's own the log is worth, ``(sum w)^2 / sum w^2``.
        effective_share: That, over the rows.
        largest_weight_share: The largest weight over the sum of all.
        mean_weight: 1 in expectation where propensities are right and the log holds whatever the target shows.
        mean_weight_error: Its standard error.
    """

    rows: int
    effective: float
    effective_share: float
    largest_weight_share: float
    mean_weight: float
    mean_weight_error: float

    @property
    def thin(self) -> str:
        """Why nothing can be told from this log; empty when it carries."""
        if not self.effective_share >= LEAST_EFFECTIVE_SHARE:
            return (
                f"effective sample {self.effective:.1f} of {self.rows} rows ({self.effective_share:.2%}), "
                f"expected at least {LEAST_EFFECTIVE_SHARE:.0%}"
            )
        if self.largest_weight_share > MOST_WEIGHT_SHARE:
            return (
                f"one row holds {self.largest_weight_share:.1%} of the sum of weights, "
                f"expected at most {MOST_WEIGHT_SHARE:.0%}"
            )
        return ""

    @property
    def off(self) -> bool:
        """Whether the mean weight is too far from 1 for the propensities to be those of this log."""
        away = abs(self.mean_weight - 1.0)
        return away > _LEAST_OFF and away > _FARTHEST * self.mean_weight_error


def overlap(weights: Floats) -> Overlap:
    """What importance weights say of the overlap between the policy that logged and the one that is asked about.

    Args:
        weights: The target's chance of what was logged, over the logging policy's. Shapes: [n].

    Source: Kish 1965 for the effective sample; Owen, Monte Carlo theory, chapter 9.
    """
    w = np.asarray(weights, np.float64)
    total, squares = float(w.sum()), float((w * w).sum())
    effective = total * total / squares if squares else 0.0
    error = float(w.std(ddof=1) / np.sqrt(len(w))) if len(w) > 1 else float("inf")
    return Overlap(
        rows=len(w),
        effective=effective,
        effective_share=effective / len(w) if len(w) else 0.0,
        largest_weight_share=float(w.max()) / total if total else 1.0,
        mean_weight=float(w.mean()) if len(w) else 0.0,
        mean_weight_error=error,
    )


def require_overlap(found: Overlap) -> None:
    """Refuses to go on from a log that cannot carry the answer.

    Raises:
        EvidenceError: The overlap is too thin (``evidence-001``), or the mean weight is so far from 1 that the logged
            propensities cannot be right, or the target shows what was never logged (``evidence-004``).
    """
    if found.thin:
        raise EvidenceError(
            f"the log cannot tell of this policy: {found.thin}",
            code="evidence-001",
            hint="ask about a policy nearer to the one that logged, or log more exploration",
        )
    if found.off:
        raise EvidenceError(
            f"the mean weight is {found.mean_weight:.3f} ± {found.mean_weight_error:.3f}, expected 1: the propensities are "
            "not those of this log, or the target shows what was never logged",
            code="evidence-004",
            hint="compare logged propensities with how often each action was shown",
        )
