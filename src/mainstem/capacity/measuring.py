"""The micro-benchmarks behind a calibration: what one thread of this machine takes for each shape of work."""

from __future__ import annotations

import io
import time
import tracemalloc
from collections.abc import Callable
from datetime import date
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.capacity.calibration import Calibration, Fitted, Shape, calibration, fit
from mainstem.ranking.network import Network

GATHERS = [
    {"table": float(table), "width": float(width), "rows": float(rows)}
    for table, width, rows in product((2_000, 20_000, 200_000), (32, 96, 192), (64, 128, 256, 500, 1_000))
]
GEMMS = [
    {"m": float(m), "k": float(k), "n": float(n)}
    for m, (k, n) in product(
        (16, 32, 64, 128, 200, 500, 1_000),
        ((38, 192), (96, 96), (192, 96), (192, 288), (96, 8), (256, 256), (147, 15), (60, 50)),
    )
]
RANKERS = [
    {
        "candidates": float(n),
        "user": float(user),
        "hidden": float(hidden),
        "experts": float(experts),
        "rank": float(rank),
    }
    for (hidden, experts, user, rank), n in product(
        ((96, 2, 120, 0), (128, 3, 169, 32), (192, 3, 169, 0), (192, 3, 169, 64), (192, 2, 240, 32), (160, 2, 200, 8)),
        (10, 50, 100, 200, 300, 500, 800, 1_000),
    )
]
TURNS = {"gather": 12, "gemm": 12, "ranker": 6, "memory": 1}
"""Times each shape is measured, far apart, so that one disturbed stretch does not decide about neighbours in the list.

Microseconds are disturbed more easily than milliseconds; memory does not vary.
"""
Array = NDArray[Any]


def least(call: Callable[[], object], *, blocks: int = 5, block_s: float = 2e-3) -> float:
    """CPU seconds of a call where nothing disturbs it: the least mean of several blocks of calls.

    On a machine that others use, disturbance only ever adds; a mean would measure the neighbours.
    """
    call()
    started = time.thread_time()
    call()
    calls = max(1, int(block_s / max(time.thread_time() - started, 1e-7)))
    best = np.inf
    for _ in range(blocks):
        started = time.thread_time()
        for _ in range(calls):
            call()
        best = min(best, (time.thread_time() - started) / calls)
    return float(best)


def gather_call(shape: Shape, draw: np.random.Generator) -> Callable[[], object]:
    """Rows of a table looked up by number."""
    table = draw.random((int(shape["table"]), int(shape["width"])), dtype=np.float32)
    rows = draw.integers(0, len(table), int(shape["rows"]))
    out = np.empty((rows.size, table.shape[1]), np.float32)
    return lambda: np.take(table, rows, axis=0, out=out, mode="wrap")


def gemm_call(shape: Shape, draw: np.random.Generator) -> Callable[[], object]:
    """One product of two matrices."""
    left = draw.random((int(shape["m"]), int(shape["k"])), dtype=np.float32)
    right = draw.random((left.shape[1], int(shape["n"])), dtype=np.float32)
    out = np.empty((left.shape[0], right.shape[1]), np.float32)
    return lambda: np.matmul(left, right, out=out)


def ranker_call(shape: Shape, draw: np.random.Generator) -> Callable[[], object]:
    """A request of the unified network, with made weights of the shape."""
    weights = made_weights(int(shape["user"]), int(shape["hidden"]), int(shape["experts"]), int(shape["rank"]), draw)
    items = draw.standard_normal((10_000, int(shape["hidden"])), dtype=np.float32)
    network, n = Network(weights, items), int(shape["candidates"])
    user = draw.random(int(shape["user"]), dtype=np.float32)
    rows = draw.integers(0, len(items), n).astype(np.int32)
    item = draw.random((n, weights["item_in"].shape[0]), dtype=np.float32)
    cross = draw.random((n, weights["cross_in"].shape[0]), dtype=np.float32)
    return lambda: network.predict(user, rows, item, cross)


