"""The loss of "which item came next": over all items in one fused pass, or over one pool of negatives a batch.

The fused pass computes the gradient with the loss, a tile of rows at a time: the rows of probabilities, by far the
largest numbers of a step, stay in the processor's cache and are read three times instead of eight. That makes the full
softmax over some ten thousand items cheaper than per-position negatives, and it needs no correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

TILE = 3_500_000
"""Probabilities computed at once; as bfloat16 they are 7 MB, some rows of a large catalogue or a thousand of a small one."""

_PIECE = 64


class _FusedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, keys: Tensor, targets: Tensor, weights: Tensor, smoothing: float, kind: torch.dtype
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32)
        grad_states, grad_keys = torch.empty_like(states), torch.zeros_like(keys)
        narrow = keys.to(kind)
        known, targets = weights * (targets >= 0), targets.clamp(min=0)
        rows = min(len(states), max(1, TILE // len(keys) // _PIECE) * _PIECE)
        # Made once a call: allocated tile by tile, the largest arrays of a step scatter over the heap and it grows.
        held = torch.empty((2, rows, len(keys)), dtype=kind)
        for at in range(0, len(states), rows):
            wanted, weight = targets[at : at + rows], known[at : at + rows]
            part = states[at : at + rows].to(kind)
            marks, share = held[0, : len(part)], held[1, : len(part)]
            torch.softmax(torch.mm(part, narrow.T, out=marks), dim=1, out=share)
            total -= (weight * share.gather(1, wanted).float().clamp_(min=1e-20).log()).sum()
            mass = weight.sum(dim=1, keepdim=True).to(kind)
            if weight.shape[1] > 1:
                share.mul_(mass)
            if smoothing:
                share.sub_(mass * (smoothing / len(keys)))
            each = torch.arange(len(part))
            for step in range(weight.shape[1]):
                share[each, wanted[:, step]] += (weight[:, step] * (smoothing - 1.0)).to(kind)
            grad_states[at : at + rows] = share @ narrow
            grad_keys += share.T @ part
        scale = 1.0 / float(known.sum())
        ctx.save_for_backward(grad_states.mul_(scale), grad_keys.mul_(scale))
        return total * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        states, keys = ctx.saved_tensors
        return states * grads[0], keys * grads[0], None, None, None, None


def full_softmax(
    states: Tensor,
    keys: Tensor,
    targets: Tensor,
    weights: Tensor,
    smoothing: float = 0.0,
    kind: torch.dtype = torch.float32,
) -> Tensor:
    """The mean cross entropy over every item, of one or several wanted items a row.

    Args:
        states: One query vector a place.
        keys: The items' vectors.
        targets: Wanted items; -1 is none.
        weights: What each counts.
        smoothing: Share of the wanted mass spread over all items.
        kind: In which numbers the products are; the sums are always float32.

    Shapes: states [n, d], keys [items, d], targets and weights [n, m].
    """
    # A whole number of pieces, so that products meet few shapes (see ``windows``); the rows added want nothing.
    more = -len(states) % _PIECE
    rows, wanted = functional.pad(states.float(), (0, 0, 0, more)), functional.pad(targets, (0, 0, 0, more), value=-1)
    counts = functional.pad(weights, (0, 0, 0, more))
    out: Tensor = _FusedSoftmax.apply(rows, keys.float(), wanted, counts, smoothing, kind)  # pyright: ignore[reportAssignmentType]
    return out


@dataclass(frozen=True, slots=True)
class Pool:
    """Negatives that all places of a batch share.

    Attributes:
        log_expected: How often each was expected to be drawn, as a logarithm; subtracting it makes the sum over the pool
            an estimate of the sum over all items, whatever they were drawn by (log-Q correction).
    """

    items: Tensor
    log_expected: Tensor


def draw_pool(
    rng: np.random.Generator, popularity: NDArray[np.float64], size: int, in_batch: float, targets: NDArray[np.int64]
) -> Pool:
    """A pool of distinct items, some drawn uniformly, some from what the batch's users took next.

    Args:
        rng: The step's.
        popularity: Share of all events each item has.
        size: Draws; items drawn twice are kept once.
        in_batch: Share of the draws that come from the batch.
        targets: The batch's.
    """
    of_batch = int(size * in_batch)
    drawn = np.concatenate([rng.integers(0, len(popularity), size - of_batch), rng.choice(targets, of_batch)])
    items = np.unique(drawn)
    never = (1.0 - 1.0 / len(popularity)) ** (size - of_batch) * (1.0 - popularity[items]) ** of_batch
    return Pool(torch.from_numpy(items), torch.from_numpy(np.log(np.maximum(1.0 - never, 1e-9)).astype(np.float32)))


def pooled_softmax(queries: Tensor, keys: Tensor, targets: Tensor, pool: Pool) -> Tensor:
    """The mean cross entropy of the wanted item against a shared pool; of several queries the best one counts.

    Shapes: queries [n, k, d], keys [items, d], targets [n].
    """
    against = torch.einsum("nkd,pd->nkp", queries, keys[pool.items]).float().amax(dim=1) - pool.log_expected
    against = against.masked_fill(pool.items[None, :] == targets[:, None], float("-inf"))
    wanted = torch.einsum("nkd,nd->nk", queries, functional.embedding(targets, keys)).float().amax(dim=1)
    return (torch.logsumexp(torch.cat([wanted[:, None], against], dim=1), dim=1) - wanted).mean()
