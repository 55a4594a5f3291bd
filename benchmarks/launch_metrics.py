"""What two means, a covariate and a ratio cost over millions of units, beside public tools on the same file.

``python -m benchmarks.launch_metrics`` makes 10 million units once, runs each system in a process of its own with one thread,
and prints the table. Peers run where ``mainstem bench peers`` (or MAINSTEM_PEERS) made their environments.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mainstem.bench.peers import peers_here

HERE = Path(__file__).resolve().parent
PEERS = {
    "tea-tasting, Polars lazy": ("teatasting", "launch_tea"),
    "gbstats, our DuckDB query": ("gbstats", "launch_gbstats"),
    "spotify-confidence, our DuckDB query": ("confidence", "launch_confidence"),
}
OURS = {"mainstem, Polars": "polars", "mainstem, DuckDB": "duckdb", "mainstem, numpy": "numpy"}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
AT_ONCE = 1_000_000


def make_units(file: Path, rows: int, seed: int = 7) -> None:
    """An experiment without an effect: skewed revenue, clicks that clicks before the start explain."""
    writer: pq.ParquetWriter | None = None
    for at in range(0, rows, AT_ONCE):
        count, rng = min(AT_ONCE, rows - at), np.random.default_rng([seed, at])
        taste = rng.gamma(1.5, 1.0, count)
        shown, before = (1 + rng.poisson(15 * taste + 5) for _ in range(2))
        rate = np.clip(0.05 + 0.02 * taste, 0, 1)
        table = pa.table(
            {
                "user_id": np.arange(at, at + count),
                "variant": rng.integers(0, 2, count, dtype=np.int8),
                "revenue": np.round((rng.random(count) < 0.1) * rng.lognormal(3, 1, count), 2),
                "clicks": rng.binomial(shown, rate).astype(np.int32),
                "impressions": shown.astype(np.int32),
                "clicks_pre": rng.binomial(before, rate).astype(np.int32),
            }
        )
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table, row_group_size=122_880)
    if writer is not None:
        writer.close()


def ours(backend: str, file: str) -> None:
    """One of our backends, measured as the peers are."""
    sys.path.insert(0, str(HERE / "peers"))
    from launch_calls import measured  # type: ignore[import-not-found]

    def analyse(file: str) -> dict[str, list[float]]:
        from mainstem.launch.gather import Layout, gather, gather_arrays
        from mainstem.launch.metrics import Measure, Part, effect_of, wanted
        from mainstem.launch.sufficient import Column

        clicks, shown, before = Column("clicks"), Column("impressions"), Column("clicks_pre")
        measures = [
            Measure("revenue", Part(Column("revenue"))),
            Measure("clicks", Part(clicks), (Part(before),)),
            Measure("ctr", Part(clicks, shown)),
        ]
        layout, need = Layout("variant"), wanted(measures)
        if backend == "duckdb":
            import duckdb

            with duckdb.connect() as connection:
                connection.execute("SET threads = 1")
                sums = gather(connection.read_parquet(file), layout, need)
        elif backend == "numpy":
            names = ["variant", *(one.name for one in need.columns)]
            batches = pq.ParquetFile(file).iter_batches(500_000, columns=names, use_threads=False)
            chunks = ({name: batch[name].to_numpy() for name in names} for batch in batches)
            sums = gather_arrays(chunks, layout, need)
        else:
            sums = gather(file, layout, need)
        effects = [effect_of(sums, one, 0, 1) for one in measures]
        return {one.name: [one.difference, one.interval().low, one.interval().high] for one in effects}

    sys.argv[1:] = [file]
    measured(analyse, ["mainstem", "numpy", "polars"])


def run(command: list[str]) -> dict[str, Any]:
    """One process, one thread; a peer that fails says so in its row."""
    done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True, cwd=HERE.parent)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["?"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def apart(one: dict[str, list[float]], other: dict[str, list[float]]) -> float:
    """The largest relative difference of effects and interval ends that both have."""
    pairs = [(a, b) for name in one.keys() & other.keys() for a, b in zip(one[name], other[name], strict=True)]
    return max((abs(a - b) / max(abs(a), abs(b)) for a, b in pairs if a != b), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--one", choices=sorted(OURS.values()), help=argparse.SUPPRESS)
    parser.add_argument("--file", help="units made before; made anew when not given")
    asked = parser.parse_args()
    if asked.one:
        ours(asked.one, asked.file)
        return
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(asked.file or Path(scratch) / "units.parquet")
        if not file.is_file():
            make_units(file, asked.rows)
        rows = pq.read_metadata(file).num_rows
        found = {
            name: run([sys.executable, "-m", "benchmarks.launch_metrics", "--one", backend, "--file", str(file)])
            for name, backend in OURS.items()
        }
        peers = peers_here()
        for name, (environment, script) in PEERS.items():
            why = peers.why_absent(environment)
            found[name] = {"failed": why} if why else run([*peers.command(environment, script), str(file)])
    base = found["mainstem, Polars"]
    print(
        f"{rows:,} units; CPU seconds of one thread, warm = least of three later calls; agreement with mainstem, Polars\n"
    )
    print(f"{'':<38} {'warm s':>7} {'ratio':>6} {'cold s':>7} {'peak MB':>8}  apart")
    for name, one in found.items():
        if "failed" in one:
            print(f"{name:<38} {one['failed']}")
            continue
        ratio = one["warm_cpu_s"] / base["warm_cpu_s"]
        print(
            f"{name:<38} {one['warm_cpu_s']:7.2f} {ratio:6.2f} {one['cold_cpu_s']:7.2f} {one['peak_mb']:8.0f}  "
            f"{apart(one['found'], base['found']):.0e}  {one['versions']}"
        )
    met = base["warm_cpu_s"] <= 1.0 and base["peak_mb"] <= 300
    print(
        f"\n10 million units in at most 1.0 CPU s warm and 300 MB: {'met' if met else 'missed'}"
        if rows >= 10**7
        else ""
    )


if __name__ == "__main__":
    main()