def made_weights(user: int, hidden: int, experts: int, rank: int, draw: np.random.Generator) -> dict[str, Array]:
    """Weights of the unified network's shape with small random numbers; 22 item and 15 cross columns, 96 an expert.

    A rank above zero adds one cross of that rank.
    """
    wide = 96 * experts
    shapes: dict[str, tuple[int, ...]] = {
        "user_in": (user, hidden),
        "user_bias": (hidden,),
        "item_in": (22, hidden),
        "cross_in": (15, hidden),
        "static_in": (33, hidden),
        "vector_in": (32, hidden),
        "id_in": (2, hidden),
        "category_in": (2, hidden),
        "expert_w": (hidden, wide),
        "expert_b": (wide,),
        "gate_w": (user, experts),
        "gate_b": (experts,),
        "head_w": (96, 8),
        "head_user_w": (user, 8),
        "head_item_w": (22, 8),
        "head_b": (8,),
        "moment_in": (user, 48),
        "moment_bias": (48,),
        "moment_out": (48,),
    }
    if rank:
        shapes |= {"low_w": (1, hidden, rank), "high_w": (1, rank, hidden), "high_b": (1, hidden)}
    return {name: 0.05 * draw.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def logged_row_bytes(features: int, rows: int = 20_000, seed: int = 0) -> tuple[float, float]:
    """Bytes a row of a training log before and after compression (Parquet, zstd), for made features.

    Half of the columns hold one value a request of ten rows, as user features do, a quarter are counts, the rest are
    real numbers of two digits: what a log's columns look like decides its compression, so measure your own log too.
    """
    import polars as pl

    draw = np.random.default_rng(seed)
    columns: dict[str, Array] = {"user": np.repeat(np.arange(rows // 10 + 1), 10)[:rows]}
    for at in range(features):
        if at % 4 < 2:
            values = np.repeat(draw.random(rows // 10 + 1), 10)[:rows].round(2)
        elif at % 4 == 2:
            values = np.log1p(draw.poisson(3.0, rows))
        else:
            values = draw.random(rows).round(2)
        columns[f"feature_{at}"] = values.astype(np.float32)
    frame, out = pl.DataFrame(columns), io.BytesIO()
    frame.write_parquet(out, compression="zstd", compression_level=3)
    return float(frame.estimated_size()) / rows, out.tell() / rows


def training_rate(card: dict[str, Any]) -> float:
    """Rows a CPU second that a model's own training took, from its card; 0 when the card does not say."""
    seconds, epochs = float(card.get("train_cpu_s", 0.0)), len(card.get("validation_loss", ()))
    return float(card.get("rows", {}).get("train", 0)) * epochs / seconds if seconds else 0.0


def most_bytes(build: Callable[[], Callable[[], object]]) -> float:
    """The most bytes held while something is built and called once: arrays are counted, pages of the process are not."""
    already = tracemalloc.is_tracing()
    if not already:
        tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        build()()
        return float(tracemalloc.get_traced_memory()[1] - before)
    finally:
        if not already:
            tracemalloc.stop()


CALLS = {
    "gather": (GATHERS, gather_call),
    "gemm": (GEMMS, gemm_call),
    "ranker": (RANKERS, ranker_call),
    "memory": (RANKERS, ranker_call),
}


def measure(
    *,
    today: date,
    seed: int = 0,
    single: dict[str, float] | None = None,
    kinds: tuple[str, ...] = ("gather", "gemm", "ranker", "memory"),
    every: int = 1,
    turns: int | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Calibration:
    """This machine's constants. Run it with one BLAS thread (OMP_NUM_THREADS=1), on a machine as idle as it gets.

    Args:
        today: The date they are of.
        seed: Of the made inputs and of the order in which shapes are measured and held out.
        single: Single measured numbers to keep beside them.
        kinds: Which kinds.
        every: Only every so many-th shape: a quick look.
        turns: How often each shape is measured; None for as often as its kind needs.
        progress: Told how far it is.
    """
    fitted: dict[str, Fitted] = {}
    for at, kind in enumerate(kinds):
        all_shapes, _ = CALLS[kind]
        order = np.random.default_rng([seed, at]).permutation(len(all_shapes))[::every]
        shapes = [all_shapes[one] for one in order]
        told = partial(_part, progress, at, len(kinds), kind) if progress is not None else None
        fitted[kind] = fit(kind, shapes, values(kind, shapes, seed=seed, turns=turns, progress=told))
    return calibration(fitted, single or {}, today=today)


def _part(progress: Callable[[float, str], None], at: int, of: int, kind: str, share: float) -> None:
    progress((at + share) / of, kind)


def values(
    kind: str,
    shapes: list[Shape],
    *,
    seed: int = 0,
    turns: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float64]:
    """The value of each shape, least of several turns over the whole list."""
    _, call = CALLS[kind]
    turns = TURNS[kind] if turns is None or kind == "memory" else turns
    found = np.full(len(shapes), np.inf)
    for turn, one in product(range(turns), range(len(shapes))):
        build = partial(call, shapes[one], np.random.default_rng([seed, one]))
        found[one] = min(found[one], most_bytes(build) if kind == "memory" else least(build()))
        if progress is not None:
            progress((turn * len(shapes) + one + 1) / len(shapes) / turns)
    return found
