"""Learns the one multi-task network from a lesson: masked losses of eight heads, stopped on the validation day."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.ranking.calibrate import fit_calibrators
from mainstem.ranking.lesson import Lesson
from mainstem.ranking.model import Model, embedding_rows
from mainstem.ranking.network import static_inputs
from mainstem.ranking.train_moment import MomentSettings, learn_moment
from mainstem.ranking.trunk import Trunk, TrunkShape, exported

Progress = Callable[[float, str], None]
Scales = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]

HEAD_WEIGHT = (1.0, 0.5, 3.0, 3.0, 3.0, 3.0, 1.5)
"""What each head counts in the loss; rare heads count more, because nearly all of their rows say nothing."""

LIMITS = (
    "probabilities are those of items the logging policy chose to show",
    "the memory of users moves with feedback, the weights do not",
    "the order across a user's moments also reads how this user fared so far; inside a request that changes nothing",
)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How the network is learned.

    Attributes:
        untimed_weight: What a history row counts against an impression.
        least_events: An item has an embedding of its own from this many rows on.
        threads: One is the fastest where other processes want the cores too, and gives the same bytes anywhere.
        rates_trust: With what weight a head starts from its user's and item's own rates.
    """

    shape: TrunkShape = field(default_factory=TrunkShape)
    moment: MomentSettings = field(default_factory=MomentSettings)
    epochs: int = 4
    patience: int = 2
    batch: int = 2_048
    rate: float = 2e-3
    decay: float = 2e-2
    untimed_weight: float = 0.4
    least_events: int = 20
    rates_trust: float = 1.0
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """The tensors of a lesson, standardised."""

    inputs: tuple[Tensor, ...]
    outcomes: Tensor
    watch: Tensor
    weight: Tensor
    scales: Scales
    ids: NDArray[np.int64]
    categories: NDArray[np.int32]

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The network's inputs of some rows."""
        return tuple(part[rows] for part in self.inputs)


def train(
    lesson: Lesson, settings: TrainSettings | None = None, progress: Progress = lambda share, what: None
) -> Model:
    """The model of a lesson: learned on the training rows, stopped and calibrated on the validation day."""
    settings = settings or TrainSettings()
    started = time.process_time()
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    table = _table(lesson, settings)
    net = Trunk(settings.shape, lesson.features, len(table.ids), len(table.categories), _prior_logits(lesson))
    net.start_from_rates(table.scales, settings.rates_trust)
    losses = _learn(net, table, lesson, settings, progress)
    weights = exported(net, table.scales)
    logits = _logits(net, table)
    weights |= learn_moment(
        lesson, logits[:, HEADS.index("long_view")], table.scales["user"], replace(settings.moment, seed=settings.seed)
    )
    check = ~lesson.train
    held = lesson.feedback.take(check)
    probabilities = (1.0 / (1.0 + np.exp(-logits[check, : len(HEADS)]))).astype(np.float32)
    calibration = fit_calibrators(probabilities, held.outcomes, held.surface, settings.seed)
    card = _card(lesson, settings, net, losses) | {"train_cpu_s": round(time.process_time() - started, 1)}
    return Model(weights, lesson.statics, table.ids, table.categories, calibration, card, lesson.features)


def _card(lesson: Lesson, settings: TrainSettings, net: Trunk, losses: list[float]) -> dict[str, Any]:
    """What the model folder says about the model."""
    taught = lesson.train
    known = lesson.feedback.outcomes[taught] == 1
    return {
        "heads": list(PREDICTIONS),
        "settings": asdict(settings),
        "rows": {
            "train": int(taught.sum()),
            "train_timed": int((taught & lesson.timed).sum()),
            "validation": int((~taught).sum()),
        },
        "positives": dict(zip(HEADS, known.sum(axis=0).tolist(), strict=True)),
        "epochs": int(np.argmin(losses)) + 1,
        "validation_loss": losses,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "limits": list(LIMITS),
    }


