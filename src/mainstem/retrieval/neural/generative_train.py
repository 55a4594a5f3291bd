"""Trains a generative retriever: cross entropy over the codes of what came next, at every place of every window."""

from __future__ import annotations

import copy
import math
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import Sequences
from mainstem.retrieval.neural.checkpoint import read_state, write_state
from mainstem.retrieval.neural.device import Where, compute_on
from mainstem.retrieval.neural.encoder import EncoderShape
from mainstem.retrieval.neural.generative import GenerativeNet
from mainstem.retrieval.neural.generative_model import GenerativeModel, code_rows
from mainstem.retrieval.neural.windows import Batch, batches, cut
from mainstem.retrieval.semantic_ids import SemanticIds

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class GenerativeRecipe:
    """How a generative retriever is trained.

    Attributes:
        shape: Of the stack that reads the history.
        epochs: The schedule's length; training may stop earlier.
        patience: Looks at held targets without a better one before it stops.
        every: Epochs between two looks.
        looked_at: Most users a look asks about; all of a large set would cost as much as an epoch.
        beam: With which a look searches; None scores every item.
        places: Places a batch holds.
        rate: Highest step size; it rises over the first steps and falls as a cosine.
        decay: Weight decay, apart from the step size.
        average: Of the running mean of the weights, which is what is judged and kept; 0 keeps the last weights.
    """

    shape: EncoderShape = field(default_factory=EncoderShape)
    epochs: int = 20
    patience: int = 3
    every: int = 2
    looked_at: int = 1_500
    beam: int | None = 50
    places: int = 3_200
    rate: float = 2e-3
    decay: float = 0.0
    average: float = 0.99


@dataclass(slots=True)
class _Run:
    """A training as far as it is: everything that a checkpoint holds."""

    net: GenerativeNet
    mean: GenerativeNet
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor]
    epoch: int = 0
    steps: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    spent_s: float = 0.0


