"""Learns how a user's moments compare with each other: the part of an order across requests that no item decides.

Inside one request every candidate gets the same amount, so this never changes a slate. It exists because offline measures
that pool a user's impressions of several days (GAUC, nDCG per user) compare moments too. What such a comparison is worth, and
how much of it is no more than counting the user's luck so far, is told in ``docs/concepts/unified-model.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mainstem.features.statics import LONG_VIEW
from mainstem.ranking.lesson import Lesson

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MomentSettings:
    """How the moments are learned."""

    hidden: int = 48
    epochs: int = 3
    lists: int = 1_024
    rate: float = 2e-3
    decay: float = 1e-2
    untimed_weight: float = 0.3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Lists:
    """Training rows grouped by user (history and impressions apart)."""

    rows: NDArray[np.int64]
    start: NDArray[np.int64]
    size: NDArray[np.int64]

    def some(self, which: NDArray[np.int64]) -> tuple[NDArray[np.int64], Tensor]:
        """The rows of some lists, and the number of each row's list."""
        size = self.size[which]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        rows = self.rows[np.repeat(self.start[which], size) + within]
        return rows, torch.from_numpy(np.repeat(np.arange(len(which)), size))


def learn_moment(
    lesson: Lesson, logits: Array, scale: tuple[Array, Array], settings: MomentSettings
) -> dict[str, Array]:
    """The weights of the moment, learned by telling each user's long views from the user's other impressions.

    Args:
        lesson: Rows and outcomes.
        logits: Log odds of a long view of every row, which the moment is added to.
        scale: Mean and spread of the user features.
        settings: How it is learned.
    """
    torch.manual_seed(settings.seed)
    mean, std = scale
    base = torch.from_numpy(np.ascontiguousarray(logits))
    good = torch.from_numpy((lesson.feedback.outcomes[:, LONG_VIEW] == 1).astype(np.float32))
    weight = torch.from_numpy(np.where(lesson.timed, 1.0, settings.untimed_weight).astype(np.float32))
    net = nn.Sequential(nn.Linear(len(mean), settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, 1))
    scaled = nn.Parameter(torch.ones(()))
    optimiser = torch.optim.AdamW([*net.parameters(), scaled], lr=settings.rate, weight_decay=settings.decay)
    lists = _lists(lesson)
    draw = np.random.default_rng(settings.seed)
    for _ in range(settings.epochs):
        order = draw.permutation(len(lists.start))
        for at in range(0, len(order), settings.lists):
            picked, number = lists.some(order[at : at + settings.lists])
            rows = torch.from_numpy(picked)
            user = torch.from_numpy((lesson.rows.take(picked).user - mean) / std)
            score = net(user)[:, 0] + scaled * base[rows]
            loss = _within(score, good[rows], weight[rows], number)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return _export(net, float(scaled.detach()), mean, std)


def _lists(lesson: Lesson) -> _Lists:
    """Users' rows with known outcomes, only lists in which there is something to tell apart."""
    known = lesson.feedback.outcomes[:, LONG_VIEW] >= 0
    rows = np.flatnonzero(lesson.train & known & (lesson.rows.values.user_row >= 0))
    group = lesson.rows.values.user_row[rows].astype(np.int64) * 2 + lesson.timed[rows]
    order = np.argsort(group, kind="stable")
    rows, group = rows[order], group[order]
    start = np.flatnonzero(np.append(True, group[1:] != group[:-1])) if len(rows) else np.empty(0, np.int64)
    size = np.diff(np.append(start, len(rows)))
    return _Lists(rows, start[size > 1], size[size > 1])


def _within(score: Tensor, good: Tensor, weight: Tensor, number: Tensor) -> Tensor:
    """InfoNCE inside lists: each long view against all impressions of its list that were none."""
    odds = torch.exp(score.clamp(-15.0, 15.0))
    others = torch.zeros(int(number[-1]) + 1).index_add(0, number, odds * (1.0 - good))
    each = torch.log1p(others[number] / odds) * good * weight
    return each.sum() / (good * weight).sum().clamp(min=1.0)


def _export(net: nn.Sequential, scaled: float, mean: Array, std: Array) -> dict[str, Array]:
    """Weights on the features as they are, in units of the long view's log odds."""
    first, last = net[0], net[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    into, out = first.weight.detach().double().numpy(), last.weight.detach().double().numpy()[0]
    bias = first.bias.detach().double().numpy() - into @ (mean / std)
    unit = max(scaled, 0.1)
    weights = {"moment_in": (into / std).T, "moment_bias": bias, "moment_out": out / unit}
    return {name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()}
