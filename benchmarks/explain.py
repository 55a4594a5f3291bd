"""``python -m benchmarks.explain WORKSPACE``: what an explanation costs, whether its parts are the value, whether prices hold.

For logged requests, an item of each fate is explained: shown, scored too low, beyond the ranker's budget, never retrieved.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # as the command line sets it: threads that wait for each other count as CPU time

import argparse  # noqa: E402
import time  # noqa: E402
from dataclasses import replace  # noqa: E402
from functools import reduce  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from mainstem.base.request import Pool, Request, Slate  # noqa: E402
from mainstem.control.shadow_price import value_of  # noqa: E402
from mainstem.stacks.run import run  # noqa: E402
from mainstem.stacks.stage import Stack  # noqa: E402
from mainstem.stacks.why import Why, why  # noqa: E402
from mainstem.workspace.layout import Workspace  # noqa: E402
from mainstem.workspace.log import open_log  # noqa: E402
from mainstem.workspace.platform import open_stack  # noqa: E402
from mainstem.workspace.shadow import sample_requests  # noqa: E402


def one_of_each_fate(stack: Stack, slate: Slate) -> dict[str, int]:
    """An item that is shown, one that ranks last, one that was not ranked, and one nobody offered."""
    trace = slate.trace
    assert trace is not None
    known = stack.catalog.items.ids
    never = known[~np.isin(known, trace.item_ids)]
    found = {"scored last": trace.item_ids[int(np.argmin(trace.values))], "last candidate": trace.item_ids[-1]}
    if len(slate.item_ids):
        found["shown"] = slate.item_ids[len(slate.item_ids) // 2]
    if len(never):
        found["never retrieved"] = never[len(never) // 2]
    return {name: int(item) for name, item in found.items()}


def adds_up(answer: Why) -> bool:
    """Whether the terms, added from left to right, are the value in every bit."""
    return not answer.terms or reduce(lambda sum_, term: sum_ + term, answer.terms.values()) == answer.value


def price_error(stack: Stack, request: Request, slate: Slate, answer: Why) -> float:
    """The largest distance of a told price from a slate made again without the rule."""
    trace = slate.trace
    assert trace is not None
    n = len(trace.values)
    pool = Pool(stack.catalog.item_rows(trace.item_ids[:n]), trace.source_mask[:n], np.zeros(n))
    user = stack.features.user(request)
    apart = [0.0]
    for one in answer.rules:
        order = stack.control.without(one.rule).select(request, user, pool, trace.values).order
        apart.append(
            abs(one.price - (value_of(trace.values, order) - value_of(slate.scores, np.arange(len(slate.scores)))))
        )
    return max(apart)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--requests", type=int, default=100)
    asked = parser.parse_args()
    place = Workspace.open(asked.workspace)
    log = open_log(place)
    stack = replace(open_stack(place, log), memories=())
    spent: dict[str, list[float]] = {}
    exact = told = 0
    apart = 0.0
    for request in sample_requests(log, asked.requests, place.settings.seed):
        slate = run(stack, request)
        for fate, item in one_of_each_fate(stack, slate).items():
            began = time.process_time()
            answer = why(stack, run(stack, request), request, item)
            spent.setdefault(fate, []).append((time.process_time() - began) * 1e3)
            told += bool(answer.terms)
            exact += bool(answer.terms) and adds_up(answer)
            if answer.rules:
                apart = max(apart, price_error(stack, request, slate, answer))
    for fate, times in spent.items():
        half, most, worst = np.quantile(times, [0.5, 0.9, 0.99])
        print(f"{fate:16} {half:6.1f} ms of CPU, p90 {most:.1f}, p99 {worst:.1f} ({len(times)} asked; at most 50)")
    print(f"terms add up to the value in every bit: {exact} of {told}")
    print(f"prices and brute-force removal apart by at most {apart:.1e} (at most 1e-9)")


if __name__ == "__main__":
    main()
