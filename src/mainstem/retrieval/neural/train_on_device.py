"""The encoder's training where there is a GPU: the same windows, recipe and card, another way to multiply.

On one CPU thread the loop in ``train`` wins by what it leaves out (a fused softmax in cache-sized tiles, dropout bits from
numpy). A GPU wants the opposite: large batches, torch's own dropout on the device, and bfloat16 through autocast. What comes
out is the same kind of model, served without torch.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import Sequences
from mainstem.retrieval.encoder_serving import EncoderModel
from mainstem.retrieval.neural.device import Where, compute_on
from mainstem.retrieval.neural.encoder import Noise, Rows, SequenceEncoder
from mainstem.retrieval.neural.recipes import Recipe
from mainstem.retrieval.neural.softmax_loss import Pool, draw_pool, pooled_softmax
from mainstem.retrieval.neural.train import Held, Progress, _copied, _follow, _Run, _schedule, _Training
from mainstem.retrieval.neural.windows import Batch, latest


class DeviceNoise(Noise):
    """Dropout by torch on whatever device the rows are: on while training sets a generator, whose numbers it leaves alone."""

    def drop(self, x: Tensor, share: float) -> Tensor:
        """See ``Noise``."""
        return x if self.rng is None else functional.dropout(x, share)


def train_encoder_on(
    fit: Sequences,
    recipe: Recipe,
    seed: int = 0,
    progress: Progress = lambda share, what: None,
    *,
    where: Where = "auto",
    held: Held | None = None,
    name: str = "encoder",
) -> EncoderModel:
    """The encoder of some sequences, trained on a GPU when there is one.

    No checkpoint is kept: on a GPU a run over sets of this size takes minutes. ``train.train_encoder`` is the loop for a CPU.

    Args:
        fit: What is learned from, and nothing else.
        recipe: How. ``places`` should be some ten times what a CPU takes; ``numbers`` is not read, a GPU takes bfloat16.
        seed: Of weights, windows, order and dropout; on a GPU the same seed gives about, not exactly, the same weights.
        progress: Told the share of epochs done and the last figure.
        where: To compute.
        held: Targets to stop by.
        name: How tables call the model.

    Raises:
        RetrievalError: ``retrieval-034`` and ``retrieval-036`` as in ``train_encoder``; ``retrieval-052`` no such device.
    """
    on = compute_on(where)
    if not (fit.lengths > 1).any():
        raise RetrievalError(
            f"found no user with two events in {fit.name!r}, expected some to learn from",
            code="retrieval-034",
            hint="take a longer log",
        )
    return _OnDevice(fit, recipe, seed, held, on, name).run(progress, None)


class _OnDevice(_Training):
    """The training's steps with everything but the windows on a device."""

    def __init__(
        self, fit: Sequences, recipe: Recipe, seed: int, held: Held | None, on: torch.device, name: str
    ) -> None:
        super().__init__(fit, recipe, seed, held, None, name)
        self.on = on

    def run(self, progress: Progress, most_epochs: int | None) -> EncoderModel:
        run = self.started()
        while run.epoch < self.recipe.epochs and not self.is_over(run):
            began = time.process_time()
            point = {"epoch": run.epoch + 1.0, "loss": self.learn_epoch(run)}
            run.epoch += 1
            if self.held is not None and (run.epoch % self.recipe.every == 0 or run.epoch == self.recipe.epochs):
                point |= self.looked(run.mean, self.held)
            run.spent_s += time.process_time() - began
            run.curve.append(point | {"cpu_s": round(run.spent_s, 2)})
            self.keep_best(run)
            progress(run.epoch / self.recipe.epochs, " ".join(f"{key} {value:.4f}" for key, value in point.items()))
        return self.exported(run)

    def started(self) -> _Run:
        run = super().started()
        for model in (run.model, run.mean):
            noise = DeviceNoise()
            for part in model.modules():
                if hasattr(part, "noise"):
                    # Plain assignment is for tensors and modules in torch's type stubs.
                    object.__setattr__(part, "noise", noise)
            # In place: the optimizer goes on holding the same parameters.
            model.to(self.on)
        run.best = _copied(run.mean)
        return run

    def learn_step(self, run: _Run, batch: Batch) -> float:
        rng = np.random.default_rng([self.seed, 1 << 20, run.steps])
        for group in run.optimizer.param_groups:
            group["lr"] = self.recipe.rate * _schedule(run.steps, self.recipe.epochs * self.steps_of_epoch)
        run.model.noise.rng = rng
        with self.narrow():
            loss = self.loss(run.model, batch, rng)
        run.model.noise.rng = None
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
        run.steps += 1
        _follow(run.mean, run.model, min(self.recipe.average, run.steps / (run.steps + 10.0)))
        return value

    def narrow(self) -> torch.autocast:
        """Products in bfloat16 where that is what a GPU is fast at."""
        return torch.autocast(self.on.type, dtype=torch.bfloat16, enabled=self.on.type == "cuda")

    def loss(self, model: SequenceEncoder, batch: Batch, rng: np.random.Generator) -> Tensor:
        """As in ``train``; what depends on the batch's content is decided before it goes to the device, which need not wait."""
        recipe = self.recipe
        keep = None
        if self.has_marks and recipe.id_dropout > 0.0:
            keep = torch.from_numpy((rng.random(self.fit.items) >= recipe.id_dropout).astype(np.float32)).to(self.on)
        vectors = model.item_vectors(keep)
        wanted = batch.targets.reshape(-1, batch.targets.shape[2])
        inside = np.flatnonzero(wanted[:, 0] >= 0)
        wanted = wanted[inside]
        states = model(self.rows(batch), vectors).flatten(0, 1)[torch.from_numpy(inside).to(self.on)]
        queries, keys, targets = model.queries(states), model.keys(vectors), torch.from_numpy(wanted).to(self.on)
        if recipe.negatives or recipe.shape.queries > 1:
            drawn = draw_pool(rng, self.share, recipe.negatives or 1024, recipe.in_batch, wanted[:, 0])
            pool = Pool(drawn.items.to(self.on), drawn.log_expected.to(self.on))
            return pooled_softmax(queries, keys, targets[:, 0], pool)
        mass = float(((wanted >= 0).sum(axis=0) * recipe.ahead_weight ** np.arange(wanted.shape[1])).sum())
        return _whole_softmax(queries[:, 0] @ keys.T, targets, recipe) / mass

    def looked(self, model: SequenceEncoder, held: Held) -> dict[str, float]:
        """As ``held.found_at``, on the device."""
        ranks = np.empty(len(held.users))
        order = np.argsort(self.fit.lengths[held.users], kind="stable")
        with torch.inference_mode():
            vectors = model.item_vectors()
            for at in range(0, len(order), 512):
                part = order[at : at + 512]
                ranks[part] = self.ranks(model, vectors, held.users[part], held.targets[part])
        found = ranks <= 10
        return {"hr@10": float(found.mean()), "ndcg@10": float(np.where(found, 1.0 / np.log2(1.0 + ranks), 0.0).mean())}

    def ranks(self, model: SequenceEncoder, vectors: Tensor, users: np.ndarray, targets: np.ndarray) -> np.ndarray:
        batch, history = latest(self.fit, model.shape.length, users), self.fit.take(users)
        each = torch.arange(len(users), device=self.on)
        last = torch.from_numpy(np.maximum(batch.lengths, 1) - 1).to(self.on)
        states = model(self.rows(batch), vectors)[each, last]
        scores = torch.einsum("nkd,id->nki", model.queries(states), model.keys(vectors)).amax(dim=1)
        wanted_items = torch.from_numpy(targets.astype(np.int64)).to(self.on)
        wanted = scores[each, wanted_items]
        owners = torch.from_numpy(np.repeat(np.arange(len(users)), history.lengths)).to(self.on)
        scores[owners, torch.from_numpy(history.rows.astype(np.int64)).to(self.on)] = -torch.inf
        scores[each, wanted_items] = wanted
        above, level = (scores > wanted[:, None]).sum(dim=1), (scores == wanted[:, None]).sum(dim=1)
        return (1.0 + above + (level - 1) / 2.0).cpu().numpy()

    def rows(self, batch: Batch) -> Rows:
        times = None if batch.times_ms is None else torch.from_numpy(batch.times_ms).to(self.on)
        return Rows(torch.from_numpy(batch.items).to(self.on), torch.from_numpy(batch.lengths).to(self.on), times)

    def exported(self, run: _Run) -> EncoderModel:
        run.mean.to("cpu")
        run.best = {name: value.cpu() for name, value in run.best.items()}
        model = super().exported(run)
        model.card["device"] = self.on.type
        return model


def _whole_softmax(logits: Tensor, targets: Tensor, recipe: Recipe) -> Tensor:
    """The summed cross entropy over all items of one or several wanted ones, weighted as in ``softmax_loss.full_softmax``."""
    total = logits.new_zeros((), dtype=torch.float32)
    for step in range(targets.shape[1]):
        each = functional.cross_entropy(
            logits.float(), targets[:, step], ignore_index=-1, reduction="sum", label_smoothing=recipe.smoothing
        )
        total = total + recipe.ahead_weight**step * each
    return total
