"""A back-fill gives the same bits from every input, in every number of buckets, on every runner, and after being stopped."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import engine_log as made
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mainstem.base.errors import FeatureError
from mainstem.features.engines import ray_tasks, shelf
from mainstem.features.engines.output import only_one, open_output
from mainstem.features.engines.ray_tasks import RayTasks
from mainstem.features.engines.runners import Threads
from mainstem.features.engines.task import kernel_task


def bits(table: pa.Table) -> dict[str, bytes]:
    """Every column's bits."""
    out = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        plain = pa.types.is_list(column.type) or pa.types.is_string(column.type)
        out[name] = str(column.to_pylist()).encode() if plain else column.to_numpy(zero_copy_only=False).tobytes()
    return out


@pytest.fixture(scope="module")
def wanted() -> dict[str, bytes]:
    """What the back-fill in memory says."""
    job = made.job()
    return bits(kernel_task(made.FEATURES, made.tables(), job.wanted, made.events(), made.requests()))


def test_the_twin_has_something_to_say(wanted: dict[str, bytes]) -> None:
    for name, column in wanted.items():
        if not name.endswith("__state"):
            assert len(set(column)) > 1, name


@pytest.mark.parametrize("seed", range(8))
def test_however_it_is_cut(wanted: dict[str, bytes], seed: int) -> None:
    draw = np.random.default_rng(seed)
    buckets, threads = int(draw.integers(1, 9)), int(draw.integers(1, 4))
    chunk, block = int(draw.integers(200, 4_000)), int(draw.integers(40, 800))
    job = made.job(buckets=buckets, runner=Threads(threads), chunk=chunk, block=block)
    assert bits(job.table()) == wanted


def inputs_of(kind: str, table: pa.Table, folder: Path) -> object:
    if kind == "parquet":
        folder.mkdir()
        pq.write_table(table.slice(0, 400), folder / "a.parquet")
        pq.write_table(table.slice(400), folder / "b.parquet", row_group_size=70)
        return folder
    if kind == "duckdb":
        return duckdb.connect().from_arrow(table)
    if kind == "polars":
        return pl.from_arrow(table)
    if kind == "lazy":
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame.lazy()
    return table.to_reader(max_chunksize=99) if kind == "reader" else table


@pytest.mark.parametrize("kind", ["parquet", "duckdb", "polars", "lazy", "reader"])
@pytest.mark.parametrize("buckets", [1, 3])
def test_wherever_it_comes_from(wanted: dict[str, bytes], tmp_path: Path, kind: str, buckets: int) -> None:
    events = {name: inputs_of(kind, table, tmp_path / name) for name, table in made.events().items()}
    job = made.job(events=events, requests=inputs_of(kind, made.requests(), tmp_path / "requests"), buckets=buckets)
    assert bits(job.table()) == wanted


def test_on_ray_tasks(wanted: dict[str, bytes]) -> None:
    assert bits(made.job(buckets=2, runner=RayTasks(2)).table()) == wanted


def test_ray_is_asked_for_kindly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FeatureError) as error:
        made.job(runner=ray_tasks.RayTasks(), buckets=2).table()
    assert error.value.code == "feature-041"
    assert "mainstem[ray]" in error.value.hint


def test_some_columns_only(wanted: dict[str, bytes]) -> None:
    columns = ("share_of_item", "loyal_n", "favourite_n", "last_items")
    found = bits(made.job(columns=columns, buckets=2).table())
    assert set(found) == {"row", *columns, *(f"{name}__state" for name in columns)}
    assert all(found[name] == wanted[name] for name in found)


def test_what_happens_later_changes_nothing() -> None:
    """Everything at and after a request's place in the log may be anything."""
    requests = made.requests().filter(pa.compute.less(made.requests().column("as_of"), 3_000))
    before = bits(made.job(requests=requests, buckets=3).table())
    other = made.events(seed=9)
    events = {
        name: pa.concat_tables(
            [
                table.filter(pa.compute.less(table.column("offset"), 3_000)),
                other[name].filter(pa.compute.greater_equal(other[name].column("offset"), 3_000)),
            ]
        )
        for name, table in made.events().items()
    }
    assert bits(made.job(requests=requests, events=events, buckets=3).table()) == before


def test_the_output_is_whole_or_not_there(wanted: dict[str, bytes], tmp_path: Path) -> None:
    written = made.job(keep=("label",), buckets=3).write(tmp_path / "out")
    found = open_output(tmp_path / "out")
    assert found.sha256 == written.sha256
    assert found.rows == 700
    assert found.table().column("label").to_pylist() == made.requests().column("label").to_pylist()
    assert bits(found.table().drop_columns(["label"])) == wanted
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(FeatureError, match="exists already") as error:
        made.job().write(tmp_path / "out")
    assert error.value.code == "feature-043"
    part = tmp_path / "out" / found.manifest["parts"][0]["file"]
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(FeatureError, match="another part-00000") as error:
        open_output(tmp_path / "out")
    assert error.value.code == "feature-046"


