"""Learns the one multi-task network from a lesson: masked losses of all heads, stopped on the validation day."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mainstem.base.errors import ModelError
from mainstem.base.heads import HEADS, PREDICTIONS, WATCH
from mainstem.ranking.batches import CHUNK, Batches, drawn, user_lists
from mainstem.ranking.calibrate import fit_calibrators
from mainstem.ranking.checkpoint import drop_checkpoints, identity_of, load_checkpoint, save_checkpoint
from mainstem.ranking.lesson import Lesson
from mainstem.ranking.loss import HEAD_WEIGHT, WATCH_WEIGHT, Objective
from mainstem.ranking.model import Model
from mainstem.ranking.progressed import Progressed
from mainstem.ranking.train_moment import MomentSettings, learn_moment
from mainstem.ranking.trunk import Columns, Trunk, TrunkShape, exported
from mainstem.ranking.watch_time import WatchLevels

Progress = Callable[[float, str], None]

LIMITS = (
    "probabilities are those of items the logging policy chose to show",
    "the memory of users moves with feedback, the weights do not",
    "the order across a user's moments also reads how this user fared so far; inside a request that changes nothing",
)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How the network is learned.

    Attributes:
        heads: What is learned; the others stay at their base rates. One head alone is the single-task twin of the network.
        within: What the order of long views within each user's rows counts in the loss; 0 draws rows one by one.
        watch_levels: Thresholds of the watch time; 0 predicts its logarithm.
        untimed_weight: What a history row counts against an impression.
        least_events: An item has an embedding of its own from this many rows on.
        threads: One is the fastest where other processes want the cores too, and gives the same bytes anywhere.
        rates_trust: With what weight a head starts from its user's and item's own rates.
        checkpoint_every: Batches between two checkpoints, where there are any.
    """

    shape: TrunkShape = field(default_factory=TrunkShape)
    moment: MomentSettings = field(default_factory=MomentSettings)
    heads: tuple[str, ...] = PREDICTIONS
    within: float = 0.0
    watch_levels: int = 8
    epochs: int = 4
    patience: int = 2
    batch: int = 2_048
    rate: float = 2e-3
    decay: float = 2e-2
    untimed_weight: float = 0.4
    least_events: int = 20
    rates_trust: float = 1.0
    checkpoint_every: int = 100
    threads: int = 1
    seed: int = 0


def train(
    lesson: Lesson,
    settings: TrainSettings | None = None,
    progress: Progress = lambda share, what: None,
    checkpoint: Path | None = None,
) -> Model:
    """The model of a lesson: learned on the training rows, stopped and calibrated on the validation day.

    Args:
        lesson: Rows and outcomes.
        settings: How it is learned.
        progress: Told the share that is done.
        checkpoint: A folder of its own in which a training that is killed is found again by the next call; emptied at the end.

    Raises:
        ModelError: There is no such head to learn (``model-020``), the loss is no number any more (``model-021``), or the
            checkpoint is of another training (``model-040``).
    """
    settings = settings or TrainSettings()
    started = time.process_time()
    _known_heads(settings.heads)
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    batches = Batches.of(lesson, settings.least_events, settings.watch_levels, settings.untimed_weight)
    taught = taught_heads(lesson, settings.heads)
    net = _begun(batches, settings, taught)
    losses = _learn(net, batches, settings, _objective(batches, settings, taught), progress, checkpoint)
    net.silence(taught, _prior_logits(lesson, batches.levels))
    weights = exported(net, batches.scales)
    weights |= {"watch_at": batches.levels.at, "watch_width": batches.levels.width}
    logits = _logits(net, batches)
    moment = replace(settings.moment, seed=settings.seed)
    weights |= learn_moment(lesson, logits[:, HEADS.index("long_view")], batches.scales["user"], moment)
    check = np.flatnonzero(~lesson.train)
    held = lesson.feedback.take(check)
    probabilities = (1.0 / (1.0 + np.exp(-logits[check, : len(HEADS)]))).astype(np.float32)
    calibration = fit_calibrators(probabilities, held.outcomes, held.surface, settings.seed)
    card = _card(batches, settings, net, losses, taught)
    card["train_cpu_s"] = round(time.process_time() - started, 1)
    if checkpoint is not None:
        drop_checkpoints(checkpoint)
    return Model(weights, lesson.statics, batches.ids, batches.categories, calibration, card, lesson.features)


def taught_heads(lesson: Lesson, wanted: Sequence[str] = PREDICTIONS) -> tuple[str, ...]:
    """Which of the wanted heads a lesson can teach: those with a positive row. The others stay at their base rate."""
    outcomes = lesson.feedback.outcomes[lesson.train]
    there = {name for at, name in enumerate(HEADS) if (outcomes[:, at] == 1).any()}
    if np.isfinite(lesson.feedback.watch_s[lesson.train]).any():
        there.add(WATCH)
    return tuple(name for name in PREDICTIONS if name in wanted and name in there)


def _known_heads(heads: Sequence[str]) -> None:
    other = [name for name in heads if name not in PREDICTIONS]
    if other or not heads:
        raise ModelError(
            f"found heads {', '.join(heads) or 'none'} to learn, expected some of {', '.join(PREDICTIONS)}",
            code="model-020",
            hint="TrainSettings(heads=...) names what is learned",
        )


def _begun(batches: Batches, settings: TrainSettings, taught: Sequence[str]) -> Trunk:
    """The network before its first step: base rates, and every head its user's and its item's own rates."""
    features = batches.lesson.features
    user, item, cross = (len(features.columns_of(role)) for role in ("user", "item", "cross"))
    columns = Columns(user, item, cross, len(batches.ids), len(batches.categories), len(batches.levels))
    net = Trunk(settings.shape, columns, features, _prior_logits(batches.lesson, batches.levels))
    net.start_from_rates(batches.scales, settings.rates_trust, [name for name in HEADS if name in taught])
    net.silence(taught, _prior_logits(batches.lesson, batches.levels))
    net.forget(batches.still)
    return net


