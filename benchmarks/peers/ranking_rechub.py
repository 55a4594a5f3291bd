"""torch-rechub: DeepFM and PLE by its own layers and trainers, and the organisers' factorisation machine in plain PyTorch."""

from __future__ import annotations

import random

import numpy as np
import torch
from measured import Job, cpu_s
from ranking_rows import Ranking
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import PLE
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer, MTLTrainer

NAMES = ("user", "item", "creator", "category", "scenario")
TASKS = ("long_view", "like")
"""PLE's tasks: the outcomes that every row knows (history rows have no others)."""


class Machine(torch.nn.Module):
    """A factorisation machine of five fields, k = 16. Source: Rendle 2010; the organisers' description."""

    def __init__(self, sizes: list[int], k: int = 16) -> None:
        super().__init__()
        self.starts = torch.tensor(np.concatenate([[0], np.cumsum(sizes[:-1])]))
        self.first, self.second = torch.nn.Embedding(sum(sizes), 1), torch.nn.Embedding(sum(sizes), k)
        torch.nn.init.zeros_(self.first.weight)
        torch.nn.init.normal_(self.second.weight, std=0.01)
        self.bias = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        at = torch.stack([x[name] for name in NAMES], dim=1) + self.starts
        v = self.second(at)
        pairs = 0.5 * (v.sum(1).square() - v.square().sum(1)).sum(1)
        return torch.sigmoid(self.bias + self.first(at).sum((1, 2)) + pairs)


class Batches:
    """What a DataLoader gives, cut from whole tensors: rows one by one cost more than the training."""

    def __init__(self, x: dict[str, torch.Tensor], y: torch.Tensor, size: int, seed: int | None) -> None:
        self.x, self.y, self.size = x, y, size
        self.random = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.y) // self.size)

    def __iter__(self):
        order = torch.arange(len(self.y)) if self.random is None else torch.randperm(len(self.y), generator=self.random)
        for rows in order.split(self.size):
            yield {name: part[rows] for name, part in self.x.items()}, self.y[rows]


def network(job: Job, rows: Ranking) -> tuple[torch.nn.Module, object]:
    ids = [SparseFeature(name, vocab_size=size, embed_dim=16) for name, size in zip(NAMES, rows.sizes, strict=True)]
    dense = [DenseFeature("features", embed_dim=rows.train_x.shape[1])]
    steps = {"lr": 1e-3, "weight_decay": 1e-5}
    told = {"n_epoch": int(job.asked["settings"]["epochs"]), "earlystop_patience": 2, "model_path": str(job.folder)}
    if job.model == "fm":
        model = Machine(rows.sizes)
        return model, CTRTrainer(model, optimizer_params={"lr": 2e-3, "weight_decay": 1e-5}, **told)
    if job.model == "deepfm":
        model = DeepFM(dense + ids, ids, {"dims": [128, 64], "dropout": 0.2, "activation": "relu"})
        return model, CTRTrainer(model, optimizer_params=steps, **told)
    tower = {"dims": [32], "dropout": 0.1, "activation": "relu"}
    expert = {"dims": [96], "dropout": 0.1, "activation": "relu"}
    model = PLE(dense + ids, ["classification"] * len(TASKS), 1, 2, 1, expert, [tower] * len(TASKS))
    return model, MTLTrainer(model, ["classification"] * len(TASKS), optimizer_params=steps, **told)


def main() -> None:
    torch.set_num_threads(1)
    job = Job()
    random.seed(job.seed)
    np.random.seed(job.seed)
    torch.manual_seed(job.seed)
    rows = Ranking(job)
    began = cpu_s()
    mean, spread = rows.train_x.mean(0), np.maximum(rows.train_x.std(0), 1e-6)

    def inputs(x: np.ndarray, ids: np.ndarray) -> dict[str, torch.Tensor]:
        found = {name: torch.from_numpy(ids[:, at].astype(np.int64)) for at, name in enumerate(NAMES)}
        if job.model == "fm":
            return found
        scaled = np.clip((x - mean) / spread, -8, 8).astype(np.float32)
        return found | {"features": torch.from_numpy(scaled)}

    def labels(part: str, kept: slice | np.ndarray = slice(None)) -> torch.Tensor:
        heads = TASKS if job.model == "ple" else TASKS[:1]
        found = torch.from_numpy(np.stack([rows.label(part, head)[kept] for head in heads], axis=1))
        return found if job.model == "ple" else found[:, 0]

    model, trainer = network(job, rows)
    size = int(job.asked["settings"]["batch"])
    held = rows.validation("frozen")
    taught = Batches(inputs(rows.train_x, rows.train_ids), labels("train"), size, job.seed)
    stop = Batches(inputs(held.x, held.ids), labels("judged", ~job.array("judged_test")), 8_192, None)
    trainer.fit(taught, stop)
    best = trainer.early_stopper.best_weights
    if best:
        model.load_state_dict(best)
    fit_cpu_s = cpu_s() - began
    found = {regime: answer(model, inputs(rows.judged_x(regime), rows.judged_ids)) for regime in rows.regimes}
    job.answer(fit_cpu_s, ["torch-rechub", "torch"], job.asked["settings"], **found)


@torch.no_grad()
def answer(model: torch.nn.Module, x: dict[str, torch.Tensor]) -> np.ndarray:
    model.eval()
    n = len(x["user"])
    parts = [model({name: part[rows] for name, part in x.items()}) for rows in torch.arange(n).split(8_192)]
    found = torch.cat(parts)
    return (found[:, 0] if found.dim() == 2 else found).numpy().astype(np.float32)


if __name__ == "__main__":
    main()
