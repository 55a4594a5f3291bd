"""LightGBM LambdaRank on the ranker's own features, groups are users; stopped on frozen validation rows."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
from measured import Job, cpu_s
from ranking_rows import Ranking

SETTINGS = {
    "objective": "lambdarank",
    "metric": "ndcg",
    "ndcg_eval_at": [5],
    "learning_rate": 0.05,
    "num_leaves": 63,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambdarank_truncation_level": 10,
    "num_threads": 1,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
}


def main() -> None:
    job = Job()
    rows = Ranking(job)
    began = cpu_s()
    # A group is a user's rows; the category of the scenario is read as one.
    order = np.argsort(rows.train_user, kind="stable")
    x = np.concatenate([rows.train_x[order], rows.train_ids[order, 4:5]], axis=1)
    weight = np.where(rows.train_timed[order], 1.0, rows.untimed_weight)
    taught = lgb.Dataset(
        x, rows.label("train")[order], group=_sizes(rows.train_user[order]), weight=weight, categorical_feature=[x.shape[1] - 1]
    )  # fmt: skip
    held = rows.validation("frozen")
    by_user = np.argsort(held.user, kind="stable")
    held_x = np.concatenate([held.x[by_user], held.ids[by_user, 4:5]], axis=1)
    stop = lgb.Dataset(held_x, held.label[by_user], group=_sizes(held.user[by_user]), reference=taught)
    model = lgb.train(
        SETTINGS | {"seed": job.seed},
        taught,
        num_boost_round=int(job.asked["settings"]["rounds"]),
        valid_sets=[stop],
        callbacks=[lgb.early_stopping(30, verbose=False)],
    )
    fit_cpu_s = cpu_s() - began
    found = {}
    for regime in rows.regimes:
        asked = np.concatenate([rows.judged_x(regime), rows.judged_ids[:, 4:5]], axis=1)
        found[regime] = np.asarray(model.predict(asked, num_threads=1), np.float32)
    job.answer(fit_cpu_s, ["lightgbm"], SETTINGS | {"trees": model.best_iteration}, **found)


def _sizes(users: np.ndarray) -> np.ndarray:
    return np.diff(np.r_[np.flatnonzero(np.r_[True, users[1:] != users[:-1]]), len(users)])


if __name__ == "__main__":
    main()
