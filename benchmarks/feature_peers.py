"""``python -m benchmarks.feature_peers [--quick] [--only NAME]``: our back-fill and its peers on one job.

5 million events, 1 million labels, 42 features. Every engine runs in a process of its own with its input in memory, in its own
form; engines take turns, and medians are told. Counts and sums of all engines must be the same numbers.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.made_backfill import KEYS, WINDOWS, columns, job, made_log, write

Run = Callable[[], Any]
ENGINES = ("declared", "kernel", "duckdb", "polars")
SIZES = {True: (200_000, 40_000), False: (5_000_000, 1_000_000)}


def declared(folder: Path) -> Run:
    """Declarations to columns with states, on threads."""
    job(*made_log(3_000, 500)).table()
    events, labels = (pq.read_table(folder / f"{name}.parquet") for name in ("events", "labels"))
    return lambda: job(events, labels).table()


def kernel(folder: Path) -> Run:
    """The compiled as-of join by itself: no definitions, no finish, means left to the reader."""
    from mainstem.features.engines.ordered import lists_as_of, windows_as_of
    from mainstem.features.kernel.asof import EventColumns, RequestColumns, group_requests
    from mainstem.features.kernel.shape import ADD, GroupShape, Window

    def run(log: pa.Table, asked: pa.Table) -> dict[str, np.ndarray]:
        e = {name: log.column(name).to_numpy() for name in log.column_names}
        r = {name: asked.column(name).to_numpy() for name in asked.column_names}
        inputs = np.stack([np.ones(len(log), np.int64), e["amount"]], axis=1)
        threads, out = os.cpu_count() or 1, {}
        for name, key in KEYS.items():
            shape = GroupShape(len(key), (ADD, ADD), (300_000, 3_600_000), (13, 169), 5, 1)
            events = EventColumns(np.stack([e[k] for k in key], 1), e["time_ms"], inputs, e["offset"], inputs[:, 1:])
            requests = RequestColumns(np.stack([r[k] for k in key], 1), r["now_ms"], r["as_of"])
            grouped = group_requests(events, requests)
            windows = (Window(0, 12), Window(1, 24), Window(1, 168))
            found = windows_as_of(shape, events, requests, windows, grouped, threads)
            for at, window in enumerate(WINDOWS):
                out[f"{name}_n_{window}"], out[f"{name}_sum_{window}"] = found[:, at, 0], found[:, at, 1]
            _, _, fields = lists_as_of(shape, events, requests, grouped, threads)
            out |= {f"{name}_last_{at}": fields[:, at, 0] for at in range(5)}
        return out

    run(*made_log(3_000, 500))
    events, labels = (pq.read_table(folder / f"{name}.parquet") for name in ("events", "labels"))
    return lambda: pa.table(run(events, labels))


def duckdb(folder: Path) -> Run:
    """Integer prefix sums and four as-of joins a key, from native tables, as Arrow."""
    import duckdb as engine

    from benchmarks.feature_oracle import by_duckdb

    connection = engine.connect()
    connection.execute("SET preserve_insertion_order = true")
    connection.execute(f"CREATE TABLE events AS FROM '{folder}/events.parquet'")
    connection.execute(
        f"CREATE TABLE labels AS SELECT *, row_number() OVER () - 1 AS row FROM '{folder}/labels.parquet'"
    )
    return lambda: by_duckdb(connection)


def polars(folder: Path) -> Run:
    """Integer prefix sums and as-of joins on frames."""
    import polars as pl

    from benchmarks.feature_oracle import by_polars

    events, labels = (pl.read_parquet(folder / f"{name}.parquet") for name in ("events", "labels"))
    return lambda: by_polars(events, labels).to_arrow()


def one(engine: str, folder: Path) -> None:
    """Runs one engine here and prints what it took."""
    run = {"declared": declared, "kernel": kernel, "duckdb": duckdb, "polars": polars}[engine](folder)
    wall, cpu = time.perf_counter(), time.process_time()
    table = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    checks = {}
    for name in columns():
        if "_n_" in name or "_sum_" in name:
            found = table.column(name).cast(pa.float64()).to_numpy().astype(np.int64)
            checks[name] = int((found * (1 + np.arange(len(found)) % 1_009)).sum())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_gib": peak, "checks": checks}))


def measured(engine: str, folder: Path) -> dict[str, Any]:
    """One engine in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.feature_peers", "--one", engine, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200,000 events: whether it runs, not how fast")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=ENGINES, nargs="*", default=ENGINES)
    parser.add_argument("--one", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(asked.one[0], Path(asked.one[1]))
        return
    events, labels = SIZES[asked.quick]
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("duckdb", "polars", "numba", "numpy")
    )
    print(f"{events:,} events, {labels:,} labels, 42 features; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{versions}; {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), events, labels)
        found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in asked.only}
        for _ in range(1 if asked.quick else asked.rounds):
            for engine in asked.only:
                found[engine].append(measured(engine, Path(folder)))
    print("\n".join(lines(found)))


def lines(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The table: medians, and how many times as long as ours."""
    checks = [run["checks"] for runs in found.values() for run in runs]
    if any(check != checks[0] for check in checks):
        raise SystemExit("engines disagree about counts or sums")
    median = {
        engine: {what: statistics.median(run[what] for run in runs) for what in ("wall_s", "cpu_s", "peak_gib")}
        for engine, runs in found.items()
    }
    first = next(iter(median.values()))
    out = [f"{'engine':<10} {'wall s':>8} {'CPU s':>8} {'peak GiB':>9} {'wall x':>7} {'CPU x':>7}"]
    for engine, told in median.items():
        ratios = f"{told['wall_s'] / first['wall_s']:>7.2f} {told['cpu_s'] / first['cpu_s']:>7.2f}"
        out.append(f"{engine:<10} {told['wall_s']:>8.2f} {told['cpu_s']:>8.2f} {told['peak_gib']:>9.2f} {ratios}")
    return [*out, f"counts and sums of {', '.join(found)}: the same numbers"]


if __name__ == "__main__":
    main()
