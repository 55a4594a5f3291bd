"""LensKit: EASE and implicit-feedback matrix factorisation through its standard pipeline."""

from __future__ import annotations

import numpy as np
from lenskit.als import ImplicitMFScorer
from lenskit.batch import recommend
from lenskit.data import from_interactions_df
from lenskit.knn import EASEScorer
from lenskit.pipeline import topn_pipeline
from lenskit.training import TrainingOptions
from measured import Job, Sequences, cpu_s, lists_of

MODELS = {"ease": lambda: EASEScorer(regularization=500), "implicit-mf": lambda: ImplicitMFScorer(embedding_size=64)}


def main() -> None:
    job = Job()
    told = Sequences(job)
    frame = told.frame("user_id", "item_id")[["user_id", "item_id"]]
    dataset = from_interactions_df(frame, user_col="user_id", item_col="item_id")
    began = cpu_s()
    pipeline = topn_pipeline(MODELS[job.model]())
    pipeline.train(dataset, TrainingOptions(rng=job.seed))
    fit_cpu_s = cpu_s() - began
    answered = {int(key.user_id): found for key, found in recommend(pipeline, told.judged.tolist(), told.k, n_jobs=1)}
    none = np.zeros(0)
    found = [answered.get(int(user)) for user in told.judged]
    lists, values = lists_of(
        [none if one is None else np.asarray(one.ids()) for one in found],
        [none if one is None else np.asarray(one.scores()) for one in found],
        told.k,
    )
    job.answer(fit_cpu_s, ["lenskit"], {}, lists=lists, scores=values)


if __name__ == "__main__":
    main()
