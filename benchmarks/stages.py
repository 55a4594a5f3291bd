"""Where one request's CPU time goes, stage by stage, in process: no server, no clock but this thread's own."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from benchmarks.made_platform import NOW_MS, SLATE, USERS
from mainstem.base.request import Request
from mainstem.stacks import run as runner
from mainstem.stacks.impression import impression_of
from mainstem.stacks.stage import Stack

REQUESTS = 300


@dataclass(frozen=True, slots=True)
class Stages:
    """CPU milliseconds of one request, by stage. Sources are part of ``retrieve``."""

    surface: str
    total_ms: float
    by_stage_ms: dict[str, float]
    candidates: float
    impression_bytes: float
    log_ms: float


class _ThreadTime:
    """Stands in for ``time`` in the runner, so that its stopwatch counts this thread's CPU time."""

    perf_counter = staticmethod(time.perf_counter)
    perf_counter_ns = staticmethod(time.thread_time_ns)


def measured_stages(stack: Stack, surface: str) -> Stages:
    """Median over requests of different viewers."""
    real, runner.time = runner.time, _ThreadTime  # type: ignore[assignment]
    try:
        return _measured(stack, surface)
    finally:
        runner.time = real


def _measured(stack: Stack, surface: str) -> Stages:
    random = np.random.default_rng(3)
    stages: dict[str, list[float]] = defaultdict(list)
    totals, logs, sizes, candidates = [], [], [], []
    for number in range(REQUESTS + 50):
        request = Request(number, int(random.integers(1, USERS + 1)), surface, NOW_MS + number, SLATE)
        before = time.thread_time_ns()
        slate = runner.run(stack, request, explain=False)
        between = time.thread_time_ns()
        payload = impression_of(request, slate).payload()
        after = time.thread_time_ns()
        if number < 50 or slate.trace is None:
            continue
        totals.append((between - before) / 1e6)
        logs.append((after - between) / 1e6)
        sizes.append(len(payload))
        candidates.append(len(slate.trace.item_ids))
        for stage, spent in slate.trace.timings_ms.items():
            stages[stage].append(spent)
    by_stage = {stage: float(np.median(spent)) for stage, spent in stages.items()}
    told = sum(ms for stage, ms in by_stage.items() if not stage.startswith("source:"))
    by_stage["rest"] = float(np.median(totals)) - told
    return Stages(
        surface=surface,
        total_ms=float(np.median(totals)),
        by_stage_ms=by_stage,
        candidates=float(np.mean(candidates)),
        impression_bytes=float(np.mean(sizes)),
        log_ms=float(np.median(logs)),
    )
