"""What the machine can do at this moment, measured with the arithmetic of the request path: the bound beside each figure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.made_platform import EXPERT, HIDDEN, ITEMS, VECTOR_DIM
from mainstem.ranking.network import EXPERTS


@dataclass(frozen=True, slots=True)
class Bounds:
    """One core, one thread, CPU time.

    Args:
        product_gflop_per_s: f32 product of the shape the ranker's largest layer has.
        scan_ms: One pass over all item vectors: a product with one query, which reads them once.
        copy_gb_per_s: memcpy of 16 MB.
    """

    product_gflop_per_s: float
    scan_ms: float
    scan_gb_per_s: float
    copy_gb_per_s: float


def measured_bounds() -> Bounds:
    random = np.random.default_rng(0)
    left = random.standard_normal((500, HIDDEN), np.float32)
    right = random.standard_normal((HIDDEN, EXPERTS * EXPERT), np.float32)
    out = np.empty((500, EXPERTS * EXPERT), np.float32)
    product_s = best_of(lambda: np.matmul(left, right, out=out))
    vectors = random.standard_normal((ITEMS, VECTOR_DIM), np.float32)
    query = vectors[0].copy()
    scan_s = best_of(lambda: vectors @ query)
    source = np.zeros(16_000_000, np.uint8)
    target = np.empty_like(source)
    copy_s = best_of(lambda: np.copyto(target, source))
    return Bounds(
        product_gflop_per_s=2 * left.size * right.shape[1] / product_s / 1e9,
        scan_ms=scan_s * 1e3,
        scan_gb_per_s=vectors.nbytes / scan_s / 1e9,
        copy_gb_per_s=2 * source.nbytes / copy_s / 1e9,
    )


def best_of(work: Callable[[], object], times: int = 60) -> float:
    """The smallest CPU time of one call, in seconds: what it costs when nothing is in the way."""
    work()
    taken = []
    for _ in range(times):
        before = time.thread_time_ns()
        work()
        taken.append(time.thread_time_ns() - before)
    return min(taken) / 1e9
