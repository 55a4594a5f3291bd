"""Learns the one multi-task network from a lesson. The only module that uses torch; nothing that serves imports it."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.features import define
from mainstem.features.statics import LONG_VIEW, VECTOR_DIM
from mainstem.ranking.calibrate import fit_calibrators
from mainstem.ranking.lesson import Lesson
from mainstem.ranking.model import Model, embedding_rows
from mainstem.ranking.network import EXPERTS, STATIC_DIM, static_inputs

Progress = Callable[[float, str], None]
HEAD_WEIGHT = (1.0, 0.5, 0.2, 0.2, 0.2, 0.2, 1.5)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How the network is learned."""

    hidden: int = 192
    expert: int = 96
    epochs: int = 8
    patience: int = 2
    batch: int = 2_048
    rate: float = 2e-3
    decay: float = 2e-2
    dropout: float = 0.15
    untimed_weight: float = 0.4
    id_dropout: float = 0.5
    least_events: int = 20
    threads: int = 2
    seed: int = 0


class Trunk(nn.Module):
    """The network of ``network.py`` in torch. Inputs are standardised; the export folds that into the first layer."""

    def __init__(self, settings: TrainSettings, n_ids: int, n_categories: int, bias: Tensor) -> None:
        super().__init__()
        hidden, expert = settings.hidden, settings.expert
        self.user_in = nn.Linear(len(define.USER), hidden)
        self.item_in = nn.Linear(len(define.ITEM), hidden, bias=False)
        self.cross_in = nn.Linear(len(define.CROSS), hidden, bias=False)
        self.static_in = nn.Linear(STATIC_DIM, hidden, bias=False)
        self.vector_in = nn.Linear(VECTOR_DIM, hidden, bias=False)
        self.id_in = nn.Embedding(n_ids + 1, hidden)
        self.category_in = nn.Embedding(n_categories + 1, hidden)
        self.experts = nn.Linear(hidden, EXPERTS * expert)
        self.gate = nn.Linear(len(define.USER), EXPERTS)
        self.head = nn.Linear(expert, len(PREDICTIONS))
        self.head_user = nn.Linear(len(define.USER), len(PREDICTIONS), bias=False)
        self.dropout, self.id_dropout = nn.Dropout(settings.dropout), settings.id_dropout
        with torch.no_grad():
            for table in (self.id_in, self.category_in):
                table.weight.zero_()
            for layer in (self.gate, self.head_user):
                layer.weight.zero_()
            self.head.bias.copy_(bias)

    def forward(
        self, user: Tensor, item: Tensor, cross: Tensor, static: Tensor, vector: Tensor, ids: Tensor, categories: Tensor
    ) -> Tensor:
        """Log odds of the heads and log(1 + seconds). Shapes: [n, 8]."""
        if self.training:
            ids = ids * (torch.rand(len(ids)) >= self.id_dropout)
        hidden = self.user_in(user) + self.item_in(item) + self.cross_in(cross) + self.static_in(static)
        hidden = hidden + self.vector_in(vector) + self.id_in(ids) + self.category_in(categories)
        hidden = self.dropout(torch.relu(hidden))
        experts = torch.relu(self.experts(hidden)).view(len(user), EXPERTS, -1)
        mixed = (experts * torch.softmax(self.gate(user), dim=1)[:, :, None]).sum(dim=1)
        return self.head(self.dropout(mixed)) + self.head_user(user)


