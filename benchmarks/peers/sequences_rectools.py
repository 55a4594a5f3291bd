"""RecTools: EASE and SASRec through its own Dataset and recommend()."""

from __future__ import annotations

import numpy as np
import torch
from measured import Job, Sequences, cpu_s, lists_of
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import EASEModel, SASRecModel


def sasrec(job: Job) -> SASRecModel:
    """Its defaults but for what makes it fit one thread of a CPU: 50 events a user, 64 wide, so many epochs."""
    from pytorch_lightning import Trainer, seed_everything

    seed_everything(job.seed, workers=True)
    epochs = int(job.asked["settings"]["epochs"])

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=epochs, min_epochs=epochs, accelerator="cpu", devices=1, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, deterministic=True,
        )  # fmt: skip

    return SASRecModel(
        session_max_len=50,
        n_factors=64,
        n_blocks=2,
        n_heads=1,
        loss="softmax",
        batch_size=128,
        dataloader_num_workers=0,
        get_trainer_func=trainer,
        recommend_torch_device="cpu",
    )


def main() -> None:
    torch.set_num_threads(1)
    job = Job()
    told = Sequences(job)
    dataset = Dataset.construct(told.frame(Columns.User, Columns.Item))
    began = cpu_s()
    model = (
        EASEModel(regularization=500, recommend_n_threads=1, recommend_use_gpu_ranking=False)
        if job.model == "ease"
        else sasrec(job)
    )
    model.fit(dataset)
    fit_cpu_s = cpu_s() - began
    found = model.recommend(users=told.judged, dataset=dataset, k=told.k, filter_viewed=True)
    items, scores = found[Columns.Item].to_numpy(), found[Columns.Score].to_numpy()
    users = found[Columns.User].to_numpy()
    rows = _rows(users)
    none = np.zeros(0, np.int64)
    picked = [rows.get(int(user), none) for user in told.judged]
    lists, values = lists_of([items[one] for one in picked], [scores[one] for one in picked], told.k)
    job.answer(fit_cpu_s, ["rectools", "torch", "pytorch-lightning"], job.asked["settings"], lists=lists, scores=values)


def _rows(users: np.ndarray) -> dict[int, np.ndarray]:
    """Where each user's rows are; they stand together, best first."""
    first = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    last = np.r_[first[1:], len(users)]
    return {int(users[a]): np.arange(a, b) for a, b in zip(first, last, strict=True)}


if __name__ == "__main__":
    main()
