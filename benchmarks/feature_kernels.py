"""How fast the feature kernels are by themselves: ``python -m benchmarks.feature_kernels [events] [requests]``.

Made events over 30 days, users and items by a skewed draw; single runs on whatever machine this is, after a first
call that compiles. The as-of part is the shape of a training set: three keys, windows of 1 h, 1 d and 7 d, last 5.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from mainstem.features.kernel.arena import Arena
from mainstem.features.kernel.asof import EventColumns, RequestColumns, as_of, as_of_list, group_requests
from mainstem.features.kernel.shape import ADD, GroupShape, Window

HOUR = 3_600_000
SPAN = 30 * 24 * HOUR
SHAPE = GroupShape(1, (ADD, ADD), (HOUR // 12, HOUR), (13, 170))
WINDOWS = (Window(0, 12), Window(1, 24), Window(1, 168))


def skewed(rng: np.random.Generator, keys: int, n: int) -> np.ndarray:
    return (keys * rng.random(n) ** 2).astype(np.int64)


def seconds(label: str, start: float, count: int) -> None:
    took = time.process_time() - start
    print(f"{label:<44} {took:8.3f} CPU s {count / took / 1e3:10.0f} k/s")


def online(n: int) -> None:
    rng = np.random.default_rng(1)
    arena = Arena((SHAPE, SHAPE), capacity_words=1 << 26)
    rows = np.ones((n, arena.layout.width), np.int64)
    when = np.sort(rng.integers(0, SPAN, n))
    rows[:, 0] = np.arange(n)
    for group, keys in enumerate((200_000, 100_000)):
        columns = arena.layout.groups[group]
        rows[:, columns.when], rows[:, columns.keys[0]] = when, skewed(rng, keys, n)
    arena.apply(rows[:1])
    half = n // 2
    arena.apply(rows[:half])
    start = time.process_time()
    for at in range(half, n, 200):
        arena.apply(rows[at : at + 200])
    seconds("apply, user + item, 200 a call", start, n - half)
    ones = [rows[at : at + 1] for at in range(n - 50_000, n)]
    start = time.process_time()
    for row in ones:
        arena.apply(row)
    seconds("apply, user + item, one a call", start, len(ones))
    windows, out, took = arena.windows(1, WINDOWS), np.empty((501, 3, 2)), []
    for _ in range(400):
        keys = skewed(rng, 100_000, 501)[:, None]
        start = time.perf_counter()
        arena.read(1, keys, int(when[-1]), windows, out)
        took.append(time.perf_counter() - start)
    print(f"{'read, 501 keys x 3 windows x 2':<44} {1e3 * np.median(took[100:]):8.3f} ms p50 (wall)")
    print(f"{'words held':<44} {8 * arena.words_used / 2**20:8.0f} MiB, keys {arena.keys}")


def offline(n: int, asked: int) -> None:
    rng = np.random.default_rng(2)
    when, offset = np.sort(rng.integers(0, SPAN, n)), np.arange(n)
    inputs = np.stack([np.ones(n, np.int64), rng.integers(0, 100, n)], axis=1)
    user, item = skewed(rng, 200_000, n), skewed(rng, 100_000, n)
    at = np.sort(rng.integers(0, n, asked))
    start = time.process_time()
    for name, keys in (("user", user), ("item", item), ("user x category", np.stack([user, item % 40], axis=1))):
        keys = keys.reshape(n, -1)
        width = keys.shape[1]
        events = EventColumns(keys, when, inputs, offset, inputs)
        requests = RequestColumns(np.ascontiguousarray(keys[at]), when[at], at)
        began = time.process_time()
        grouped = group_requests(events, requests)
        seconds(f"  {name}: sort ({grouped.size} keys)", began, n)
        shape = GroupShape(width, SHAPE.ops, SHAPE.hops_ms, SHAPE.keeps, list_k=5, list_fields=2)
        began = time.process_time()
        as_of(shape, events, requests, WINDOWS, grouped=grouped)
        seconds(f"  {name}: 3 windows x count, sum", began, n)
        if name == "user":
            began = time.process_time()
            as_of_list(shape, events, requests, grouped=grouped)
            seconds(f"  {name}: last 5", began, n)
    seconds(f"as of, {n} events, {asked} requests, 3 keys", start, n)


def main() -> None:
    n, asked = (int(word) for word in (*sys.argv[1:], "1000000", "200000")[:2])
    online(1_000_000)
    offline(20_000, 1_000)
    print("compiled; the figures:")
    offline(n, asked)
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


if __name__ == "__main__":
    main()
