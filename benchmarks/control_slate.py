"""What a slate costs: 1,000 candidates to 50 with filters, caps, quotas and variety; whether both passes agree; whether caps hold.

``python -m benchmarks --only control``. Times are CPU time of one thread, medians over requests that differ.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

import numpy as np

from mainstem.base.order import best_first
from mainstem.base.request import Pool, Request
from mainstem.base.withdrawn import Withdrawn
from mainstem.control.filters import FINE, Gone, Integrity, Originals, Seen
from mainstem.control.groups import Group
from mainstem.control.shadow_price import prices
from mainstem.control.slate import Quota, SlateRules, SurfaceControl
from mainstem.control.slate_kernel import fill
from mainstem.control.slate_plain import fill_plainly
from mainstem.control.slate_task import Filled, SlateTask
from mainstem.testing.slate_tasks import random_task

ITEMS: Final = 100_000
CANDIDATES: Final = 1_000
COUNT: Final = 50
TARGET_MS: Final = 0.3


class _Memory:
    def __init__(self, seen: np.ndarray) -> None:
        self._seen = seen

    def seen_rows(self, user: Any, last: int) -> np.ndarray:
        return self._seen[user][:last]


def made_control(kind: str, passes: Callable[[SlateTask], Filled], random: np.random.Generator) -> SurfaceControl:
    """Every filter and rule of a surface over a made catalog; variety of one kind."""
    creators, categories = random.integers(1, ITEMS // 4, ITEMS + 1), random.integers(1, 30, ITEMS + 1)
    creators[:-1:3] = random.integers(
        1, 200, len(creators[:-1:3])
    )  # a third is made by 200 creators, so that caps bite
    vectors = random.normal(size=(ITEMS + 1, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    fresh = Group("fresh", "made", np.append(random.random(ITEMS) < 0.1, False))
    rules = SlateRules(
        creator_cap=2, caps=(("category", 12),), variety=0.9, variety_by=kind, exploration_share=0.05,
        quotas=(Quota("connected", 8, 2), Quota("fresh", 8, group=fresh)),
    )  # fmt: skip
    canonical = np.arange(ITEMS + 1)
    canonical[-1] = -1
    canonical[:-1:50] = np.roll(canonical[:-1:50], 1)
    memory = _Memory(random.integers(0, ITEMS, (400, 50)))
    filters = (
        Gone(Withdrawn(ITEMS)),
        Integrity(np.full(ITEMS + 1, FINE, np.int8), closed=True),
        Seen(memory, last=50, catalog_size=ITEMS),
        Originals(canonical),
    )
    return SurfaceControl({"feed": filters}, {"feed": rules}, creators, categories, 7, vectors=vectors, passes=passes)


def made_requests(n: int, random: np.random.Generator) -> list[tuple[Request, Any, Pool, np.ndarray]]:
    """Requests with a thousand candidates each."""
    found = []
    for at in range(n):
        rows = random.choice(ITEMS, CANDIDATES, replace=False)
        pool = Pool(rows, random.integers(0, 8, CANDIDATES).astype(np.uint32), np.zeros(CANDIDATES))
        found.append((Request(at, 1, "feed", 0, COUNT), at % 400, pool, random.gamma(2.0, size=CANDIDATES)))
    return found


def _median_ms(work: Callable[..., Any], requests: list[Any], times: int) -> dict[str, float]:
    """CPU time of one call, over all requests, several rounds: neighbours on the same core slow all but the quietest."""
    for one in requests[:3]:
        work(*one)
    rounds: list[list[float]] = []
    for _ in range(times):
        rounds.append([])
        for one in requests:
            started = time.process_time_ns()
            work(*one)
            rounds[-1].append((time.process_time_ns() - started) / 1e6)
    taken = [one for each in rounds for one in each]
    return {
        "quietest_ms": min(statistics.median(each) for each in rounds),
        "median_ms": statistics.median(taken),
        "p95_ms": float(np.quantile(taken, 0.95)),
        "calls": len(taken),
    }


def numpy_select(control: SurfaceControl, request: Request, user: Any, pool: Pool, values: np.ndarray) -> np.ndarray:
    """The bound without a compiler: filters, then one masked argmax a place under caps and discounted variety, nothing else."""
    ordered, seen = best_first(values, pool.rows), control._filters["feed"][2]
    sorted_pool = Pool(pool.rows[ordered], pool.source_mask[ordered], pool.fused[ordered])
    alive = ordered[~seen.removes(request, user, sorted_pool)]
    rows = pool.rows[alive]
    creators, categories = control._codes["creator"][rows], control._codes["category"][rows]
    window = COUNT * 6
    worth = values[alive][:window] - values[alive][window - 1]
    by_creator, by_category = np.zeros(ITEMS, np.int16), np.zeros(64, np.int16)
    slate = np.empty(COUNT, np.int64)
    for place in range(COUNT):
        pick = int(worth.argmax())
        slate[place] = alive[pick]
        worth[pick] = -np.inf
        creator, category = creators[pick], categories[pick]
        by_creator[creator] += 1
        by_category[category] += 1
        worth[categories[:window] == category] *= 0.9
        if by_creator[creator] >= 2:
            worth[creators[:window] == creator] = -np.inf
        if by_category[category] >= 12:
            worth[categories[:window] == category] = -np.inf
    return slate


def agreement(cases: int) -> dict[str, int]:
    """How many random slates the two passes fill differently."""
    random, different = np.random.default_rng(2026), 0
    for _ in range(cases):
        task = random_task(random)
        one, other = fill(task), fill_plainly(task)
        different += not all(
            np.array_equal(getattr(one, each.name), getattr(other, each.name)) for each in fields(Filled)
        )
    return {"cases": cases, "different": different}


def caps_held(slates: int) -> dict[str, int]:
    """How many random slates break a hard cap, wherever its items came from."""
    random, broken, capped = np.random.default_rng(2027), 0, 0
    for _ in range(slates):
        task = random_task(random)
        slate = fill(task).slate
        for codes, cap in zip(task.codes, task.caps.tolist(), strict=True):
            shown = codes[slate]
            capped += cap > 0
            broken += cap > 0 and int(np.bincount(shown[shown > 0], minlength=1).max()) > cap
    return {"slates": slates, "caps": capped, "broken": broken}


def run(*, quick: bool = False) -> dict[str, Any]:
    """Every figure of this module."""
    requests = made_requests(20 if quick else 400, np.random.default_rng(1))
    times = 1 if quick else 5
    controls = {
        kind: made_control(kind, fill, np.random.default_rng(0))
        for kind in ("discount", "determinantal", "sliding_spectrum")
    }
    plain = made_control("discount", fill_plainly, np.random.default_rng(0))
    first = controls["discount"]
    asked = requests[0]
    task = first._task(first._plans["feed"], asked[0], asked[2], asked[3], best_first(asked[3], asked[2].rows))
    return {
        "compiled": {kind: _median_ms(one.select, requests, times) for kind, one in controls.items()},
        "pass alone": _median_ms(lambda *_: fill(task), requests, times),
        "numpy": _median_ms(lambda *one: numpy_select(first, *one), requests, times),
        "plain": _median_ms(plain.select, requests[: 2 if quick else 10], 1),
        "prices": _median_ms(lambda *one: prices(first, *one), requests[:20], 1),
        "agreement": agreement(200 if quick else 10_000),
        "caps": caps_held(1_000 if quick else 100_000),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The figures as a table."""
    ours = found["compiled"]
    median = ours["discount"]["quietest_ms"]
    told = [
        f"Control: {CANDIDATES:,} candidates to {COUNT}, four filters, two caps, two quotas, variety, exploration (CPU ms)",
        f"{'':40}{'quietest':>10}{'median':>10}{'p95':>10}",
    ]
    rows = {f"compiled, {kind}": one for kind, one in ours.items()}
    rows |= {"compiled, the pass alone": found["pass alone"], "numpy, without quotas and chance": found["numpy"]}
    rows |= {"the reference, which counts all anew": found["plain"], "prices of all ten rules": found["prices"]}
    told += [
        f"{name:40}{one['quietest_ms']:>10.3f}{one['median_ms']:>10.3f}{one['p95_ms']:>10.3f}"
        for name, one in rows.items()
    ]
    same, caps = found["agreement"], found["caps"]
    return [
        *told,
        f"target {TARGET_MS} ms: {'reached' if median <= TARGET_MS else 'not reached'} "
        f"({median:.3f} with discount, median of the quietest round)",
        f"both passes on {same['cases']:,} random slates: {same['different']} differ",
        f"hard caps in {caps['slates']:,} random slates ({caps['caps']:,} caps): {caps['broken']} broken",
        "",
    ]