def _table(lesson: Lesson, settings: TrainSettings) -> Table:
    values, catalog = lesson.values, lesson.catalog
    scales = {group: _scale(getattr(values, group)[lesson.train]) for group in ("user", "item", "cross")}
    counts = np.bincount(values.item_row[lesson.train & (values.item_row >= 0)], minlength=len(catalog.items))
    ids = np.sort(catalog.items.ids[counts >= settings.least_events])
    categories = np.unique(catalog.items.category_id[catalog.items.category_id >= 0])
    vectors, _ = lesson.statics.on(catalog)
    rows = values.item_row
    parts = [(getattr(values, group) - mean) / std for group, (mean, std) in scales.items()]
    parts += [static_inputs(catalog)[rows], vectors[rows]]
    parts += [embedding_rows(ids, np.append(catalog.items.ids, -1))[rows]]
    parts += [embedding_rows(categories, catalog.items.category_id)[rows]]
    watch = np.log1p(np.clip(lesson.feedback.watch_s, 0.0, 600.0))
    weight = np.where(lesson.timed, 1.0, settings.untimed_weight)
    return Table(
        inputs=tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in parts),
        outcomes=torch.from_numpy(lesson.feedback.outcomes.astype(np.float32)),
        watch=torch.from_numpy(watch.astype(np.float32)),
        weight=torch.from_numpy(weight.astype(np.float32)),
        scales=scales,
        ids=ids,
        categories=categories,
    )


def _scale(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and spread of each column; a column that never moves keeps its size."""
    mean, std = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    return mean.astype(np.float32), np.where(std < 1e-4, 1.0, np.maximum(std, 0.05)).astype(np.float32)


def _prior_logits(lesson: Lesson) -> Tensor:
    """The heads' bias before anything is learned: the log odds of their base rates."""
    rates = lesson.statics.rates.overall
    return torch.tensor([*np.log(rates / (1.0 - rates)), 1.5], dtype=torch.float32)


def _loss(logits: Tensor, outcomes: Tensor, watch: Tensor, weight: Tensor) -> Tensor:
    """Masked log loss of every head, and the squared error of the log time. Unknown outcomes cost nothing."""
    known = (outcomes >= 0).float() * weight[:, None]
    each = nn.functional.binary_cross_entropy_with_logits(
        logits[:, : len(HEADS)], outcomes.clamp(min=0.0), reduction="none"
    )
    heads = (each * known).sum(dim=0) / weight.sum()
    watched = torch.isfinite(watch)
    error = torch.where(watched, logits[:, -1] - watch.nan_to_num(), torch.zeros_like(watch))
    return (heads * torch.tensor(HEAD_WEIGHT)).sum() + 0.1 * (error.square() * weight).sum() / weight.sum()


def _learn(net: Trunk, table: Table, lesson: Lesson, settings: TrainSettings, progress: Progress) -> list[float]:
    """Runs the epochs and keeps the averaged weights of the best one; answers each epoch's validation loss."""
    rows = torch.from_numpy(np.flatnonzero(lesson.train))
    check = torch.from_numpy(np.flatnonzero(~lesson.train))
    if not len(check):
        check = rows
    steps = max(1, len(rows) // settings.batch)
    total = steps * settings.epochs + 1
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=total, pct_start=0.15)
    average = torch.optim.swa_utils.AveragedModel(net, avg_fn=_averaged)
    kept, losses = net.state_dict(), []
    for epoch in range(settings.epochs):
        _epoch(net, average, table, rows, settings.batch, optimiser, schedule)
        losses.append(round(_validation_loss(average.module, table, check), 6))
        progress((epoch + 1) / settings.epochs, f"epoch {epoch + 1}, validation loss {losses[-1]:.4f}")
        if losses[-1] == min(losses):
            kept = {name: value.clone() for name, value in average.module.state_dict().items()}
        elif epoch - int(np.argmin(losses)) >= settings.patience:
            break
    net.load_state_dict(kept)
    net.eval()
    return losses


def _averaged(held: Tensor, fresh: Tensor, updates: Tensor | int) -> Tensor:
    """A running mean of weights that forgets its beginning, so that short runs are averaged too."""
    share = max(0.02, 1.0 - (1.0 + float(updates)) / (10.0 + float(updates)))
    return held + share * (fresh - held)


def _epoch(
    net: Trunk,
    average: torch.optim.swa_utils.AveragedModel,
    table: Table,
    rows: Tensor,
    size: int,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """One pass over the rows in a drawn order."""
    net.train()
    order = rows[torch.randperm(len(rows))]
    for start in range(0, max(1, len(order) // size) * size, size):
        part = order[start : start + size]
        loss = _loss(net(*table.batch(part)), table.outcomes[part], table.watch[part], table.weight[part])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(net)


@torch.no_grad()
def _validation_loss(net: nn.Module, table: Table, rows: Tensor) -> float:
    net.eval()
    return float(_loss(net(*table.batch(rows)), table.outcomes[rows], table.watch[rows], table.weight[rows]))


@torch.no_grad()
def _logits(net: Trunk, table: Table) -> NDArray[np.float32]:
    """What the finished network says of every row of the lesson."""
    net.eval()
    rows = torch.arange(len(table.watch))
    return torch.cat([net(*table.batch(part)) for part in rows.split(16_384)]).numpy()
