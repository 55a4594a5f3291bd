"""A model that goes on from yesterday's: one pass over new rows, pulled back toward what it was, its vocabulary grown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mainstem.base.errors import ModelError
from mainstem.base.heads import HEADS
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.feature import Role
from mainstem.ranking.batches import row_outcomes
from mainstem.ranking.calibrate import Calibrators
from mainstem.ranking.lesson import Lesson
from mainstem.ranking.loss import Objective
from mainstem.ranking.model import Model, embedding_rows
from mainstem.ranking.network import completed, static_inputs
from mainstem.ranking.rows import shuffled
from mainstem.ranking.trunk import exported
from mainstem.ranking.trunk_again import trunk_of

Progress = Callable[[float, str], None]
State = dict[str, Tensor]

_SAMPLED = 4_096
"""Rows by which the spread of every layer's inputs and the weight of every parameter are measured."""

_PROBES = 64
"""Batches of which the squared gradients are averaged: a light estimate of the Fisher information."""


@dataclass(frozen=True, slots=True)
class WarmSettings:
    """How a model goes on.

    Attributes:
        rate: Step size, in units of the spread of each layer's inputs.
        toward: How strongly each step pulls back to yesterday's weights: this share of the departure, for small ones.
        fisher: Whether parameters that yesterday's predictions lean on are pulled back more than others.
        passes: How often the new rows go by.
        least_events: A new item gets an embedding of its own from this many new rows on.
        trust: How strongly yesterday's calibration is held to (``recalibrated``).
        most_unseen: Where more than this share of the new rows are of items without an embedding, the log is another one.
    """

    rate: float = 1e-3
    toward: float = 0.1
    fisher: bool = False
    passes: int = 1
    batch: int = 512
    least_events: int = 20
    trust: float = 50.0
    most_unseen: float = 0.9
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How far new rows are from what a model knows.

    Attributes:
        unseen_items: Share of the rows whose item has no embedding; of ``items`` such items.
        unseen_categories: The same of categories.
        unknown_users: Share of rows of users that the catalog does not hold.
    """

    rows: int
    unseen_items: float
    items: int
    unseen_categories: float
    categories: int
    unknown_users: float


def vocabulary_drift(model: Model, lesson: Lesson) -> Vocabulary:
    """Which share of a lesson's training rows is about ids that a model has no embedding for."""
    rows = lesson.train
    ids, categories = _known(model, lesson)
    item, category = ids[lesson.values.item_row[rows]], categories[lesson.values.item_row[rows]]
    n = max(int(rows.sum()), 1)
    held = lesson.catalog.items
    return Vocabulary(
        rows=int(rows.sum()),
        unseen_items=float((item == 0).sum() / n),
        items=len(np.unique(lesson.feedback.item_id[rows][item == 0])),
        unseen_categories=float((category == 0).sum() / n),
        categories=len(np.setdiff1d(held.category_id[held.category_id >= 0], model.categories)),
        unknown_users=float((lesson.values.user_row[rows] < 0).sum() / n),
    )


def contradictions(feedback: FeedbackBatch) -> dict[str, int]:
    """Rows whose labels cannot all be true, by what they say; a model learns from them all the same.

    A like without a click is one of them and is real in some logs; the same impression twice with two outcomes is another.
    """
    at = {name: feedback.outcomes[:, place] for place, name in enumerate(HEADS)}
    acts = ("like", "follow", "comment", "forward")
    found = {f"{name} without click": int(((at[name] == 1) & (at["click"] == 0)).sum()) for name in acts}
    found["like and hate"] = int(((at["like"] == 1) & (at["hate"] == 1)).sum())
    timed = feedback.time_ms >= 0
    key = np.stack([feedback.user_id[timed], feedback.item_id[timed], feedback.time_ms[timed]], axis=1)
    _, group = np.unique(key, axis=0, return_inverse=True)
    group, size = group.ravel(), int(group.max()) + 1 if len(group) else 0
    for name in HEADS:
        said = at[name][timed]
        one, none = (np.bincount(group[said == value], minlength=size) > 0 for value in (1, 0))
        found[f"both outcomes of {name} at once"] = int((one & none).sum())
    return {name: count for name, count in found.items() if count}


