"""``python -m benchmarks.feature_backfill [parity|linear|all] [--quick]``: is what was served what is computed, and at what cost?

* parity: a made log of 1 million requests x 3 keys x 3 windows x 2 numbers, 1 % of the events up to ten minutes late. The live
  state takes events in as they arrive, some seconds behind, and answers each request from what it has; the back-fill, on threads
  and on Ray tasks, has to give the same bits. Beside it: how many counts a back-fill by event time gets wrong, whatever its code.
* linear: the job of ``feature_peers`` at 5, 20 and 50 million events, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.made_backfill import HOUR_MS, KEYS, SPAN_MS, START_MS, WINDOWS, job, made_log
from mainstem.features.engines.job import BackfillJob
from mainstem.features.engines.ray_tasks import RayTasks
from mainstem.features.engines.runners import Runner, Threads
from mainstem.features.events import Events
from mainstem.features.language import Context, Feature, Source, count, total
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.plan import Plan
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading

LOG = Source(
    "events", dict.fromkeys(("time_ms", "user_id", "item_id", "category", "amount"), "int64"), drop_after="5min"
)
TICK = 200
"""Events that the pipeline hands to the server at once."""
PACE = 60
"""How many times as fast as in ``made_log`` the events come: 5 million in twelve hours."""


def declared() -> FeatureSet:
    """18 numbers: counts and sums in three windows by three keys."""
    features = [Feature(name, Context()) for name in ("now_ms", "user_id", "item_id", "category")]
    for name, key in KEYS.items():
        by = {"over": key, "source": LOG, "windows": tuple(WINDOWS), "dtype": "float64"}
        features += [Feature(f"{name}_n", count(), **by), Feature(f"{name}_sum", total("amount", scale=1.0), **by)]
    return FeatureSet(features)


@dataclass(frozen=True)
class Served:
    """A log in the order of arrival, and requests as they were served.

    Attributes:
        arrived_ms: When each event arrived.
        lag_ms: Of each request: how far behind its server was.
    """

    log: pa.Table
    requests: pa.Table
    arrived_ms: np.ndarray
    lag_ms: np.ndarray


def made(events: int, labels: int, seed: int = 4) -> Served:
    """A log of which 1 % came up to ten minutes late, read by a pipeline that is one to eight seconds behind."""
    draw = np.random.default_rng(seed)
    log, _ = made_log(events, 1, seed)
    arrived = START_MS + (log.column("time_ms").to_numpy() - START_MS) // PACE
    late = np.where(draw.random(events) < 0.01, draw.integers(1_000, 600_000, events), 0)
    log = log.set_column(1, "time_ms", pa.array(arrived - late))
    ends = np.append(np.arange(TICK, events, TICK), events)
    there = np.maximum.accumulate(arrived[ends - 1] + draw.integers(1_000, 8_000, len(ends)))
    now = np.sort(draw.integers(START_MS + HOUR_MS, int(arrived[-1]), labels))
    tick = np.searchsorted(there, now, side="right")
    as_of = np.where(tick > 0, ends[np.maximum(tick - 1, 0)], 0)
    shown = np.searchsorted(arrived, now)  # who asks is somebody who is there
    asked = {"now_ms": now, "as_of": as_of}
    asked |= {name: log.column(name).to_numpy()[shown] for name in ("user_id", "item_id", "category")}
    newest = arrived[np.maximum(as_of - 1, 0)]
    return Served(log, pa.table(asked), arrived, now - newest)


def live(made_: Served) -> dict[str, np.ndarray]:
    """What the live state answered each request, events and requests in the order they came."""
    features = declared()
    plan = Plan(features)
    state, reading = LiveState(plan, {}), Reading(plan, {}, tuple(c for f in features for c in f.columns if f.source))
    log = Events.from_arrow(made_.log, LOG)
    given = {name: made_.requests.column(name).to_numpy() for name in made_.requests.column_names}
    as_of = given.pop("as_of")
    places, firsts = np.unique(as_of, return_index=True)
    out = {column.name: np.empty(len(as_of)) for column in reading.columns}
    done = 0
    for place, first, last in zip(places.tolist(), firsts.tolist(), [*firsts[1:].tolist(), len(as_of)], strict=True):
        while done < place:
            end = min(done + TICK, place)
            state.apply("events", log.take(slice(done, end)))
            done = end
        found = state.read(reading, {name: array[first:last] for name, array in given.items()})
        for name, column in out.items():
            column[first:last] = found[name]
    return out


def past(log: pa.Table, requests: pa.Table, runner: Runner, **changed: int) -> pa.Table:
    """The same numbers, computed afterwards."""
    return BackfillJob(declared(), {"events": log}, requests, runner=runner, **changed).table()


def same_bits(served: dict[str, np.ndarray], computed: pa.Table) -> tuple[int, int]:
    """How many cells are the same to the bit, and how many there are."""
    alike = sum(
        int((array.view(np.int64) == computed.column(name).to_numpy().view(np.int64)).sum())
        for name, array in served.items()
    )
    return alike, sum(array.size for array in served.values())


def by_event_time(made_: Served, lag_ms: int) -> float:
    """The share of counts that differ between a server so far behind and a back-fill that goes by event times."""
    now = made_.requests.column("now_ms").to_numpy()
    time_ms = made_.log.column("time_ms").to_numpy()
    served = np.searchsorted(made_.arrived_ms, now - lag_ms, side="right")
    order = np.argsort(time_ms, kind="stable")
    guess = np.searchsorted(time_ms[order], now, side="right")
    sorted_log = made_.log.take(order).set_column(0, "offset", pa.array(np.arange(len(order))))
    at = made_.requests.column_names.index("as_of")
    seen = past(made_.log, made_.requests.set_column(at, "as_of", pa.array(served)), Threads())
    guessed = past(sorted_log, made_.requests.set_column(at, "as_of", pa.array(guess)), Threads())
    names = [f"{name}_n_{window}" for name in KEYS for window in WINDOWS]
    return float(np.mean([seen.column(name).to_numpy() != guessed.column(name).to_numpy() for name in names]))


def parity(quick: bool) -> None:
    """Prints whether both worlds agree."""
    events, labels = (200_000, 20_000) if quick else (5_000_000, 1_000_000)
    log = made(events, labels)
    median = np.median(log.lag_ms) / 1_000
    print(f"{events:,} events, 1 % late; {labels:,} requests, {median:.1f} s behind the newest arrival (median)")
    start = time.perf_counter()
    served = live(log)
    print(f"live state: {time.perf_counter() - start:.1f} s")
    runners: list[tuple[str, Runner]] = [("threads", Threads()), ("Ray tasks", RayTasks(os.cpu_count() or 2))]
    for name, runner in runners:
        start = time.perf_counter()
        alike, cells = same_bits(served, past(log.log, log.requests, runner, buckets=8))
        print(f"{name}: {alike:,} of {cells:,} cells the same to the bit ({time.perf_counter() - start:.1f} s)")
    small = made(events // 5, labels // 5)
    for lag_ms in (800, 5_000, 60_000):
        print(f"by event time, {lag_ms / 1000:g} s behind: {by_event_time(small, lag_ms):.1%} of the counts differ")


def one(events: int, folder: Path) -> None:
    """Runs the job of ``feature_peers`` here, from Parquet to Parquet, and prints what it took."""
    job(*made_log(3_000, 500)).table()
    wall, cpu = time.perf_counter(), time.process_time()
    written = job(folder / "events.parquet", folder / "labels.parquet", memory_bytes=4 << 30).write(folder / "out")
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"rows": written.rows, "wall_s": wall, "cpu_s": cpu, "peak_gib": peak}))


def write_in_parts(folder: Path, events: int, labels: int) -> None:
    """The log in parts of 5 million events, so that making it takes no more memory than the job."""
    parts = max(1, events // 5_000_000)
    size, some = events // parts, labels // parts
    writers: dict[str, pq.ParquetWriter] = {}
    for part in range(parts):
        log, asked = made_log(size, some, part)
        log = log.set_column(0, "offset", pa.array(np.arange(size) + part * size))
        asked = asked.set_column(1, "as_of", pa.array(asked.column("as_of").to_numpy() + part * size))
        for name, table, column in (("events", log, "time_ms"), ("labels", asked, "now_ms")):
            at = table.column_names.index(column)
            moved = pa.array(table.column(column).to_numpy() + part * SPAN_MS)
            table = table.set_column(at, column, moved)
            if name not in writers:
                writers[name] = pq.ParquetWriter(folder / f"{name}.parquet", table.schema)
            writers[name].write_table(table, row_group_size=1 << 20)
    for writer in writers.values():
        writer.close()


def linear(quick: bool) -> None:
    """Prints what ever larger logs cost."""
    print(f"{'events':>12} {'labels':>11} {'wall s':>8} {'CPU s':>8} {'peak GiB':>9} {'CPU us/event':>13}")
    for events in (100_000, 200_000) if quick else (5_000_000, 20_000_000, 50_000_000):
        with tempfile.TemporaryDirectory() as folder:
            write_in_parts(Path(folder), events, events // 5)
            command = [sys.executable, "-m", "benchmarks.feature_backfill", "--one", str(events), folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        told = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{events:>12,} {told['rows']:>11,} {told['wall_s']:>8.1f} {told['cpu_s']:>8.1f} {told['peak_gib']:>9.2f} "
            f"{1e6 * told['cpu_s'] / events:>13.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("parity", "linear", "all"), default="all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(int(asked.one[0]), Path(asked.one[1]))
        return
    if asked.what in ("parity", "all"):
        parity(asked.quick)
    if asked.what in ("linear", "all"):
        linear(asked.quick)


if __name__ == "__main__":
    main()