def train_generative(
    fit: Sequences,
    ids: SemanticIds,
    recipe: GenerativeRecipe,
    seed: int = 0,
    progress: Progress = lambda share, what: None,
    *,
    held: tuple[NDArray[np.int64], NDArray[np.int32]] | None = None,
    where: Where = "cpu",
    folder: Path | None = None,
    name: str = "generative",
    most_epochs: int | None = None,
) -> GenerativeModel:
    """The generative retriever of some sequences.

    Args:
        fit: What is learned from, and nothing else.
        ids: Of its items; learned from nothing but ``fit`` and content too, or figures leak.
        recipe: How.
        seed: Of weights, windows, order and dropout.
        progress: Told the share of epochs done and the last figures.
        held: Users (rows of ``fit``) and their targets to stop by; None trains the whole schedule.
        where: To compute; the same bytes for the same seed are promised on the CPU alone.
        folder: Where a checkpoint is kept, one an epoch; a training found there goes on.
        name: How tables call the model.
        most_epochs: Stop after so many epochs of the schedule, as if killed.

    Raises:
        RetrievalError: ``retrieval-051`` ids of another catalog; ``retrieval-052`` no such device; ``retrieval-057`` nothing
            to learn from, or a loss that is not a number; ``retrieval-059`` a checkpoint of another training.
    """
    ids.check(fit.items, f"{fit.name!r}")
    if not (fit.lengths > 1).any():
        raise RetrievalError(
            f"found no user with two events in {fit.name!r}, expected some to learn from",
            code="retrieval-057",
            hint="mainstem data check",
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _Training(fit, ids, recipe, seed, held, where, folder, name).run(progress, most_epochs)
    finally:
        torch.set_num_threads(threads)


class _Training:
    """What stays the same during a training, and its steps."""

    def __init__(
        self,
        fit: Sequences,
        ids: SemanticIds,
        recipe: GenerativeRecipe,
        seed: int,
        held: tuple[NDArray[np.int64], NDArray[np.int32]] | None,
        where: Where,
        folder: Path | None,
        name: str,
    ) -> None:
        self.fit, self.ids, self.recipe, self.seed, self.name = fit, ids, recipe, seed, name
        self.on = compute_on(where)
        self.checkpoint = None if folder is None else folder / "checkpoint.bin"
        self.held = None
        if held is not None:
            some = np.random.default_rng(seed).permutation(len(held[0]))[: recipe.looked_at]
            self.held = held[0][some], held[1][some]
        self.codes = torch.from_numpy(code_rows(ids))
        prefix = ids.prefix(ids.levels)
        self.alone = torch.from_numpy(np.append(np.bincount(prefix)[prefix] == 1, True))
        self.same: dict[str, Any] = {
            "seed": seed,
            "recipe": asdict(recipe),
            "ids": ids.sha256,
            "data": fit.sha256,
            "events": len(fit.rows),
            "rows_sum": int(fit.rows.astype(np.int64) @ (np.arange(len(fit.rows)) % 8191)),
        }
        self.steps_of_epoch = max(1, -(-len(fit.rows) // recipe.places))

    def run(self, progress: Progress, most_epochs: int | None) -> GenerativeModel:
        run = self.started()
        last = min(self.recipe.epochs, most_epochs or self.recipe.epochs)
        while run.epoch < last and not self.is_over(run):
            began = time.process_time()
            point = {"epoch": run.epoch + 1.0, "loss": self.learn_epoch(run)}
            run.epoch += 1
            if self.held is not None and (run.epoch % self.recipe.every == 0 or run.epoch == last):
                point |= self.look(run)
            run.spent_s += time.process_time() - began
            run.curve.append(point | {"cpu_s": round(run.spent_s, 2)})
            self.keep_best(run)
            self.store(run)
            progress(
                run.epoch / self.recipe.epochs, " ".join(f"{key} {value:.4f}" for key, value in run.curve[-1].items())
            )
        return self.finished(run)

    def started(self) -> _Run:
        """A new training, or the one its checkpoint tells of."""
        torch.manual_seed(self.seed)
        net = GenerativeNet(self.recipe.shape, self.ids).to(self.on)
        rate, decay = self.recipe.rate, self.recipe.decay
        adam = torch.optim.AdamW(net.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=decay, fused=True)
        run = _Run(net, copy.deepcopy(net), adam, _copied(net))
        if self.checkpoint is not None and self.checkpoint.exists():
            self.restore(run)
        return run

    def learn_epoch(self, run: _Run) -> float:
        """One pass over all windows; the mean loss of a place."""
        rng = np.random.default_rng([self.seed, run.epoch])
        losses, places = 0.0, 0
        for batch in batches(self.fit, cut(self.fit, self.recipe.shape.length, rng), self.recipe.places, rng):
            weight = int(batch.lengths.sum())
            losses += self.learn_step(run, batch) * weight
            places += weight
        return losses / places

    def learn_step(self, run: _Run, batch: Batch) -> float:
        for group in run.optimizer.param_groups:
            group["lr"] = self.recipe.rate * _schedule(run.steps, self.recipe.epochs * self.steps_of_epoch)
        run.net.noise.rng = np.random.default_rng([self.seed, 1 << 20, run.steps])
        loss = self.loss(run.net, batch)
        run.net.noise.rng = None
        value = loss.item()
        if not math.isfinite(value):
            raise RetrievalError(
                f"found the loss {value} in step {run.steps}, expected a number: the steps are too large",
                code="retrieval-057",
                hint="lower the recipe's rate",
            )
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
        run.steps += 1
        keep = min(self.recipe.average, run.steps / (run.steps + 10.0))
        with torch.no_grad():
            for kept, new in zip(run.mean.parameters(), run.net.parameters(), strict=True):
                kept.lerp_(new, 1.0 - keep)
        return value

    def loss(self, net: GenerativeNet, batch: Batch) -> Tensor:
        """The first item of a window is wanted too: after nothing, what people begin with."""
        items = torch.from_numpy(batch.items)
        wanted = torch.cat([items[:, :1], torch.from_numpy(batch.targets[:, :, 0])], dim=1).flatten()
        inside = torch.nonzero(wanted >= 0).flatten()
        states = net.states(self.codes[items][:, :, : self.ids.levels].to(self.on)).flatten(0, 1)[inside.to(self.on)]
        return net.loss(states, self.codes[wanted[inside]].to(self.on), self.alone[wanted[inside]].to(self.on))

    def look(self, run: _Run) -> dict[str, float]:
        """How well held targets are found among all items that are not in the history."""
        assert self.held is not None
        users, targets = self.held
        model = GenerativeModel(run.mean, self.ids, {}, self.recipe.beam)
        gains, hits = np.empty(len(users)), np.empty(len(users))
        for at in range(0, len(users), 500):
            part = slice(at, at + 500)
            histories = self.fit.take(users[part])
            scores = model.scores(histories)
            each = np.arange(len(histories))
            wanted = scores[each, targets[part]]
            scores[np.repeat(each, histories.lengths), histories.rows] = -np.inf
            scores[each, targets[part]] = wanted
            # Items outside the beam tie: their share of places counts, as in the evaluator.
            above = (scores > wanted[:, None]).sum(axis=1) + ((scores == wanted[:, None]).sum(axis=1) - 1) / 2.0
            hits[part] = above < 10
            gains[part] = np.where(above < 10, 1.0 / np.log2(2.0 + above), 0.0)
        return {"hr@10": float(hits.mean()), "ndcg@10": float(gains.mean())}

    def is_over(self, run: _Run) -> bool:
        looks = [point["ndcg@10"] for point in run.curve if "ndcg@10" in point]
        return bool(looks) and len(looks) - 1 - int(np.argmax(looks)) >= self.recipe.patience

    def keep_best(self, run: _Run) -> None:
        looks = [point["ndcg@10"] for point in run.curve if "ndcg@10" in point]
        if self.held is None or ("ndcg@10" in run.curve[-1] and looks[-1] >= max(looks)):
            run.best = _copied(run.mean)

    def store(self, run: _Run) -> None:
        if self.checkpoint is None:
            return
        arrays = {f"net.{name}": value.cpu().numpy() for name, value in run.net.state_dict().items()}
        arrays |= {f"mean.{name}": value.cpu().numpy() for name, value in run.mean.state_dict().items()}
        arrays |= {f"best.{name}": value.cpu().numpy() for name, value in run.best.items()}
        for number, state in run.optimizer.state_dict()["state"].items():
            arrays |= {f"optimizer.{number}.{name}": value.cpu().numpy() for name, value in state.items()}
        card = {"of": self.same, "epoch": run.epoch, "steps": run.steps, "curve": run.curve, "spent_s": run.spent_s}
        write_state(self.checkpoint, arrays, card)

    def restore(self, run: _Run) -> None:
        assert self.checkpoint is not None
        arrays, card = read_state(self.checkpoint)
        if card.get("of") != self.same:
            other = sorted(key for key, value in self.same.items() if card.get("of", {}).get(key) != value)
            raise RetrievalError(
                f"found a checkpoint in {self.checkpoint.parent} of a training that differs in {', '.join(other)}, "
                "expected one of the same data, ids, recipe and seed",
                code="retrieval-059",
                hint=f"delete {self.checkpoint.name} to start anew, or name another folder",
            )
        run.net.load_state_dict(_part(arrays, "net."))
        run.mean.load_state_dict(_part(arrays, "mean."))
        run.best = {name: value.to(self.on) for name, value in _part(arrays, "best.").items()}
        held = run.optimizer.state_dict()
        for key, value in _part(arrays, "optimizer.").items():
            number, _, of = key.partition(".")
            held["state"].setdefault(int(number), {})[of] = value
        run.optimizer.load_state_dict(held)
        run.epoch, run.steps, run.curve = card["epoch"], card["steps"], card["curve"]
        run.spent_s = card["spent_s"]

    def finished(self, run: _Run) -> GenerativeModel:
        run.mean.load_state_dict(run.best)
        card = {
            "name": self.name,
            "shape": asdict(self.recipe.shape),
            "training": self.same,
            "data": self.fit.name,
            "device": self.on.type,
            "epochs": run.epoch,
            "curve": run.curve,
            "parameters": sum(value.numel() for value in run.net.parameters()),
            "train_cpu_s": round(run.spent_s, 1),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        return GenerativeModel(run.mean.to("cpu"), self.ids, card)


RECIPES: Final[dict[str, GenerativeRecipe]] = {
    "ml-100k": GenerativeRecipe(EncoderShape(length=50), epochs=8, every=4, looked_at=300, rate=3e-3),
    "beauty": GenerativeRecipe(EncoderShape(length=20), epochs=8, every=8, looked_at=300, rate=4e-3),
}
"""What was run, for a minute of one CPU thread; nothing was chosen among several, and the loss was still falling at the end."""


def _schedule(step: int, steps: int) -> float:
    """A rise over a fiftieth of the steps, then a cosine down to a hundredth."""
    rise = max(1.0, steps / 50.0)
    down = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(1, steps))))
    return min(1.0, (step + 1) / rise) * down


def _copied(net: GenerativeNet) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def _part(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: torch.from_numpy(value) for name, value in arrays.items() if name.startswith(prefix)}