def continue_training(
    model: Model,
    lesson: Lesson,
    settings: WarmSettings | None = None,
    progress: Progress = lambda share, what: None,
) -> Model:
    """The model after some more rows: it begins where it was, and is calibrated anew.

    Rows that the lesson does not train on are not read.

    Args:
        model: Yesterday's.
        lesson: The new rows, with features by the model's own learned constants.
        settings: How it goes on.
        progress: Told the share that is done.

    Raises:
        ModelError: The lesson is of other features or constants (``model-044``), has no row to learn from (``model-045``), or is
            of another log by its vocabulary (``model-048``).
    """
    settings = settings or WarmSettings()
    started = time.process_time()
    drift = _checked(model, lesson, settings)
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    grown = grow(model, *_wanted(model, lesson, settings))
    rows = np.flatnonzero(lesson.train)
    outcomes = lesson.feedback.take(rows)
    after = replace(grown, weights=grown.weights | _learned(grown, lesson, rows, settings, progress))
    calibration = recalibrated(model.calibrators(), _said(after, lesson, rows), outcomes, settings.trust).as_dict()
    card = model.card | {
        "warm": {
            "settings": asdict(settings),
            "rows": len(rows),
            "vocabulary": asdict(drift),
            "new_ids": len(grown.ids) - len(model.ids),
            "contradictions": contradictions(outcomes),
            "cpu_s": round(time.process_time() - started, 1),
        }
    }
    return replace(after, calibration=calibration, card=card)


def recalibrated(
    calibrators: Calibrators, said: NDArray[np.float32], feedback: FeedbackBatch, trust: float
) -> Calibrators:
    """Yesterday's maps, each head moved by one number so that what it says of the new rows comes true on the whole.

    A day has too few positives of a rare head for maps of its own; one number a head follows the base rate, and never changes an
    order. It is drawn to 0 as if ``trust`` rows worth of information said that nothing has moved.

    Args:
        calibrators: Yesterday's.
        said: Uncalibrated probabilities of the new rows.
        feedback: What became of them.
        trust: In sums of p(1 - p).
    """
    p = calibrators.apply_many(said, feedback.surface)[:, : len(HEADS)].astype(np.float64)
    odds = np.log(np.clip(p, 1e-9, 1.0)) - np.log1p(-np.clip(p, 0.0, 1.0 - 1e-7))
    known, one = feedback.outcomes >= 0, feedback.outcomes == 1
    moved = np.zeros(len(HEADS))
    for _ in range(20):
        q = np.where(known, 1.0 / (1.0 + np.exp(-(odds + moved))), 0.0)
        missed, told = (one - q).sum(axis=0), (q * (1.0 - q)).sum(axis=0)
        moved += (missed - trust * moved) / (told + trust)
    return replace(calibrators, tables=(calibrators.tables + moved[:, None]).astype(np.float32))


def grow(model: Model, ids: NDArray[np.int64], categories: NDArray[np.int32]) -> Model:
    """The same model with more ids: a new one begins at what is said of an unknown one, so that no prediction changes.

    Args:
        model: Whose embeddings are matched by id.
        ids: Items that get an embedding of their own, in any order; those that have one keep it.
        categories: The same of categories.
    """
    held = {
        "id_in": (model.ids, np.union1d(model.ids, ids)),
        "category_in": (model.categories, np.union1d(model.categories, categories)),
    }
    weights = dict(model.weights)
    for name, (old, new) in held.items():
        weights[name] = model.weights[name][np.append(0, embedding_rows(old, new))]
    return replace(
        model,
        weights=weights,
        ids=held["id_in"][1].astype(np.int64),
        categories=held["category_in"][1].astype(np.int32),
    )


