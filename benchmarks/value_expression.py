"""``python -m benchmarks.value_expression``: what one surface's value costs a request of 500 candidates, and its terms."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mainstem.base.heads import PREDICTIONS
from mainstem.base.request import Request
from mainstem.base.settings import Surface
from mainstem.value.expression import Expression, SurfaceValues

CANDIDATES, CALLS, ROUNDS = 500, 2_000, 7


def main() -> None:
    """Prints the least CPU time of seven rounds: others share the machine."""
    model = SurfaceValues({"feed": Expression(Surface().value, PREDICTIONS)}, PREDICTIONS)
    predictions = np.random.default_rng(0).random((CANDIDATES, len(PREDICTIONS)))
    request, rows = Request(1, 1, "feed", 0, 10), np.arange(CANDIDATES)
    weights = np.random.default_rng(1).random(len(PREDICTIONS))
    for name, work in (
        ("value of 500 candidates", lambda: model.values(request, None, rows, predictions)),
        ("its terms", lambda: model.terms(request, None, rows, predictions)),
        ("matrix times vector, which rounds otherwise", lambda: predictions @ weights),
    ):
        print(f"{name:45} {least_us(work):7.1f} us")


def least_us(work: Callable[[], Any]) -> float:
    """Least CPU microseconds of a call over some rounds."""
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(CALLS):
            work()
        found.append((time.process_time() - started) / CALLS * 1e6)
    return min(found)


if __name__ == "__main__":
    main()
