"""Where does an approximate index begin to pay: the exact pass, the index that serves, and faiss's graph, by size.

Run: ``python -m benchmarks.vector_index [sizes]``. One thread; CPU time of this thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import faiss
import numpy as np

from mainstem.retrieval.approximate import ListIndex
from mainstem.retrieval.search import nearest

DIM, WANTED, QUERIES = 64, 400, 60
SIZES = (10_000, 50_000, 100_000, 300_000)


def made_vectors(count: int, seed: int = 3) -> np.ndarray:
    """Unit vectors around one centre for every 300."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(50, count // 300), DIM)).astype(np.float32)
    vectors = centres[random.integers(0, len(centres), count)] + 0.9 * random.standard_normal((count, DIM), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def made_queries(vectors: np.ndarray) -> list[np.ndarray]:
    """What a viewer's query is: the decayed mean of ten enjoyed items, of three tastes."""
    random = np.random.default_rng(5)
    weights = (0.8 ** np.arange(10)).astype(np.float32)
    found = []
    for _ in range(QUERIES):
        liked = [
            np.argpartition(-(vectors @ vectors[one]), 20)[:4] for one in random.integers(0, len(vectors), 3).tolist()
        ]
        query = weights @ vectors[np.concatenate(liked)[:10]]
        found.append(query / np.linalg.norm(query))
    return found


def measured(ask: Callable[[np.ndarray], np.ndarray], queries: list[np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """Median CPU milliseconds of a query, and what was found."""
    spent, found = [], []
    for query in queries:
        before = time.thread_time()
        found.append(ask(query))
        spent.append(time.thread_time() - before)
    return float(np.median(spent)) * 1e3, found


def main() -> None:
    faiss.omp_set_num_threads(1)
    for size in [int(one) for one in sys.argv[1:]] or SIZES:
        vectors = made_vectors(size)
        queries = made_queries(vectors)
        exact_ms, true = measured(lambda query, v=vectors: nearest(v, query, WANTED).rows, queries)
        print(f"{size:>9,} vectors: exact {exact_ms:.3f} ms")
        lists = ListIndex(vectors, np.arange(size))
        graph = faiss.IndexHNSWFlat(DIM, 16, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction, graph.hnsw.efSearch = 80, 800
        graph.add(vectors)
        for name, ask in (
            ("lists", lambda query, i=lists: i.search(query, WANTED).rows),
            ("graph", lambda query, i=graph: i.search(query[None], WANTED)[1][0]),
        ):
            ms, found = measured(ask, queries)
            recall = np.mean([len(np.intersect1d(a, b)) / WANTED for a, b in zip(found, true, strict=True)])
            print(f"{'':>9}  {name} {ms:.3f} ms, recall {recall:.3f}")


if __name__ == "__main__":
    main()