def _objective(batches: Batches, settings: TrainSettings, taught: Sequence[str]) -> Objective:
    return Objective(
        heads=tuple(weight * (name in taught) for name, weight in zip(HEADS, HEAD_WEIGHT, strict=True)),
        watch=WATCH_WEIGHT * (WATCH in taught),
        ordinal=bool(len(batches.levels)),
        within=settings.within * ("long_view" in taught),
    )


def _prior_logits(lesson: Lesson, levels: WatchLevels) -> Tensor:
    """The answers' bias before anything is learned: the log odds of their base rates."""
    rates = lesson.statics.rates.overall
    watch = np.array([1.5])
    if len(levels):
        passed = levels.passed(lesson.feedback.watch_s[lesson.train])
        share = np.clip(np.nanmean(passed, axis=0, dtype=np.float64), 1e-3, 1.0 - 1e-3)
        watch = np.log(share / (1.0 - share))
    return torch.tensor([*np.log(rates / (1.0 - rates)), *watch], dtype=torch.float32)


def _learn(
    net: Trunk,
    batches: Batches,
    settings: TrainSettings,
    objective: Objective,
    progress: Progress,
    checkpoint: Path | None,
) -> list[float]:
    """Runs the epochs and leaves the averaged weights of the best one in the network; answers each validation loss."""
    lesson = batches.lesson
    rows, check = np.flatnonzero(lesson.train), np.flatnonzero(~lesson.train)
    lists = user_lists(lesson) if objective.within else None
    steps = max(1, len(rows) // settings.batch)
    run = Progressed.begin(net, settings.rate, settings.decay, steps * settings.epochs)
    identity = None
    if checkpoint is not None:
        feedback, values = lesson.feedback, lesson.rows.values
        identity = identity_of(settings, lesson.train, feedback.outcomes, feedback.item_id, values.user, values.item)
        held = load_checkpoint(checkpoint, identity)
        if held is not None:
            run.restore(held)
    while run.epoch < settings.epochs and run.since_best() <= settings.patience:
        net.train()
        for at, (some, own) in enumerate(drawn(rows, lists, settings.batch, (settings.seed, run.epoch))):
            if at < run.done:
                continue
            run.take(_whole(objective(net(*batches.inputs(some)), batches.outcomes(some, own)), run.step))
            if checkpoint is not None and run.step % settings.checkpoint_every == 0:
                save_checkpoint(checkpoint, run.state(), identity)
        run.ended(_validation_loss(run.average.module, batches, objective, check if len(check) else rows))
        if checkpoint is not None:
            save_checkpoint(checkpoint, run.state(), identity)
        progress(run.epoch / settings.epochs, f"epoch {run.epoch}, validation loss {run.losses[-1]:.4f}")
    net.load_state_dict(run.kept)
    net.eval()
    return run.losses


def _whole(loss: Tensor, step: int) -> Tensor:
    if not bool(torch.isfinite(loss)):
        raise ModelError(
            f"the loss at step {step} is no number any more, expected a finite one: the training came apart",
            code="model-021",
            hint="a smaller TrainSettings(rate=...), or look for a column that ran away: `mainstem parity verify`",
        )
    return loss


@torch.no_grad()
def _validation_loss(net: torch.nn.Module, batches: Batches, objective: Objective, rows: NDArray[np.int64]) -> float:
    """The loss of the rows that are not learned from, their order within users left out."""
    net.eval()
    pointwise, total, weight = replace(objective, within=0.0), 0.0, 0.0
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        outcomes = batches.outcomes(some)
        here = float(outcomes.weight.sum())
        total += here * float(pointwise(net(*batches.inputs(some)), outcomes))
        weight += here
    return total / weight


@torch.no_grad()
def _logits(net: Trunk, batches: Batches) -> NDArray[np.float32]:
    """What the finished network says of every row of the lesson."""
    net.eval()
    rows = np.arange(len(batches.lesson.train))
    parts = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    return np.concatenate([net(*batches.inputs(some)).numpy() for some in parts])


def _card(
    batches: Batches, settings: TrainSettings, net: Trunk, losses: list[float], taught: Sequence[str]
) -> dict[str, Any]:
    """What the model folder says about the model."""
    # Training that goes on builds on this module, so that it cannot be imported above.
    from mainstem.ranking.warm import contradictions

    lesson = batches.lesson
    rows = lesson.train
    return {
        "heads": list(PREDICTIONS),
        "learned_heads": list(taught),
        "settings": asdict(settings),
        "rows": {
            "train": int(rows.sum()),
            "train_timed": int((rows & lesson.timed).sum()),
            "validation": int((~rows).sum()),
        },
        "positives": dict(zip(HEADS, (lesson.feedback.outcomes[rows] == 1).sum(axis=0).tolist(), strict=True)),
        "contradictions": contradictions(lesson.feedback.take(rows)),
        "not_finite": batches.not_finite,
        "still_columns": _still_columns(batches),
        "epochs": int(np.argmin(losses)) + 1,
        "validation_loss": losses,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "limits": list(LIMITS),
    }


def _still_columns(batches: Batches) -> list[str]:
    """Features that never moved in training and are therefore not read: surfaces nobody saw among them."""
    features = batches.lesson.features
    names = {side: features.columns_of(side) for side in ("user", "item", "cross")}
    return [
        name for side, columns in names.items() for name, same in zip(columns, batches.still[side], strict=True) if same
    ]