def test_the_hash_does_not_depend_on_how_it_was_made(tmp_path: Path) -> None:
    one = made.job(buckets=1, block=1_000).write(tmp_path / "one")
    two = made.job(buckets=4, block=90).write(tmp_path / "two")
    assert one.sha256 == two.sha256
    assert one.sha256 != made.job(requests=made.requests(seed=5)).write(tmp_path / "other").sha256


class KilledError(Exception):
    pass


@dataclass(frozen=True)
class Dying:
    """A runner that dies after some tasks."""

    after: int
    workers: int = 1

    def run(self, tables, tasks):
        for at, answer in enumerate(Threads(1).run(tables, tasks)):
            if at == self.after:
                raise KilledError
            yield answer


@pytest.mark.parametrize("after", [0, 3, 11])
def test_a_job_that_was_stopped_goes_on(wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    with pytest.raises(KilledError):
        made.job(buckets=3, runner=Dying(after)).write(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    made_again: list[str] = []
    whole = shelf.FileShelf.put_answers

    def noted(self, space, bucket, answers):
        made_again.append(f"{space.name} {bucket}")
        whole(self, space, bucket, answers)

    monkeypatch.setattr(shelf.FileShelf, "put_answers", noted)
    monkeypatch.setattr(shelf.FileShelf, "put_events", None)
    written = made.job(buckets=3).write(tmp_path / "out")
    spaces = len(made_again) + after
    assert spaces % 3 == 0
    assert spaces >= 12
    assert bits(written.table()) == wanted


def test_another_job_does_not_go_on_with_it(wanted, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        made.job(buckets=3, runner=Dying(4), events=made.events(seed=3)).write(tmp_path / "out")
    assert bits(made.job(buckets=3).write(tmp_path / "out").table()) == wanted


def test_two_do_not_write_one_output(tmp_path: Path) -> None:
    with only_one(tmp_path / ".out.work"), pytest.raises(FeatureError) as error:
        made.job().write(tmp_path / "out")
    assert error.value.code == "feature-044"


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shelf.os, "replace", full)
    with pytest.raises(FeatureError) as error:
        made.job(buckets=2).write(tmp_path / "out")
    assert error.value.code == "feature-045"
    assert not (tmp_path / "out").exists()


def refusal(**changed) -> str:
    with pytest.raises(FeatureError) as error:
        made.job(**changed).table()
    assert error.value.hint
    return error.value.code


def test_bad_input_is_named() -> None:
    events, requests = made.events(), made.requests()
    assert refusal(events={**events, "sales": [1, 2]}) == "feature-040"
    assert refusal(events={**events, "sales": Path("nowhere.parquet")}) == "feature-040"
    assert refusal(events={"sales": events["sales"]}) == "feature-047"
    assert refusal(events={**events, "sales": events["sales"].drop_columns(["price"])}) == "feature-009"
    assert refusal(requests=requests.drop_columns(["user_id"])) == "feature-009"
    assert refusal(requests=requests.slice(0, 0)) == "feature-047"
    assert refusal(requests=requests.set_column(1, "user_id", requests.column("label"))) == "feature-047"
    unknown = pa.array([None if at == 5 else at for at in range(700)], pa.int64())
    assert refusal(requests=requests.drop_columns(["as_of"]).append_column("as_of", unknown)) == "feature-047"
    assert refusal(columns=("n_1h", "recent")) == "feature-017"
    backwards = events["sales"].take(np.arange(len(events["sales"]))[::-1])
    assert refusal(events={**events, "sales": backwards}) == "feature-010"
    halves = pa.concat_tables([events["sales"].slice(500, 500), events["sales"].slice(0, 500)])
    assert refusal(events={**events, "sales": halves}) == "feature-010"


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sales.parquet"
    pq.write_table(made.events()["sales"], path, compression="none")
    held = bytearray(path.read_bytes())
    held[: len(held) // 2] = bytes(len(held) // 2)
    path.write_bytes(held)
    with pytest.raises(FeatureError, match="cannot be read") as error:
        made.job(events={**made.events(), "sales": path}).write(tmp_path / "out")
    assert error.value.code == "feature-040"


def test_no_events_at_all() -> None:
    events = {name: table.slice(0, 0) for name, table in made.events().items()}
    one, three = made.job(events=events, columns=("n_1d", "least", "last_items")), 3
    table = one.table()
    assert set(table.column("n_1d").to_pylist()) == {0.0}
    assert set(table.column("least__state").to_pylist()) == {1}
    assert bits(made.job(events=events, columns=one.columns, buckets=three).table()) == bits(table)


def test_memory_decides_the_number_of_buckets() -> None:
    assert made.job()._buckets == 1
    assert made.job(memory_bytes=100_000)._buckets > 1
    assert made.job(events={name: t.to_reader() for name, t in made.events().items()})._buckets > 1
