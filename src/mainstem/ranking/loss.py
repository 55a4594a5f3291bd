"""What training minimises: masked log losses of every head, the watch time, and optionally the order within each user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from mainstem.base.heads import HEADS

HEAD_WEIGHT: Final = (1.0, 0.5, 3.0, 3.0, 3.0, 3.0, 1.5)
"""What each head counts in the loss; rare heads count more, because nearly all of their rows say nothing."""

WATCH_WEIGHT: Final = 0.1
_LONG_VIEW: Final = HEADS.index("long_view")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of some rows.

    Attributes:
        heads: 1, 0, or below 0 where it is not known. Shapes: ``[n, 7]``.
        watch: Thresholds passed (1 or 0), or log(1 + seconds) in one column; NaN where unknown. Shapes: ``[n, k]``.
        weight: What each row counts. Shapes: ``[n]``.
        lists: Which user's list each row belongs to; None where the order is not learned. Shapes: ``[n]``.
    """

    heads: Tensor
    watch: Tensor
    weight: Tensor
    lists: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Objective:
    """What each part of the loss counts.

    Attributes:
        heads: A weight a head; 0 leaves a head at its prior.
        watch: The weight of the watch time.
        ordinal: Whether the watch time is a list of thresholds.
        within: The weight of the order of long views within each user's rows.
    """

    heads: tuple[float, ...] = HEAD_WEIGHT
    watch: float = WATCH_WEIGHT
    ordinal: bool = False
    within: float = 0.0

    def __call__(self, answers: Tensor, outcomes: Outcomes) -> Tensor:
        """The loss of some rows. Unknown outcomes cost nothing. Shapes: ``answers[n, 7 + k]``."""
        weight = outcomes.weight
        known = (outcomes.heads >= 0).float() * weight[:, None]
        each = _log_loss(answers[:, : len(HEADS)], outcomes.heads.clamp(min=0.0))
        heads = (each * known).sum(dim=0) / weight.sum()
        loss = (heads * torch.tensor(self.heads)).sum()
        if self.watch:
            loss = loss + self.watch * self._watched(answers[:, len(HEADS) :], outcomes)
        if self.within and outcomes.lists is not None:
            loss = loss + self.within * within_lists(answers[:, _LONG_VIEW], outcomes)
        return loss

    def _watched(self, answers: Tensor, outcomes: Outcomes) -> Tensor:
        there = torch.isfinite(outcomes.watch)
        target = outcomes.watch.nan_to_num()
        error = _log_loss(answers, target) if self.ordinal else (answers - target).square()
        return (torch.where(there, error, 0.0).mean(dim=1) * outcomes.weight).sum() / outcomes.weight.sum()


def within_lists(score: Tensor, outcomes: Outcomes) -> Tensor:
    """InfoNCE inside lists: each long view against the rows of its list that were none. Lists of one kind cost nothing."""
    assert outcomes.lists is not None
    label = outcomes.heads[:, _LONG_VIEW]
    good, bad = (label == 1).float(), (label == 0).float()
    odds = torch.exp(score.clamp(-15.0, 15.0))
    lists = int(outcomes.lists.max()) + 1
    others = torch.zeros(lists).index_add(0, outcomes.lists, odds * bad)
    each = torch.log1p(others[outcomes.lists] / odds) * good * outcomes.weight
    return each.sum() / outcomes.weight.sum()


def _log_loss(answers: Tensor, target: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(answers, target, reduction="none")