@dataclass(frozen=True, slots=True)
class _Table:
    """The tensors of a lesson, standardised."""

    inputs: tuple[Tensor, ...]
    outcomes: Tensor
    watch: Tensor
    weight: Tensor
    scales: dict[str, tuple[NDArray, NDArray]]
    ids: NDArray[np.int64]
    categories: NDArray[np.int32]

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
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
    net = Trunk(settings, len(table.ids), len(table.categories), _prior_logits(lesson))
    epochs, losses = _learn(net, table, lesson, settings, progress)
    weights = _export(net, table.scales)
    model = Model(weights, lesson.statics, table.ids, table.categories, {}, {})
    predictions = _validation_predictions(model, lesson)
    validation = lesson.feedback.take(~lesson.train)
    calibration = fit_calibrators(predictions, validation.outcomes, validation.surface, settings.seed)
    card = {
        "heads": list(PREDICTIONS),
        "settings": asdict(settings),
        "rows": {
            "train": int(lesson.train.sum()),
            "timed": int((lesson.train & lesson.timed).sum()),
            "validation": len(validation),
        },
        "epochs": epochs,
        "validation_loss": losses,
        "parameters": int(sum(parameter.numel() for parameter in net.parameters())),
        "train_cpu_s": round(time.process_time() - started, 1),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    return Model(weights, lesson.statics, table.ids, table.categories, calibration, card)


def _table(lesson: Lesson, settings: TrainSettings) -> _Table:
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
    watch = np.log1p(np.minimum(lesson.feedback.watch_s, 600.0))
    weight = np.where(lesson.timed, 1.0, settings.untimed_weight).astype(np.float32)
    return _Table(
        inputs=tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in parts),
        outcomes=torch.from_numpy(lesson.feedback.outcomes.astype(np.float32)),
        watch=torch.from_numpy(watch.astype(np.float32)),
        weight=torch.from_numpy(weight),
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
    time_loss = (torch.where(watched, logits[:, -1] - watch.nan_to_num(), 0.0).square() * weight).sum() / weight.sum()
    return (heads * torch.tensor(HEAD_WEIGHT)).sum() + 0.1 * time_loss


def _learn(
    net: Trunk, table: _Table, lesson: Lesson, settings: TrainSettings, progress: Progress
) -> tuple[int, list[float]]:
    """Runs the epochs; keeps the averaged weights of the best one by validation loss."""
    rows = torch.from_numpy(np.flatnonzero(lesson.train))
    check = torch.from_numpy(np.flatnonzero(~lesson.train))
    steps = max(1, len(rows) // settings.batch)
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.rate, total_steps=steps * settings.epochs + 1, pct_start=0.15
    )
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98))
    best, kept, losses = np.inf, net.state_dict(), []
    for epoch in range(settings.epochs):
        net.train()
        order = rows[torch.randperm(len(rows))]
        for step in range(steps):
            part = order[step * settings.batch : (step + 1) * settings.batch]
            loss = _loss(net(*table.batch(part)), table.outcomes[part], table.watch[part], table.weight[part])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            average.update_parameters(net)
        losses.append(round(_check(average.module, table, check), 6))
        progress((epoch + 1) / settings.epochs, f"epoch {epoch + 1}, validation loss {losses[-1]:.4f}")
        if losses[-1] < best:
            best, kept = losses[-1], {name: value.clone() for name, value in average.module.state_dict().items()}
        elif epoch - int(np.argmin(losses)) >= settings.patience:
            break
    net.load_state_dict(kept)
    net.eval()
    return int(np.argmin(losses)) + 1, losses


@torch.no_grad()
def _check(net: nn.Module, table: _Table, rows: Tensor) -> float:
    net.eval()
    return float(_loss(net(*table.batch(rows)), table.outcomes[rows], table.watch[rows], table.weight[rows]))


def _export(net: Trunk, scales: dict[str, tuple[NDArray, NDArray]]) -> dict[str, NDArray[np.float32]]:
    """The weights for ``network.py``, with the standardisation of the inputs folded in."""
    w = {name: value.detach().numpy().astype(np.float64) for name, value in net.named_parameters()}
    out: dict[str, NDArray] = {}
    shift = np.zeros(w["user_in.weight"].shape[0])
    for group, (mean, std) in scales.items():
        out[f"{group}_in"] = (w[f"{group}_in.weight"] / std).T
        shift += w[f"{group}_in.weight"] @ (mean / std)
    mean, std = scales["user"]
    out["user_bias"] = w["user_in.bias"] - shift
    for name in ("static_in", "vector_in"):
        out[name] = w[f"{name}.weight"].T
    for name in ("id_in", "category_in"):
        out[name] = w[f"{name}.weight"]
    out["expert_w"], out["expert_b"] = w["experts.weight"].T, w["experts.bias"]
    out["gate_w"] = (w["gate.weight"] / std).T
    out["gate_b"] = w["gate.bias"] - w["gate.weight"] @ (mean / std)
    out["head_w"] = w["head.weight"].T
    out["head_user_w"] = (w["head_user.weight"] / std).T
    out["head_b"] = w["head.bias"] - w["head_user.weight"] @ (mean / std)
    return {name: np.ascontiguousarray(value, np.float32) for name, value in out.items()}


def _validation_predictions(model: Model, lesson: Lesson) -> NDArray[np.float32]:
    values, rows = lesson.values, ~lesson.train
    return model.network(lesson.catalog).many(
        values.user[rows], values.item_row[rows], values.item[rows], values.cross[rows]
    )


LABEL = LONG_VIEW
