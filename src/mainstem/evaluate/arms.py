"""The arms nobody trained: the popularity baseline and the plain rank-average of the legacy arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mainstem.evaluate.rows import ArmScores
from mainstem.evaluate.within_user import Floats, Ints, mid_ranks, mid_ranks_within

BLEND = "rank-average"
POPULARITY = "popularity"


def rank_average(scores: Sequence[Floats], users: Ints) -> NDArray[np.float64]:
    """What two stacks say together without training: the mean of each row's rank within its user, higher is better.

    Ties share the mean of their ranks. Ranks need no common scale, so scores that are no probabilities can be blended.
    """
    return np.mean([mid_ranks_within(users, np.asarray(one, np.float64)) for one in scores], axis=0)


def blend_arm(arms: Mapping[str, ArmScores], order: Sequence[Floats], heads: Sequence[str], users: Ints) -> ArmScores:
    """The rank-average as an arm: within the user for its order, over all rows for each head.

    Ranks within a user cannot order rows of different users, so pooled head AUC is measured on the average of ranks over
    all rows, which is the stronger opponent there.

    Args:
        arms: The legacy arms, for their heads.
        order: The scores that are blended into the order, one a legacy arm.
        heads: Which heads to blend.
        users: Whose row each is.
    """
    pooled = {
        head: np.mean([mid_ranks(np.asarray(arm.score(head), np.float64)) for arm in arms.values()], axis=0)
        for head in heads
    }
    return ArmScores(order=rank_average(order, users), heads=pooled)


def take(arm: ArmScores, rows: NDArray[np.int64]) -> ArmScores:
    """The arm's scores for some of the rows."""
    heads = {head: None if score is None else score[rows] for head, score in arm.heads.items()}
    return ArmScores(order=arm.order[rows], heads=heads, calibrated=arm.calibrated)
