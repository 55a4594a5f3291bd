"""Targets that a training never learns from and is stopped by, and where a model puts them among all items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mainstem.data.sequences import LeaveOneOut, Sequences
from mainstem.retrieval.neural.encoder import Rows, SequenceEncoder
from mainstem.retrieval.neural.windows import Batch, latest

_PLACES = 12_800
"""Places of users judged at once."""


@dataclass(frozen=True, slots=True)
class Held:
    """Targets that training never learns from and is stopped by.

    Shapes: ``users[n]`` (rows of the sequences learned from), ``targets[n]``.
    """

    users: NDArray[np.int64]
    targets: NDArray[np.int32]


def held_of(split: LeaveOneOut) -> Held:
    """The validation targets of a split, whose ``fit`` is learned from."""
    return Held(users=split.users, targets=split.validation)


def rows_of(batch: Batch) -> Rows:
    """A batch as the encoder reads it."""
    times = None if batch.times_ms is None else torch.from_numpy(batch.times_ms)
    return Rows(torch.from_numpy(batch.items), torch.from_numpy(batch.lengths), times)


def found_at(model: SequenceEncoder, fit: Sequences, held: Held, kind: torch.dtype) -> dict[str, float]:
    """How well the held targets are found among all items that are not in the history, as ``evaluate.next_item`` has it.

    Args:
        model: Outside training.
        fit: The histories.
        held: The targets.
        kind: In which numbers the blocks are computed; the scores are always float32.
    """
    ranks = np.empty(len(held.users))
    order = np.argsort(fit.lengths[held.users], kind="stable")
    share = max(1, _PLACES // model.shape.length)
    with torch.inference_mode():
        vectors = model.item_vectors()
        for at in range(0, len(order), share):
            part = order[at : at + share]
            ranks[part] = _ranks(model, vectors, fit, held.users[part], held.targets[part], kind)
    found = ranks <= 10
    return {"hr@10": float(found.mean()), "ndcg@10": float(np.where(found, 1.0 / np.log2(1.0 + ranks), 0.0).mean())}


def _ranks(
    model: SequenceEncoder,
    vectors: Tensor,
    fit: Sequences,
    users: NDArray[np.int64],
    targets: NDArray[np.int32],
    kind: torch.dtype,
) -> NDArray[np.float64]:
    batch, each = latest(fit, model.shape.length, users), np.arange(len(users))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == torch.bfloat16):
        states = model(rows_of(batch), vectors)[each, np.maximum(batch.lengths, 1) - 1].float()
    scores = (model.queries(states) @ model.keys(vectors).T).amax(dim=1).numpy()
    wanted, history = scores[each, targets], fit.take(users)
    scores[np.repeat(each, history.lengths), history.rows] = -np.inf
    scores[each, targets] = wanted
    above, level = (scores > wanted[:, None]).sum(axis=1), (scores == wanted[:, None]).sum(axis=1)
    return 1.0 + above + (level - 1) / 2.0
