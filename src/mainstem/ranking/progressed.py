"""Where a training stands: everything that the next step depends on, so that a killed run goes on to the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(slots=True)
class Progressed:
    """A network in training.

    Attributes:
        average: Its averaged weights, which are what is kept in the end.
        epoch: Epochs that are done.
        done: Batches of the running epoch that are done.
        step: Batches of all epochs.
        losses: The validation loss after each epoch.
        kept: The averaged weights of the best epoch.
    """

    net: nn.Module
    average: torch.optim.swa_utils.AveragedModel
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    epoch: int = 0
    done: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    kept: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def begin(cls, net: nn.Module, rate: float, decay: float, steps: int) -> Progressed:
        """A network before its first step.

        Args:
            net: The network.
            rate: The highest step size.
            decay: How far weights are drawn to nothing.
            steps: How many steps the whole training has.
        """
        optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1, pct_start=0.15)
        average = torch.optim.swa_utils.AveragedModel(net, avg_fn=_averaged)
        return cls(net, average, optimiser, schedule, kept=_copied(net))

    def take(self, loss: Tensor) -> None:
        """One step down the gradient of a loss."""
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.net)
        self.done += 1
        self.step += 1

    def ended(self, loss: float) -> None:
        """An epoch is over; the averaged weights are kept when they are the best so far."""
        self.losses.append(round(loss, 6))
        if self.losses[-1] == min(self.losses):
            self.kept = _copied(self.average.module)
        self.epoch, self.done = self.epoch + 1, 0

    def since_best(self) -> int:
        """How many epochs ago the best one was."""
        return len(self.losses) - 1 - self.losses.index(min(self.losses)) if self.losses else 0

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "epoch": self.epoch,
            "done": self.done,
            "step": self.step,
            "losses": self.losses,
            "kept": self.kept,
        }

    def restore(self, held: Mapping[str, Any]) -> None:
        """Goes on from what ``state`` gave."""
        for name in ("net", "average", "optimiser", "schedule"):
            getattr(self, name).load_state_dict(held[name])
        torch.set_rng_state(held["random"])
        self.epoch, self.done, self.step = int(held["epoch"]), int(held["done"]), int(held["step"])
        self.losses, self.kept = list(held["losses"]), dict(held["kept"])


def _copied(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def _averaged(held: Tensor, fresh: Tensor, updates: Tensor | int) -> Tensor:
    """A running mean of weights that forgets its beginning, so that short runs are averaged too."""
    share = max(0.02, 1.0 - (1.0 + float(updates)) / (10.0 + float(updates)))
    return held + share * (fresh - held)