def _checked(model: Model, lesson: Lesson, settings: WarmSettings) -> Vocabulary:
    if model.features.fingerprint != lesson.features.fingerprint or not np.array_equal(
        model.statics.vectors, lesson.statics.vectors
    ):
        raise ModelError(
            f"the rows have features {lesson.features.fingerprint} by constants of their own, expected {model.features.fingerprint}"
            " by the constants of the model to go on from",
            code="model-044",
            hint="definitions have changed since: train anew with `mainstem train`",
        )
    if not lesson.train.any():
        raise ModelError(
            "there is no new row to learn from, expected some after what the model has learned",
            code="model-045",
            hint="`mainstem models show current` tells up to which day the model has learned",
        )
    drift = vocabulary_drift(model, lesson)
    if drift.unseen_items > settings.most_unseen:
        raise ModelError(
            f"{100 * drift.unseen_items:.0f} % of the new rows are of items the model has never met, expected at most"
            f" {100 * settings.most_unseen:.0f} %: this looks like another log",
            code="model-048",
            hint="train anew with `mainstem train`",
        )
    return drift


def _wanted(model: Model, lesson: Lesson, settings: WarmSettings) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    items = lesson.catalog.items
    shown = lesson.values.item_row[lesson.train]
    counts = np.bincount(shown[shown >= 0], minlength=len(items))
    ids = items.ids[counts >= settings.least_events]
    return ids, np.unique(items.category_id[:-1][(counts > 0) & (items.category_id[:-1] >= 0)])


def _known(model: Model, lesson: Lesson) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    items = lesson.catalog.items
    return embedding_rows(model.ids, np.append(items.ids, -1)), embedding_rows(model.categories, items.category_id)


