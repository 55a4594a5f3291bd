"""What was declared before anyone looked at a number: arms, margins, slices and how often to resample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mainstem.evaluate.intervals import LEVEL, RESAMPLES

Score = Literal["head", "order"]
"""What orders the rows for the primary outcome: the arm's head for it, or the arm's own final score."""


@dataclass(frozen=True, slots=True)
class SideBySidePlan:
    """The declared terms of a comparison.

    Args:
        unified: Name of the arm that claims to be better.
        legacy: Names of the arms it replaces.
        primary_head: The outcome of the primary number.
        score: Which of the unified arm's scores the claims are about; the other one is reported beside it.
        ndcg_k: Places of nDCG.
        auc_margin: A head may be worse than the better legacy by this much AUC.
        least_rows: Test rows, and below them positives and negatives, a head of a surface needs to be judged.
        cold_item_below: An item with fewer training impressions is cold.
        light_user_below: A user with fewer training impressions is light.
        level: Of the two-sided intervals; "lower bound" is their low end.
        resamples: Of users.
        seed: Of the resampling.
        public_log: Which log this is, when published figures stand beside it.
    """

    unified: str = "unified"
    legacy: tuple[str, ...] = ("content-first", "interest-first")
    primary_head: str = "long_view"
    score: Score = "head"
    ndcg_k: int = 5
    auc_margin: float = 0.005
    least_rows: int = 1_000
    least_positives: int = 50
    least_negatives: int = 50
    cold_item_below: int = 20
    light_user_below: int = 3
    level: float = LEVEL
    resamples: int = RESAMPLES
    seed: int = 0
    public_log: Literal["kuairand_pure"] | None = None
