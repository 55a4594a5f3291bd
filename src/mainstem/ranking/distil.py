"""Teaches a student what a legacy ranker says: rows without end, because a teacher can be asked about anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mainstem.base.errors import ModelError
from mainstem.ranking.student import Tower

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Taught:
    """What a teacher said on one surface.

    Attributes:
        inputs: What it read of each candidate; NaN where it had nothing. Shapes: [n, f].
        targets: Log odds (or logs of amounts) of its heads. Shapes: [n, h].
        weight: What one unit of each target's error moves the teacher's value by, about. Shapes: [h].
        request: Which request each row belongs to, ascending. Shapes: [n].
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    weight: NDArray[np.float32]
    request: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DistilSettings:
    """How long and how wide a student learns."""

    hidden: int = 192
    second: int = 96
    epochs: int = 40
    batch: int = 1_024
    rate: float = 4e-3
    seed: int = 0
    threads: int = 1


def distil(
    taught: Taught, settings: DistilSettings | None = None, progress: Progress = lambda share, what: None
) -> Tower:
    """A tower that answers the targets from the inputs: squared error of each head, by what it moves the value.

    Raises:
        ModelError: The teacher said nothing, or something that is not finite (``model-090``, ``model-091``).
    """
    settings = settings or DistilSettings()
    _check(taught)
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    centre, spread, missing = _scales(taught.inputs)
    mean, std = taught.targets.mean(axis=0), np.maximum(taught.targets.std(axis=0), 1e-6)
    bare = Tower(centre, spread, missing, ())
    net = _network(len(centre) + len(missing), taught.targets.shape[1], settings)
    weight = taught.weight * std
    _learn(
        net,
        torch.from_numpy(bare.prepared(taught.inputs)),
        torch.from_numpy(((taught.targets - mean) / std).astype(np.float32)),
        torch.from_numpy((weight / max(float(weight.sum()), 1e-12)).astype(np.float32)),
        settings,
        progress,
    )
    return Tower(centre, spread, missing, _layers(net, mean, std))


def _check(taught: Taught) -> None:
    if not len(taught.request):
        raise ModelError("the teacher was asked about nothing", code="model-090", hint="mainstem models distil")
    if not np.isfinite(taught.targets).all():
        heads = np.flatnonzero(~np.isfinite(taught.targets).all(axis=0)).tolist()
        raise ModelError(f"the teacher's heads {heads} are not finite in some rows", code="model-091")


def _scales(inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Mean and spread of what is there, and which columns may be missing. A column never there is one that never moves."""
    here = ~np.isnan(inputs)
    count = np.maximum(here.sum(axis=0), 1)
    held = np.where(here, inputs, 0.0)
    centre = held.sum(axis=0, dtype=np.float64) / count
    spread = np.sqrt((np.where(here, held - centre, 0.0) ** 2).sum(axis=0, dtype=np.float64) / count)
    spread = np.where(spread < 1e-4, 1.0, spread)
    return centre.astype(np.float32), spread.astype(np.float32), np.flatnonzero(~here.all(axis=0))


def _network(inputs: int, heads: int, settings: DistilSettings) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, settings.hidden),
        nn.ReLU(),
        nn.Linear(settings.hidden, settings.second),
        nn.ReLU(),
        nn.Linear(settings.second, heads),
    )


def _learn(
    net: nn.Sequential,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    weight: torch.Tensor,
    settings: DistilSettings,
    progress: Progress,
) -> None:
    steps = max(1, len(inputs) // settings.batch)
    optimiser = torch.optim.Adam(net.parameters(), lr=settings.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.rate, total_steps=steps * settings.epochs + 1, pct_start=0.1, final_div_factor=1e3
    )
    for epoch in range(settings.epochs):
        order = torch.randperm(len(inputs))
        seen = 0.0
        for part in order[: max(steps * settings.batch, 1)].split(settings.batch):
            error = (net(inputs[part]) - targets[part]).square()
            loss = (error * weight).sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            seen += float(loss.detach())
        progress((epoch + 1) / settings.epochs, f"epoch {epoch + 1}, error {seen / steps:.5f} of the targets' variance")


def _layers(
    net: nn.Sequential, mean: NDArray[np.float32], std: NDArray[np.float32]
) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]:
    """The weights for ``Tower``, with the targets' scale folded into the last layer."""
    linear = [one for one in net if isinstance(one, nn.Linear)]
    held = [(one.weight.detach().numpy().T.copy(), one.bias.detach().numpy().copy()) for one in linear]
    weight, bias = held[-1]
    held[-1] = ((weight * std).astype(np.float32), (bias * std + mean).astype(np.float32))
    return tuple(held)