def _said(model: Model, lesson: Lesson, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """What the network that serves says of some rows, uncalibrated. Shapes: [rows, 8]."""
    network, out = model.network(lesson.catalog), []
    for start in range(0, len(rows), 16_384):
        v = lesson.rows.take(rows[start : start + 16_384])
        out.append(network.many(v.user, v.item_row, v.item, v.cross))
    return np.concatenate(out)


class _Batches:
    """The network's inputs of any rows of a lesson, features as they are."""

    def __init__(self, model: Model, lesson: Lesson) -> None:
        self._lesson = lesson
        self._ids, self._categories = _known(model, lesson)
        self._levels = completed(model.weights)["watch_at"]
        self._static = static_inputs(lesson.catalog)
        self._vectors, _ = lesson.statics.on(lesson.catalog)
        roles: tuple[Role, ...] = ("user", "item", "cross")
        self._defaults = {role: np.array(lesson.features.defaults_of(role), np.float32) for role in roles}

    def inputs(self, at: NDArray[np.int64]) -> list[Tensor]:
        """What ``Trunk.forward`` takes; a number that is not finite is its feature's default."""
        v = self._lesson.rows.take(at)
        parts: list[NDArray[Any]] = []
        for role, default in self._defaults.items():
            side = getattr(v, role)
            parts.append(np.where(np.isfinite(side), side, default))
        rows = v.item_row
        parts += [self._static[rows], self._vectors[rows], self._ids[rows], self._categories[rows]]
        return [torch.from_numpy(np.ascontiguousarray(one)) for one in parts]

    def loss(self, logits: Tensor, at: NDArray[np.int64]) -> Tensor:
        """The loss that the model was trained by."""
        outcomes = row_outcomes(self._lesson.feedback.take(at), self._levels, np.ones(len(at), np.float32))
        return Objective(ordinal=bool(len(self._levels)))(logits, outcomes)


def _learned(
    model: Model, lesson: Lesson, rows: NDArray[np.int64], settings: WarmSettings, progress: Progress
) -> dict[str, NDArray[np.float32]]:
    """The weights after the new rows have gone by."""
    net, batches = trunk_of(model), _Batches(model, lesson)
    draw = np.random.default_rng(settings.seed)
    sample = np.sort(draw.choice(rows, min(_SAMPLED, len(rows)), replace=False))
    start = {name: value.detach().clone() for name, value in net.named_parameters()}
    unit = _units(net, batches.inputs(sample))
    hold = _fisher(net, batches, sample, unit) if settings.fisher else {n: torch.ones_like(v) for n, v in start.items()}
    moved = {name: torch.zeros_like(value, requires_grad=True) for name, value in start.items()}
    steps = max(1, len(rows) // settings.batch) * settings.passes
    adam = torch.optim.Adam(moved.values(), lr=settings.rate)
    # Down to nothing: the last rows of a day must not leave the base rates where they happened to push them.
    falling = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.02, steps)
    net.train()
    for step, at in enumerate(_all_batches(rows, settings)):
        now = {name: start[name] + unit[name] * moved[name] for name in start}
        loss = batches.loss(torch.func.functional_call(net, now, tuple(batches.inputs(at))), at)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(list(moved.values()), 1.0)
        adam.step()
        _pull_back(moved, hold, settings.toward * float(falling.get_last_lr()[0]) / max(settings.rate, 1e-12))
        falling.step()
        progress((step + 1) / steps, f"batch {step + 1} of {steps}")
    net.load_state_dict({name: start[name] + unit[name] * moved[name].detach() for name in start})
    net.eval()
    return exported(net, _as_they_are(model))


@torch.no_grad()
def _pull_back(moved: State, hold: State, toward: float) -> None:
    """A step back toward yesterday, apart from the optimiser's, which would measure it by the noise of the gradients.

    Source: Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, with yesterday's weights as the origin.
    """
    for name, value in moved.items():
        value /= 1.0 + toward * hold[name]


def _all_batches(rows: NDArray[np.int64], settings: WarmSettings) -> Iterator[NDArray[np.int64]]:
    for one in range(settings.passes):
        yield from shuffled(rows, settings.batch, (settings.seed, one))


def _units(net: nn.Module, inputs: list[Tensor]) -> State:
    """How far one step moves each parameter: features come as they are, so a wide column's weights must move less."""
    unit = {name: torch.ones_like(value) for name, value in net.named_parameters()}
    spread: dict[str, Tensor] = {}

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            spread[name] = given[0].detach().std(dim=0).clamp(min=0.05)

        return hook

    hooks = [one.register_forward_hook(look(name)) for name, one in net.named_modules() if isinstance(one, nn.Linear)]
    with torch.no_grad():
        net.eval()(*inputs)
    for hook in hooks:
        hook.remove()
    for name, std in spread.items():
        unit[f"{name}.weight"] = unit[f"{name}.weight"] / std
    return unit


def _fisher(net: nn.Module, batches: _Batches, sample: NDArray[np.int64], unit: State) -> State:
    """Mean squared gradients at yesterday's weights, on average 1 and kept within a hundredfold."""
    total = {name: torch.zeros_like(value) for name, value in net.named_parameters()}
    net.eval()
    for at in np.array_split(sample, max(1, min(_PROBES, len(sample)))):
        net.zero_grad()
        batches.loss(net(*batches.inputs(np.sort(at))), np.sort(at)).backward()
        for name, value in net.named_parameters():
            if value.grad is not None:
                total[name] += (value.grad * unit[name]).square()
    net.zero_grad()
    flat = torch.cat([one.ravel() for one in total.values()])
    mean = flat.mean().clamp(min=1e-20)
    return {name: (one / mean).clamp(0.1, 10.0) for name, one in total.items()}


def _as_they_are(model: Model) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Standardisation that changes nothing: the weights hold it already."""
    roles: tuple[Role, ...] = ("user", "item", "cross")
    sizes = {role: len(model.features.columns_of(role)) for role in roles}
    return {role: (np.zeros(n, np.float32), np.ones(n, np.float32)) for role, n in sizes.items()}
