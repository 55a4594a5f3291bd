"""Trains a sequence encoder on one thread: all windows, a fused softmax, a running mean of the weights, stopped on validation.

Every random number of a step is a function of (seed, epoch, step), so a training that was killed goes on from its last
checkpoint to the same bytes.
"""

from __future__ import annotations

import copy
import math
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import Sequences
from mainstem.retrieval.encoder_serving import EncoderModel
from mainstem.retrieval.neural.checkpoint import read_state, write_state
from mainstem.retrieval.neural.encoder import SequenceEncoder
from mainstem.retrieval.neural.held import Held, found_at, held_of, rows_of
from mainstem.retrieval.neural.recipes import Recipe
from mainstem.retrieval.neural.softmax_loss import draw_pool, full_softmax, pooled_softmax
from mainstem.retrieval.neural.warm_start import warm_table
from mainstem.retrieval.neural.windows import Batch, batches, cut

__all__ = ["Held", "held_of", "number_kind", "train_encoder"]

Progress = Callable[[float, str], None]
Numbers = NDArray[Any]


@dataclass(slots=True)
class _Run:
    """A training as far as it is: everything that a checkpoint holds."""

    model: SequenceEncoder
    mean: SequenceEncoder
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor]
    epoch: int = 0
    steps: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    spent_s: float = 0.0


