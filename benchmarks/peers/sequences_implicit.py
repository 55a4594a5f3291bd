"""implicit: ALS, BPR and item neighbours, as its own readme asks for them."""

from __future__ import annotations

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
from measured import Job, Sequences, cpu_s

MODELS = {
    "als": lambda seed: AlternatingLeastSquares(
        factors=128, regularization=0.01, alpha=1.0, iterations=15, num_threads=1, random_state=seed
    ),
    "bpr": lambda seed: BayesianPersonalizedRanking(factors=64, iterations=100, num_threads=1, random_state=seed),
    "cosine": lambda seed: CosineRecommender(K=100, num_threads=1),
    "bm25": lambda seed: BM25Recommender(K=100, num_threads=1),
}


def main() -> None:
    job = Job()
    told = Sequences(job)
    taken = told.matrix()
    began = cpu_s()
    model = MODELS[job.model](job.seed)
    model.fit(taken, show_progress=False)
    fit_cpu_s = cpu_s() - began
    items, scores = model.recommend(told.judged, taken[told.judged], N=told.k, filter_already_liked_items=True)
    # Its filler behind a list that has ended: items with the lowest float, or -1.
    items = np.where(scores <= np.finfo(np.float32).min, -1, items)
    job.answer(fit_cpu_s, ["implicit", "scipy"], {}, lists=items.astype(np.int32), scores=scores.astype(np.float32))


if __name__ == "__main__":
    main()
