"""``python -m benchmarks.feature_stores``: the row of one viewer and of 500 candidates from each state store.

The bound beside the figures is the same gather from a numpy array in this process: what is left when no store is asked.
Candidates are drawn evenly from all items (nothing is hot), and again from the 2,000 most shown.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from mainstem.store.state.place import open_state
from mainstem.store.state.protocol import StateStore
from mainstem.store.state.vectors import Ask, VectorTable, read_tables

ITEMS, USERS, WIDTH, CANDIDATES, SHOWN = 100_000, 20_000, 40, 500, 2_000
SPACE = "vectors@1"


def filled(store: StateStore, matrix: np.ndarray) -> tuple[VectorTable, VectorTable]:
    users, items = VectorTable(store, SPACE, WIDTH, b"u"), VectorTable(store, SPACE, WIDTH, b"i")
    for start in range(0, ITEMS, 20_000):
        ids = np.arange(start, start + 20_000)
        items.fill_rows(ids, matrix[ids])
    users.put_rows(np.arange(USERS), matrix[:USERS], applied=1, expect=-1)
    return users, items


def percentiles_ms(
    read: Callable[[np.ndarray, np.ndarray], object], among: int, times: int
) -> tuple[float, float, float]:
    """p50, p99, and p50 of this thread's CPU time, which other work on the machine hardly changes."""
    random = np.random.default_rng(3)
    taken, cpu = [], []
    for _ in range(times):
        user, items = random.integers(0, USERS, 1), random.integers(0, among, CANDIDATES)
        before, cpu_before = time.perf_counter(), time.thread_time()
        read(user, items)
        cpu.append((time.thread_time() - cpu_before) * 1e3)
        taken.append((time.perf_counter() - before) * 1e3)
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 99)), float(np.percentile(cpu, 50))


def reader(users: VectorTable, items: VectorTable) -> Callable[[np.ndarray, np.ndarray], object]:
    user_out, item_out = np.empty((1, WIDTH), np.float32), np.empty((CANDIDATES, WIDTH), np.float32)
    return lambda user, ids: read_tables([Ask(users, user, user_out), Ask(items, ids, item_out)])


@contextmanager
def server() -> Iterator[str]:
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        raise SystemExit("neither valkey-server nor redis-server is installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        command += ["--unixsocket", f"{folder}/socket"]
        running = subprocess.Popen(command, **quiet)
        while not os.path.exists(f"{folder}/socket"):
            time.sleep(0.02)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            running.terminate()
            running.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2_000)
    times = parser.parse_args().times
    matrix = np.random.default_rng(1).standard_normal((ITEMS, WIDTH)).astype(np.float32)
    print(
        f"1 viewer + {CANDIDATES} of {ITEMS} items, {WIDTH} float32 each; {times} reads; load {os.getloadavg()[0]:.1f}"
    )
    user_out, item_out = np.empty((1, WIDTH), np.float32), np.empty((CANDIDATES, WIDTH), np.float32)

    def gather(user: np.ndarray, items: np.ndarray) -> None:
        np.take(matrix, user, axis=0, out=user_out)
        np.take(matrix, items, axis=0, out=item_out)

    def told(name: str, read: Callable[[np.ndarray, np.ndarray], object]) -> None:
        even, hot = (percentiles_ms(read, among, times) for among in (ITEMS, SHOWN))
        parts = [f"{at} p50 {p[0]:.3f} p99 {p[1]:.3f} cpu {p[2]:.3f} ms" for at, p in (("even", even), ("hot", hot))]
        print(f"{name:<20} " + "   ".join(parts))

    told("numpy, this process", gather)
    with tempfile.TemporaryDirectory() as folder, server() as url:
        for name, where in (("memory", "memory:"), ("LMDB", folder), ("Redis/Valkey, TCP", url)):
            with open_state(where, timeout_s=30) as store:
                told(name, reader(*filled(store, matrix)))


if __name__ == "__main__":
    main()
