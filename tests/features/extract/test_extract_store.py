"""The store: incremental equals from scratch, order and batches do not matter, a kill costs nothing but time."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.dataset as ds
import pytest
from extract_made import Fragile, bytes_of, made_rows, words
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.features.extract.compute import DEFAULT, Limits
from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import Extracted, State
from mainstem.features.extract.store import ExtractionStore


def scratch(folder: Path, extractor: object, table: pl.DataFrame, limits: Limits = DEFAULT) -> dict[str, bytes]:
    ExtractionStore(folder, parts=4).run(extractor, table, limits=limits)  # type: ignore[arg-type]
    return bytes_of(folder)


def refusal(extractor: object, table: object, folder: Path, **of: object) -> str:
    with pytest.raises(ExtractionError) as refused:
        ExtractionStore(folder, parts=2).run(extractor, table, **of)  # type: ignore[arg-type]
    return refused.value.code


def test_what_is_read_is_what_was_extracted(tmp_path: Path) -> None:
    rows = made_rows(60)
    store = ExtractionStore(tmp_path, parts=4)
    store.run(words(), rows)
    direct = words().extract(rows)
    asked = np.array([*rows["item_id"].to_list()[::-1], 10**12, rows["item_id"][3]])
    vectors, state = store.read("words", "1", asked)
    expected = np.where((direct.state == State.KNOWN)[:, None], direct.vectors, np.nan)
    assert np.array_equal(vectors[:60], expected[::-1], equal_nan=True)
    assert np.array_equal(state[:60], direct.state[::-1])
    assert state[60] == State.MISSING
    assert np.isnan(vectors[60]).all()
    assert np.array_equal(vectors[61], expected[3], equal_nan=True)
    assert {State.KNOWN, State.EMPTY} == set(direct.state.tolist())
    assert np.array_equal(store.open("words", "1").ids(), np.sort(rows["item_id"].to_numpy()))


@given(st.integers(0, 500), st.integers(1, 50), st.integers(1, 40))
@settings(max_examples=10)
def test_order_batch_and_kind_of_table_do_not_change_a_byte(
    tmp_path_factory: pytest.TempPathFactory, seed: int, batch: int, rows: int
) -> None:
    table = made_rows(rows, seed)
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=seed)
    folder = tmp_path_factory.mktemp("order")
    shuffled.write_parquet(folder / "t.parquet", row_group_size=7)
    once = scratch(folder / "a", words(), table)
    assert scratch(folder / "b", words(), shuffled, Limits(batch_rows=batch)) == once
    for place, kind in enumerate(
        (
            shuffled.lazy(),
            shuffled.to_arrow(),
            shuffled.to_arrow().to_reader(),
            folder / "t.parquet",
            ds.dataset(folder / "t.parquet"),
        )
    ):
        assert scratch(folder / f"k{place}", words(), kind) == once  # type: ignore[arg-type]


edits = st.lists(st.tuples(st.sampled_from(["drop", "change", "add", "same"]), st.integers(0, 39)), max_size=12)


@given(st.lists(edits, min_size=1, max_size=3))
@settings(max_examples=15)
def test_incremental_is_from_scratch(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[tuple[str, int]]]
) -> None:
    folder = tmp_path_factory.mktemp("steps")
    table = made_rows(40)
    ExtractionStore(folder / "on", parts=4).run(words(), table)
    for number, step in enumerate(steps):
        for what, at in step:
            key = table["item_id"][at % table.height] if table.height else 0
            if what == "drop":
                table = table.filter(pl.col("item_id") != key)
            elif what == "change":
                table = table.with_columns(
                    title=pl.when(pl.col("item_id") == key).then(pl.lit(f"fox {number}")).otherwise(pl.col("title"))
                )
            elif what == "add":
                fresh = made_rows(1, at).with_columns(item_id=pl.lit(10_000 + 50 * number + at, pl.Int64))
                table = pl.concat([table.filter(pl.col("item_id") != fresh["item_id"][0]), fresh])
        ExtractionStore(folder / "on", parts=4).run(words(), table)
        assert bytes_of(folder / "on") == scratch(folder / f"scratch{number}", words(), table)


def test_only_new_and_changed_rows_are_computed(tmp_path: Path) -> None:
    table = made_rows(100)
    store = ExtractionStore(tmp_path)
    first = store.run(words(), table)
    assert (first.computed, first.kept, first.dropped) == (100, 0, 0)
    again = store.run(words(), table.with_columns(unread=pl.lit(3)))
    assert (again.computed, again.kept, again.dropped) == (0, 100, 0)
    changed = table[10:].with_columns(
        title=pl.when(pl.col("item_id") == table["item_id"][50]).then(pl.lit("new")).otherwise("title")
    )
    third = store.run(words(), changed)
    assert (third.computed, third.kept, third.dropped, third.rows) == (1, 89, 10, 90)
    assert store.read("words", "1", table["item_id"][:1])[1].tolist() == [State.MISSING]


def test_an_empty_table_drops_everything(tmp_path: Path) -> None:
    store = ExtractionStore(tmp_path, parts=3)
    store.run(words(), made_rows(9))
    assert store.run(words(), made_rows(9)[:0]).dropped == 9
    assert store.read("words", "1", [-20])[1].tolist() == [State.MISSING]


def deadly_run(folder: Path, table: pl.DataFrame, deadly: str) -> None:
    ExtractionStore(folder, parts=8).run(Fragile(deadly=deadly), table, limits=Limits(batch_rows=4))


def killed(folder: Path, table: pl.DataFrame, deadly: str) -> None:
    process = multiprocessing.get_context("spawn").Process(target=deadly_run, args=(folder, table, deadly))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    table = made_rows(80).with_columns(title=pl.format("{} {}", pl.lit("t"), pl.col("item_id")))
    killed(tmp_path / "on", table, f"t {table['item_id'][41]}")
    assert not ExtractionStore(tmp_path / "on").finished()
    ran = ExtractionStore(tmp_path / "on", parts=8).run(Fragile(), table)
    assert 0 < ran.computed < 80
    ExtractionStore(tmp_path / "once", parts=8).run(Fragile(), table)
    assert bytes_of(tmp_path / "on") == bytes_of(tmp_path / "once")


def test_readers_see_the_old_version_while_a_run_is_killed(tmp_path: Path) -> None:
    table = made_rows(80).with_columns(title=pl.format("{} {}", pl.lit("t"), pl.col("item_id")))
    store = ExtractionStore(tmp_path, parts=8)
    store.run(Fragile(), table)
    before = store.read("fragile", "1", table["item_id"])
    changed = table.with_columns(title=pl.format("{} new", "title"))
    killed(tmp_path, changed, f"t {table['item_id'][41]} new")
    assert len(list(tmp_path.rglob("part-*"))) > 8  # some parts of the killed run lie beside those that are read
    after = store.read("fragile", "1", table["item_id"])
    assert np.array_equal(before[0], after[0], equal_nan=True)
    assert store.run(Fragile(), changed).computed < 80
    assert len(list(tmp_path.rglob("part-*"))) == 8


def test_a_changed_definition_under_the_same_version_is_refused(tmp_path: Path) -> None:
    store = ExtractionStore(tmp_path)
    store.run(words(), made_rows(5))
    before = bytes_of(tmp_path)
    with pytest.raises(ExtractionError, match=r"definition\.salt was 0, is 1") as refused:
        store.run(words(salt=1), made_rows(5))
    assert refused.value.code == "feature-070"
    assert bytes_of(tmp_path) == before
    store.run(words("2", salt=1), made_rows(5))
    assert store.finished() == ("words/1", "words/2")


def test_a_row_that_raises_fails_alone_and_says_why(tmp_path: Path) -> None:
    table = made_rows(50).with_columns(title=pl.lit("ok"))
    table = table.with_columns(title=pl.when(pl.col("item_id") == 1).then(pl.lit("poison")).otherwise("title"))
    store = ExtractionStore(tmp_path, parts=3)
    limits = Limits(batch_rows=16, max_failed_share=0.1)
    assert store.run(Fragile(bad="poison"), table, limits=limits).failed == 1
    vectors, state = store.read("fragile", "1", [1, 8])
    assert state.tolist() == [State.FAILED, State.KNOWN]
    assert np.isnan(vectors[0]).all()
    assert store.open("fragile", "1").reasons() == {1: "ValueError: no poison allowed"}
    assert store.run(Fragile(), table, limits=limits).computed == 0  # the same content: its failure stands
    assert store.run(Fragile(), table, limits=limits, retry_failed=True).computed == 1
    assert store.open("fragile", "1").reasons() == {}


def test_too_many_failures_stop_the_run_and_readers_keep_what_they_had(tmp_path: Path) -> None:
    table = made_rows(50).with_columns(title=pl.lit("ok"))
    store = ExtractionStore(tmp_path)
    store.run(Fragile(), table)
    bad = table.with_columns(title=pl.lit("poison"))
    assert refusal(Fragile(bad="poison"), bad, tmp_path, limits=Limits(max_failed_share=0.5)) == "feature-072"
    assert store.read("fragile", "1", table["item_id"])[1].tolist() == [State.KNOWN] * 50
    assert store.run(Fragile(), bad).failed == 0  # failures of a run that stopped do not stand


def test_a_value_that_has_no_fixed_form_is_its_rows_failure(tmp_path: Path) -> None:
    long = made_rows(20).with_columns(title=pl.lit("ok")).with_columns(
        title=pl.when(pl.col("item_id") == 1).then(pl.lit("x" * 20_000)).otherwise("title")
    )  # fmt: skip
    ran = ExtractionStore(tmp_path, parts=1).run(Fragile(), long, limits=Limits(max_failed_share=0.1))
    assert (ran.failed, ran.manifest.known) == (1, 19)


class Lying(Fragile):
    """Answers values that are not whole."""

    def extract(self, rows: pl.DataFrame) -> Extracted:
        return Extracted(np.full((rows.height, 2), 0.5), np.ones(rows.height, np.int8), {})


def test_an_extractor_that_breaks_its_promise_stops_the_run(tmp_path: Path) -> None:
    assert refusal(Lying(), made_rows(5), tmp_path) == "feature-075"


def test_tables_that_cannot_be_keyed_are_refused(tmp_path: Path) -> None:
    rows = made_rows(5)
    assert refusal(words(), pl.concat([rows, rows.with_columns(title=pl.lit("other"))]), tmp_path) == "feature-068"
    assert refusal(words(), rows.with_columns(item_id=pl.lit("x")), tmp_path) == "feature-067"
    assert refusal(words(), rows.with_columns(item_id=pl.lit(None, pl.Int64)), tmp_path) == "feature-067"
    assert refusal(words(), rows.drop("tags"), tmp_path) == "feature-061"
    assert refusal(words(), tmp_path / "nowhere", tmp_path) == "feature-066"
    ran = ExtractionStore(tmp_path, parts=2).run(words(), pl.concat([rows, rows]))
    assert ran.rows == 5  # exact repeats count once


def test_two_runs_do_not_hold_one_version(tmp_path: Path) -> None:
    store = ExtractionStore(tmp_path)

    class Nested(Fragile):
        def extract(self, rows: pl.DataFrame) -> Extracted:
            store.run(Fragile(), made_rows(1))
            return super().extract(rows)

    assert refusal(Nested(), made_rows(3), tmp_path) == "feature-071"


def test_a_damaged_part_is_refused_by_readers_and_mended_by_a_run(tmp_path: Path) -> None:
    store, table = ExtractionStore(tmp_path, parts=1), made_rows(30)
    store.run(words(), table)
    whole = bytes_of(tmp_path)
    part = next(tmp_path.rglob("part-*"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(bytes(data))
    with pytest.raises(ExtractionError) as refused:
        store.read("words", "1", [1])
    assert refused.value.code == "feature-069"
    changed = table.with_columns(title=pl.lit("other"))
    store.run(words(), changed)
    store.run(words(), table)
    assert bytes_of(tmp_path) == whole


def test_unknown_versions_and_names_are_refused(tmp_path: Path) -> None:
    store = ExtractionStore(tmp_path)
    for name, code in (("nothing", "feature-073"), ("../out", "feature-074"), (".hidden", "feature-074")):
        with pytest.raises(ExtractionError) as refused:
            store.open(name, "1")
        assert refused.value.code == code