def train_encoder(
    fit: Sequences,
    recipe: Recipe,
    seed: int = 0,
    progress: Progress = lambda share, what: None,
    *,
    held: Held | None = None,
    folder: Path | None = None,
    name: str = "encoder",
    most_epochs: int | None = None,
) -> EncoderModel:
    """The encoder of some sequences.

    Args:
        fit: What is learned from, and nothing else; in the strict protocol without the validation events.
        recipe: How.
        seed: Of weights, windows, order and dropout.
        progress: Told the share of epochs done and the last figure.
        held: Targets to stop by; None trains the whole schedule and keeps the last weights.
        folder: Where checkpoints are kept, one an epoch; a training found there goes on.
        name: How tables call the model.
        most_epochs: Stop after so many epochs of the schedule, as if killed; for figures at a budget.

    Raises:
        RetrievalError: ``retrieval-034`` nothing to learn from; ``retrieval-035`` a checkpoint of another training;
            ``retrieval-036`` a loss that is not a number; ``retrieval-031`` and ``retrieval-032`` as in ``read_state``.
    """
    if not (fit.lengths > 1).any():
        raise RetrievalError(
            f"found no user with two events in {fit.name!r}, expected some to learn from",
            code="retrieval-034",
            hint="take a longer log",
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _Training(fit, recipe, seed, held, folder, name).run(progress, most_epochs)
    finally:
        torch.set_num_threads(threads)


class _Training:
    """What stays the same during a training, and its steps."""

    def __init__(
        self, fit: Sequences, recipe: Recipe, seed: int, held: Held | None, folder: Path | None, name: str
    ) -> None:
        self.fit, self.recipe, self.seed, self.held, self.name = fit, recipe, seed, held, name
        self.checkpoint = None if folder is None else folder / "checkpoint.bin"
        self.kind = number_kind(recipe.numbers)
        self.counts = np.bincount(fit.rows, minlength=fit.items).astype(np.float32)
        self.share = self.counts.astype(np.float64) / max(1.0, float(self.counts.sum()))
        self.has_marks = recipe.shape.content and fit.content is not None
        self.same = {
            "seed": seed,
            "recipe": asdict(recipe),
            "numbers": str(self.kind),
            "data": fit.sha256,
            "events": len(fit.rows),
            "rows_sum": int(fit.rows.astype(np.int64) @ (np.arange(len(fit.rows)) % 8191)),
        }

    def run(self, progress: Progress, most_epochs: int | None) -> EncoderModel:
        run = self.started()
        last = min(self.recipe.epochs, most_epochs or self.recipe.epochs)
        while run.epoch < last and not self.is_over(run):
            began = time.process_time()
            loss = self.learn_epoch(run)
            run.epoch += 1
            look = run.epoch % self.recipe.every == 0 or run.epoch == last
            point = {"epoch": float(run.epoch), "loss": loss}
            if look and self.held is not None:
                point |= found_at(run.mean, self.fit, self.held, self.kind)
            run.spent_s += time.process_time() - began
            run.curve.append(point | {"cpu_s": round(run.spent_s, 2)})
            self.keep_best(run)
            self.store(run)
            progress(run.epoch / self.recipe.epochs, " ".join(f"{key} {value:.4f}" for key, value in point.items()))
        return self.exported(run)

    def started(self) -> _Run:
        """A new training, or the one its checkpoint tells of."""
        began = time.process_time()
        recipe = self.recipe
        torch.manual_seed(self.seed)
        model = SequenceEncoder(recipe.shape, self.fit.items, self.fit.content)
        resumed = self.checkpoint is not None and self.checkpoint.exists()
        with torch.no_grad():
            if recipe.warm and not resumed:
                model.ids.copy_(torch.from_numpy(warm_table(self.fit, recipe.shape.dim, self.seed)))
            model.ids.mul_(recipe.start)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=recipe.decay, fused=True
        )
        run = _Run(model, copy.deepcopy(model), optimizer, {})
        run.best = _copied(model)
        if resumed:
            self.restore(run)
        run.spent_s += time.process_time() - began
        return run

    def learn_epoch(self, run: _Run) -> float:
        """One pass over all windows; the mean loss."""
        rng = np.random.default_rng([self.seed, run.epoch])
        windows = cut(self.fit, self.recipe.shape.length, rng)
        self.steps_of_epoch = -(-int(windows.lengths.sum()) // self.recipe.places)
        losses, places = 0.0, 0
        for batch in batches(self.fit, windows, self.recipe.places, rng, self.recipe.ahead):
            weight = int(batch.lengths.sum())
            losses += self.learn_step(run, batch) * weight
            places += weight
        return losses / places

    def learn_step(self, run: _Run, batch: Batch) -> float:
        recipe, rng = self.recipe, np.random.default_rng([self.seed, 1 << 20, run.steps])
        for group in run.optimizer.param_groups:
            group["lr"] = recipe.rate * _schedule(run.steps, recipe.epochs * self.steps_of_epoch)
        run.model.noise.rng = rng
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.kind == torch.bfloat16):
            loss = self.loss(run.model, batch, rng)
        value = loss.item()
        if not math.isfinite(value):
            raise RetrievalError(
                f"found the loss {value} in step {run.steps}, expected a number: the steps are too large",
                code="retrieval-036",
                hint="lower the recipe's rate",
            )
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
        run.model.noise.rng = None
        run.steps += 1
        _follow(run.mean, run.model, min(recipe.average, run.steps / (run.steps + 10.0)))
        return value

    def loss(self, model: SequenceEncoder, batch: Batch, rng: np.random.Generator) -> Tensor:
        recipe = self.recipe
        keep = None
        if self.has_marks and recipe.id_dropout > 0.0:
            keep = torch.from_numpy((rng.random(self.fit.items) >= recipe.id_dropout).astype(np.float32))
        vectors = model.item_vectors(keep)
        targets = torch.from_numpy(batch.targets).flatten(0, 1)
        inside = targets[:, 0] >= 0
        states = model(rows_of(batch), vectors).flatten(0, 1)[inside]
        queries, keys, targets = model.queries(states), model.keys(vectors), targets[inside]
        if recipe.negatives == 0 and recipe.shape.queries == 1:
            weights = torch.tensor([recipe.ahead_weight**step for step in range(recipe.ahead)]).expand(len(targets), -1)
            return full_softmax(queries[:, 0], keys, targets, weights, recipe.smoothing, self.kind)
        pool = draw_pool(rng, self.share, recipe.negatives or 1024, recipe.in_batch, targets[:, 0].numpy())
        return pooled_softmax(queries, keys, targets[:, 0], pool)

    def is_over(self, run: _Run) -> bool:
        """No better figure for too many looks."""
        looks = [point["ndcg@10"] for point in run.curve if "ndcg@10" in point]
        return len(looks) - int(np.argmax(looks)) > self.recipe.patience if looks else False

    def keep_best(self, run: _Run) -> None:
        looks = [point["ndcg@10"] for point in run.curve if "ndcg@10" in point]
        if self.held is None or ("ndcg@10" in run.curve[-1] and looks[-1] >= max(looks)):
            run.best = _copied(run.mean)

    def store(self, run: _Run) -> None:
        if self.checkpoint is None:
            return
        arrays = {f"model.{name}": value.numpy() for name, value in run.model.state_dict().items()}
        arrays |= {f"mean.{name}": value.numpy() for name, value in run.mean.state_dict().items()}
        arrays |= {f"best.{name}": value.numpy() for name, value in run.best.items()}
        for number, state in run.optimizer.state_dict()["state"].items():
            arrays |= {f"optimizer.{number}.{name}": value.numpy() for name, value in state.items()}
        card = {"of": self.same, "epoch": run.epoch, "steps": run.steps, "curve": run.curve, "spent_s": run.spent_s}
        write_state(self.checkpoint, arrays, card)

    def restore(self, run: _Run) -> None:
        assert self.checkpoint is not None
        arrays, card = read_state(self.checkpoint)
        if card["of"] != self.same:
            other = sorted(key for key, value in self.same.items() if card["of"].get(key) != value)
            raise RetrievalError(
                f"found a checkpoint in {self.checkpoint.parent} of a training that differs in {', '.join(other)}, "
                "expected one of the same data, recipe and seed",
                code="retrieval-035",
                hint=f"delete {self.checkpoint.name} to start anew, or name another folder",
            )
        run.model.load_state_dict(_part(arrays, "model."))
        run.mean.load_state_dict(_part(arrays, "mean."))
        run.best = _part(arrays, "best.")
        held = run.optimizer.state_dict()
        for name, value in _part(arrays, "optimizer.").items():
            number, _, field_name = name.partition(".")
            held["state"].setdefault(int(number), {})[field_name] = value
        run.optimizer.load_state_dict(held)
        run.epoch, run.steps, run.curve = card["epoch"], card["steps"], card["curve"]
        run.spent_s = card["spent_s"]

    def exported(self, run: _Run) -> EncoderModel:
        """The kept weights as serving reads them; an item never learned from keeps only what its marks say."""
        run.mean.load_state_dict(run.best)
        with torch.no_grad():
            run.mean.ids.mul_(torch.from_numpy((self.counts > 0).astype(np.float32))[:, None])
            weights = {name: value.numpy().copy() for name, value in run.mean.state_dict().items() if name != "ids"}
            weights["vectors"] = run.mean.item_vectors().numpy().copy()
        weights["counts"] = self.counts
        card = {
            "name": self.name,
            "shape": asdict(self.recipe.shape),
            "training": self.same,
            "data": self.fit.name,
            "epochs": run.epoch,
            "curve": run.curve,
            "parameters": sum(value.numel() for value in run.model.parameters()),
            "train_cpu_s": round(run.spent_s, 1),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        return EncoderModel(weights=weights, card=card)


def number_kind(numbers: str) -> torch.dtype:
    """Which numbers the products of a training are in; ``auto`` takes bfloat16 where the processor has tiles for it."""
    if numbers == "auto":
        numbers = "bfloat16" if torch.cpu._is_amx_tile_supported() else "float32"
    return torch.bfloat16 if numbers == "bfloat16" else torch.float32


def _schedule(step: int, steps: int) -> float:
    """A rise over a fiftieth of the steps, then a cosine down to a hundredth."""
    rise = max(1.0, steps / 50.0)
    down = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(1, steps))))
    return min(1.0, (step + 1) / rise) * down


@torch.no_grad()
def _follow(mean: SequenceEncoder, model: SequenceEncoder, keep: float) -> None:
    """Moves the running mean one step towards the model."""
    for slow, fast in zip(mean.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1.0 - keep)


def _copied(model: SequenceEncoder) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _part(arrays: dict[str, Numbers], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: torch.from_numpy(value) for name, value in arrays.items() if name.startswith(prefix)}
