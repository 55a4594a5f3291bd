"""Requests as they really came, and a batch queue in which the length of a request decides what it costs."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numba import njit  # type: ignore[import-untyped]
from numpy.typing import NDArray

from mainstem.base.errors import CapacityError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests of a trace, sorted.

    Args:
        seconds: When each came, from the first.
        read: Tokens each brought.
        written: Tokens each was answered with.
    """

    seconds: Array
    read: Array
    written: Array


@dataclass(frozen=True, slots=True)
class Lengths:
    """What a worker's batch takes when requests have lengths.

    Args:
        launch_s: Seconds a batch.
        token_s: Seconds a token.
        workers: How many.
        batch: Most requests a batch.
        padded: Whether every request of a batch costs as much as its longest, or only what it brings itself.
    """

    launch_s: float
    token_s: float
    workers: int = 1
    batch: int = 8
    padded: bool = True

    def __post_init__(self) -> None:
        if (
            min(self.launch_s, self.token_s) < 0.0
            or self.launch_s + self.token_s == 0.0
            or min(self.workers, self.batch) < 1
        ):
            raise CapacityError(
                f"found {self}, expected positive seconds, a worker and a request a batch",
                code="capacity-065",
                hint="measure a batch of short and one of long requests",
            )


def read_arrivals(file: Path) -> Arrivals:
    """Arrivals and lengths of a published trace (Azure LLM inference 2023, the pack ``azure_llm``).

    Raises:
        CapacityError: ``capacity-064`` for a file that is not there, has other columns, or a time that is none.
    """
    try:
        with file.open(newline="") as text:
            rows = [
                (
                    datetime.fromisoformat(row["TIMESTAMP"][:26]),
                    float(row["ContextTokens"]),
                    float(row["GeneratedTokens"]),
                )
                for row in csv.DictReader(text)
            ]
    except (OSError, KeyError, ValueError, TypeError) as no:
        raise CapacityError(
            f"found no arrivals in {file}: {no!r}",
            code="capacity-064",
            hint="expected columns TIMESTAMP, ContextTokens, GeneratedTokens",
        ) from no
    rows.sort(key=lambda row: row[0])
    since = np.array([(row[0] - rows[0][0]).total_seconds() for row in rows])
    return Arrivals(since, np.array([row[1] for row in rows]), np.array([row[2] for row in rows]))


def dispersion(seconds: Array, window_s: float) -> float:
    """Variance over mean of the arrivals of a window: 1 when they come independently, more when they come in bursts.

    Raises:
        CapacityError: ``capacity-066`` for fewer than ten windows.
    """
    count = int((seconds[-1] - seconds[0]) // window_s)
    if count < 10:
        raise CapacityError(
            f"found {count} windows of {window_s:g} s, expected at least ten",
            code="capacity-066",
            hint="a shorter window or a longer trace",
        )
    each = np.bincount(((seconds - seconds[0]) // window_s).astype(np.int64), minlength=count + 1)[:count]
    return float(each.var(ddof=1) / each.mean())


def independent(seconds: Array, seed: int = 0) -> Array:
    """As many arrivals in the same time, none of which knows of another."""
    return np.sort(np.random.default_rng(seed).uniform(seconds[0], seconds[-1], seconds.size))


def waits(service: Lengths, seconds: Array, tokens: Array) -> Array:
    """Seconds from each arrival to its answer, first come, first served, a free worker taking what waits."""
    return _walk(seconds, tokens, service.launch_s, service.token_s, service.workers, service.batch, service.padded)


@njit(cache=True, nogil=True)
def _walk(arrivals, tokens, launch, each, workers, cap, padded):
    n = arrivals.shape[0]
    free, took = np.zeros(workers), np.empty(n)
    at = 0
    while at < n:
        worker = 0
        for other in range(1, workers):
            if free[other] < free[worker]:
                worker = other
        start, end, longest, total = max(free[worker], arrivals[at]), at, 0.0, 0.0
        while end < n and end - at < cap and arrivals[end] <= start:
            longest, total = max(longest, tokens[end]), total + tokens[end]
            end += 1
        free[worker] = start + launch + each * (longest * (end - at) if padded else total)
        for one in range(at, end):
            took[one] = free[worker] - arrivals[one]
        at = end
    return took


def least_workers(service: Lengths, seconds: Array, tokens: Array, slo_s: float, most: int = 512) -> int:
    """The fewest workers with which the 99th percentile of the waits keeps the objective.

    Raises:
        CapacityError: ``capacity-067`` when not even the most workers do.
    """
    low, high = 1, most
    if _p99(service, seconds, tokens, most) > slo_s:
        raise CapacityError(
            f"found a p99 above {slo_s:g} s with {most} workers",
            code="capacity-067",
            hint="a request alone takes longer than that; more workers do not help",
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _p99(service, seconds, tokens, middle) <= slo_s else (middle + 1, high)
    return low


def _p99(service: Lengths, seconds: Array, tokens: Array, workers: int) -> float:
    took = _walk(seconds, tokens, service.launch_s, service.token_s, workers, service.batch, service.padded)
    return float(np.quantile(took, 0.99))
