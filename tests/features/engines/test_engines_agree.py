"""A live state, the back-fill on threads and on Ray tasks, and two other engines say the same numbers of one made log."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from benchmarks import feature_backfill, feature_oracle, made_backfill

from mainstem.features.engines.ray_tasks import RayTasks
from mainstem.features.engines.runners import Runner, Threads


@pytest.fixture(scope="module")
def served() -> tuple[feature_backfill.Served, dict[str, np.ndarray]]:
    """Requests of a server that is behind, with late events, and what it answered."""
    log = feature_backfill.made(30_000, 3_000)
    return log, feature_backfill.live(log)


@pytest.mark.parametrize(("runner", "buckets"), [(Threads(1), 1), (Threads(3), 7), (RayTasks(2), 2)])
def test_offline_is_online(served, runner: Runner, buckets: int) -> None:
    log, answers = served
    computed = feature_backfill.past(log.log, log.requests, runner, buckets=buckets)
    assert feature_backfill.same_bits(answers, computed) == (54_000, 54_000)
    assert computed.column("item_n_1h").to_numpy().max() > 10


def test_a_back_fill_by_event_time_is_not(served) -> None:
    log, _ = served
    assert feature_backfill.by_event_time(log, 60_000) > feature_backfill.by_event_time(log, 800) > 0.01


@pytest.fixture(scope="module")
def ours() -> tuple[pa.Table, pa.Table, pa.Table]:
    """A log, its labels, and the 42 columns."""
    events, labels = made_backfill.made_log(20_000, 4_000)
    return events, labels, made_backfill.job(events, labels, buckets=3).table()


def test_duckdb_counts_and_sums_the_same(ours) -> None:
    events, labels, table = ours
    connection = duckdb.connect()
    connection.execute("CREATE TABLE events AS FROM events")
    rows = labels.append_column("row", pa.array(np.arange(len(labels))))
    connection.execute("CREATE TABLE labels AS FROM rows")
    _same(table, feature_oracle.by_duckdb(connection), exact=("_n_", "_sum_", "_last_", "_mean_"))
    assert len(rows) == len(events) // 5


def test_polars_counts_and_sums_the_same(ours) -> None:
    events, labels, table = ours
    frames = [pl.from_arrow(given) for given in (events, labels)]
    assert all(isinstance(frame, pl.DataFrame) for frame in frames)
    _same(table, feature_oracle.by_polars(*frames).to_arrow(), exact=("_n_", "_sum_", "_last_"))  # type: ignore[arg-type]


def _same(table: pa.Table, other: pa.Table, exact: tuple[str, ...]) -> None:
    """Known values are the same numbers; what is empty here is nothing there."""
    for name in made_backfill.columns():
        if any(part in name for part in exact):
            found = other.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
            known = table.column(f"{name}__state").to_numpy() == 0
            np.testing.assert_array_equal(table.column(name).to_numpy()[known], found[known], err_msg=name)
            assert np.isnan(found[~known]).all(), name
